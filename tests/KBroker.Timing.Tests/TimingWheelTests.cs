namespace KBroker.Timing.Tests;

public sealed class TimingWheelTests
{
    [Fact]
    public void The_worked_example_of_the_class_comment_holds()
    {
        var wheel = new TimingWheel(0, slots: 3);
        var a = Insert(wheel, 2);
        var b = Insert(wheel, 5);
        var c = Insert(wheel, 13);

        Assert.Equal(2, wheel.NextMs());
        Assert.Equal([a], Advance(wheel, 2));
        Assert.Equal(3, wheel.NextMs());
        Assert.Empty(Advance(wheel, 3));
        Assert.Equal(5, wheel.NextMs());
        Assert.Equal([b], Advance(wheel, 5));
        var d = Insert(wheel, 6);
        Assert.Equal(6, wheel.NextMs());
        Assert.Equal([d], Advance(wheel, 6));
        Assert.Equal(9, wheel.NextMs());
        Assert.Empty(Advance(wheel, 9));
        Assert.Equal(12, wheel.NextMs());
        Assert.Empty(Advance(wheel, 12));
        Assert.Equal(13, wheel.NextMs());
        Assert.Equal([c], Advance(wheel, 13));
        Assert.Equal(long.MaxValue, wheel.NextMs());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(399)]
    [InlineData(8_000_000_123)]
    public void Expiry_is_exact_to_the_tick_on_both_sides_of_each_level_boundary(long startMs)
    {
        long[] near = [.. Enumerable.Range(1, 900).Select(delay => (long)delay)];
        long[] boundaries = [.. Enumerable.Range(1, 13).Select(level => (long)Math.Pow(20, level))];
        foreach (var delay in near.Concat(boundaries.SelectMany(at => new[] { at - 1, at, at + 1 })))
        {
            var wheel = new TimingWheel(startMs);
            var task = Insert(wheel, startMs + delay);
            Assert.Empty(Advance(wheel, startMs + delay - 1));
            Assert.Equal([task], Advance(wheel, startMs + delay));
        }
    }

    [Fact]
    public void A_task_that_is_not_ahead_of_the_clock_is_not_taken()
    {
        var wheel = new TimingWheel(100);
        Assert.False(wheel.TryInsert(new ProbeTask(0) { ExpirationMs = 100 }));
        Assert.False(wheel.TryInsert(new ProbeTask(0) { ExpirationMs = 3 }));
        Assert.Equal(long.MaxValue, wheel.NextMs());
    }

    [Fact]
    public void The_farthest_expiration_fits_every_number_of_slots()
    {
        foreach (var slots in new[] { 2, 3, 20, 512 })
        {
            var wheel = new TimingWheel(1, slots);
            var task = Insert(wheel, TimingWheel.MaxExpirationMs);
            Assert.Empty(Advance(wheel, TimingWheel.MaxExpirationMs - 1));
            Assert.Equal([task], Advance(wheel, TimingWheel.MaxExpirationMs));
        }
    }

    [Fact]
    public void Slots_that_cancellation_emptied_do_not_count_as_next()
    {
        var wheel = new TimingWheel(0);
        var near = Insert(wheel, 5);
        Insert(wheel, 5000);
        TimerBucket.Unlink(near);
        Assert.Equal(4800, wheel.NextMs());

        var again = Insert(wheel, 5);
        Assert.Equal(5, wheel.NextMs());
        Assert.Equal([again], Advance(wheel, 5));
    }

    [Fact]
    public void One_call_is_bounded_and_the_next_goes_on_where_it_stopped()
    {
        var wheel = new TimingWheel(0);
        var tasks = Enumerable.Range(0, 100).Select(i => Insert(wheel, 1000 + i % 2)).ToArray();
        var due = new TimerTask?[8];
        var seen = new List<TimerTask>();
        var calls = 0;
        bool finished;
        do
        {
            var count = wheel.Advance(2000, due, maxMoves: 5, out finished);
            Assert.InRange(count, 0, 5);
            seen.AddRange(due[..count]!);
            if (calls++ == 3)
                ChangeWhileSlotIsHalfEmptied();
        }
        while (!finished && calls < 1000);

        Assert.Equal(101, seen.Count);
        Assert.Equal(tasks.ToHashSet<TimerTask>(), seen[..100].ToHashSet());
        Assert.Equal(seen.Select(task => task.ExpirationMs).Order(), seen.Select(task => task.ExpirationMs));
        Assert.InRange(calls, 40, 999);
        Assert.Equal(8000, wheel.NextMs());
        Assert.Single(Advance(wheel, 8800));

        void ChangeWhileSlotIsHalfEmptied()
        {
            Assert.Equal(800, wheel.ClockMs);
            wheel.CatchUp(900);
            Assert.Equal(800, wheel.ClockMs);
            Insert(wheel, 1500);

            // One turn ahead, in the wheel of the slot that is being emptied: that slot must not take it.
            Insert(wheel, 800 + 8000);
        }
    }

    [Fact]
    public void After_an_idle_time_the_clock_catches_up_so_that_new_tasks_start_low()
    {
        var wheel = new TimingWheel(0);
        wheel.CatchUp(1_000_000_007);
        Insert(wheel, 1_000_000_012);
        Assert.Equal(1_000_000_012, wheel.NextMs());
        wheel.CatchUp(1_000_000_012);
        Assert.Equal(1_000_000_007, wheel.ClockMs);
        Assert.Single(Advance(wheel, 1_000_000_012));
    }

    private static ProbeTask Insert(TimingWheel wheel, long expirationMs)
    {
        var task = new ProbeTask(0) { ExpirationMs = expirationMs };
        Assert.True(wheel.TryInsert(task));
        return task;
    }

    private static List<TimerTask> Advance(TimingWheel wheel, long toMs)
    {
        var seen = new List<TimerTask>();
        var due = new TimerTask?[4];
        bool finished;
        do
        {
            var count = wheel.Advance(toMs, due, int.MaxValue, out finished);
            seen.AddRange(due[..count]!);
        }
        while (!finished);
        Assert.Equal(toMs, wheel.ClockMs);
        return seen;
    }
}
