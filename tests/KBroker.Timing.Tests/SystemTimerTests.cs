namespace KBroker.Timing.Tests;

public sealed class SystemTimerTests
{
    private readonly ManualTimeProvider _time = new();

    [Fact]
    public void A_task_runs_once_when_its_delay_has_passed()
    {
        using var timer = Timer();
        var task = new ProbeTask(100);
        timer.Add(task);
        Assert.True(task.IsScheduled);
        Assert.Equal(1, timer.Count);

        _time.AdvanceMs(99);
        Assert.Equal(0, task.Runs);
        _time.AdvanceMs(1);
        Assert.Equal(1, task.Runs);
        Assert.Equal(0, timer.Count);
        _time.AdvanceMs(1000);
        Assert.Equal(1, task.Runs);
        Assert.False(task.IsCancelled);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(long.MinValue)]
    public void A_task_without_a_delay_runs_at_once(long delayMs)
    {
        using var timer = Timer();
        var task = new ProbeTask(delayMs);
        timer.Add(task);
        Assert.Equal(1, task.Runs);
        Assert.Equal(0, timer.Count);
    }

    [Fact]
    public void A_delay_of_many_years_is_exact_and_one_of_all_time_never_ends()
    {
        using var timer = Timer();
        var years = new ProbeTask(20L * 365 * 24 * 3600 * 1000);
        var never = new ProbeTask(long.MaxValue);
        _time.AdvanceMs(12345);
        timer.Add(years);
        timer.Add(never);
        _time.JumpMs(years.DelayMs - 1);
        Assert.Equal(0, years.Runs);
        _time.AdvanceMs(1);
        Assert.Equal(1, years.Runs);
        _time.JumpMs(years.DelayMs * 10);
        Assert.Equal(0, never.Runs);
        Assert.Equal(1, timer.Count);
    }

    [Fact]
    public void A_delay_that_begins_within_a_millisecond_is_never_cut_short()
    {
        using var timer = Timer();
        for (var i = 0; i < 50; i++)
        {
            _time.AdvanceMs(0.3);
            var added = _time.NowMs;
            var ran = 0.0;
            timer.Add(new ProbeTask(5, _ => ran = _time.NowMs));
            _time.AdvanceMs(8);
            Assert.InRange(ran, added + 5, added + 7);
        }
    }

    [Fact]
    public void A_clock_whose_unit_does_not_divide_a_millisecond_serves_too()
    {
        var clock = new ThirdsClock();
        using var timer = new SystemTimer(clock, new InlineExecutor());
        clock.Now += 300 * 100_000_000_000_000;
        var task = new ProbeTask(7);
        timer.Add(task);
        Assert.Equal(TimeSpan.FromMilliseconds(7), clock.Sleep);
        clock.Now += 2;
        clock.Wake!();
        Assert.Equal(0, task.Runs);
        clock.Now += 1;
        clock.Wake();
        Assert.Equal(1, task.Runs);

        clock.Now += 1;
        var late = new ProbeTask(3);
        timer.Add(late);
        clock.Now += 1;
        clock.Wake();
        Assert.Equal(0, late.Runs);
        clock.Now += 1;
        clock.Wake();
        Assert.Equal(1, late.Runs);
    }

    [Fact]
    public void Cancel_is_true_once_and_nothing_runs()
    {
        using var timer = Timer();
        var task = new ProbeTask(10);
        Assert.False(task.Cancel());
        Assert.False(task.IsCancelled);
        timer.Add(task);
        Assert.True(task.Cancel());
        Assert.False(task.Cancel());
        Assert.True(task.IsCancelled);
        Assert.Equal(0, timer.Count);
        _time.AdvanceMs(100);
        Assert.Equal(0, task.Runs);

        timer.Add(task);
        Assert.False(task.IsCancelled);
        _time.AdvanceMs(100);
        Assert.Equal(1, task.Runs);
        Assert.False(task.Cancel());
        Assert.False(task.IsCancelled);
    }

    [Fact]
    public void Cancel_still_prevents_a_run_that_waits_in_the_executor()
    {
        var executor = new HoldingExecutor();
        using var timer = new SystemTimer(_time, executor);
        var cancelled = new ProbeTask(10);
        var moved = new ProbeTask(10);
        timer.Add(cancelled);
        timer.Add(moved);
        _time.AdvanceMs(10);
        Assert.Equal(2, executor.Count);
        Assert.True(cancelled.Cancel());
        timer.Add(moved);
        executor.Drain();
        Assert.Equal(0, cancelled.Runs);
        Assert.Equal(0, moved.Runs);
        _time.AdvanceMs(10);
        executor.Drain();
        Assert.Equal(1, moved.Runs);
    }

    [Fact]
    public void Adding_again_moves_the_task()
    {
        using var timer = Timer();
        var task = new ProbeTask(50);
        for (var i = 0; i < 20; i++)
        {
            timer.Add(task);
            Assert.Equal(1, timer.Count);
            _time.AdvanceMs(49);
        }

        Assert.Equal(0, task.Runs);
        task.DelayMs = 3;
        timer.Add(task);
        _time.AdvanceMs(3);
        Assert.Equal(1, task.Runs);
        _time.AdvanceMs(1000);
        Assert.Equal(1, task.Runs);
    }

    [Fact]
    public void A_task_may_add_itself_again_and_so_become_periodic()
    {
        using var timer = Timer();
        var times = new List<double>();
        timer.Add(new ProbeTask(30, task =>
        {
            times.Add(_time.NowMs);
            if (task.Runs < 4)
                timer.Add(task);
        }));
        _time.AdvanceMs(500);
        Assert.Equal([30, 60, 90, 120], times);
    }

    [Fact]
    public void A_leap_of_the_clock_runs_everything_in_the_order_of_expiration()
    {
        using var timer = Timer();
        var order = new List<long>();
        long[] delays = [500, 3, 70, 401, 399, 8001, 20, 19, 21, 2, 7999];
        foreach (var delay in delays)
            timer.Add(new ProbeTask(delay, task => order.Add(task.DelayMs)));
        _time.JumpMs(10_000);
        Assert.Equal(delays.Order(), order);
        Assert.Equal(1, _time.Wakes);
    }

    [Fact]
    public void The_clock_jumps_to_the_next_slot_in_use_and_an_idle_timer_sleeps()
    {
        using var timer = Timer();
        timer.Add(new ProbeTask(7_900));
        _time.AdvanceMs(7_900);
        Assert.InRange(_time.Wakes, 1, 3);
        var wakes = _time.Wakes;
        _time.AdvanceMs(1_000_000_000);
        Assert.Equal(wakes, _time.Wakes);

        var cancelled = new ProbeTask(100);
        timer.Add(cancelled);
        timer.Add(new ProbeTask(10));
        cancelled.Cancel();
        _time.AdvanceMs(1_000_000_000);
        Assert.Equal(wakes + 1, _time.Wakes);
    }

    [Fact]
    public void Many_tasks_of_one_moment_all_run()
    {
        using var timer = Timer();
        var tasks = Enumerable.Range(0, 5000).Select(_ => new ProbeTask(30_000)).ToArray();
        foreach (var task in tasks)
            timer.Add(task);
        _time.AdvanceMs(30_000);
        Assert.All(tasks, task => Assert.Equal(1, task.Runs));
        Assert.Equal(0, timer.Count);
    }

    [Fact]
    public void A_task_belongs_to_one_timer()
    {
        using var timer = Timer();
        using var other = Timer();
        var task = new ProbeTask(1);
        timer.Add(task);
        Assert.Throws<InvalidOperationException>(() => other.Add(task));
        Assert.Equal(0, other.Count);
        _time.AdvanceMs(1);
        Assert.Equal(1, task.Runs);
    }

    [Fact]
    public void Disposal_drops_what_waits_and_refuses_what_comes()
    {
        var timer = Timer();
        var tasks = Enumerable.Range(0, 300).Select(i => new ProbeTask(1L << (i % 40))).ToArray();
        foreach (var task in tasks)
            timer.Add(task);
        timer.Dispose();
        timer.Dispose();
        Assert.Equal(0, timer.Count);
        _time.JumpMs(1e12);
        Assert.All(tasks, task => Assert.Equal(0, task.Runs));
        Assert.All(tasks, task => Assert.True(task.IsCancelled));
        Assert.All(tasks, task => Assert.False(task.Cancel()));
        Assert.Equal(0, timer.Count);
        Assert.Throws<ObjectDisposedException>(() => timer.Add(tasks[0]));
        Assert.Equal(0, _time.Wakes);
    }

    [Fact]
    public void Disposal_from_within_a_task_stops_the_others_of_later_moments()
    {
        var timer = Timer();
        var later = new ProbeTask(21);
        timer.Add(new ProbeTask(20, _ => timer.Dispose()));
        timer.Add(later);
        _time.AdvanceMs(100);
        Assert.Equal(0, later.Runs);
    }

    [Fact]
    public void An_error_in_a_task_goes_to_the_handler_and_costs_the_others_nothing()
    {
        var errors = new List<Exception>();
        using var timer = new SystemTimer(_time, new InlineExecutor(), errors.Add);
        timer.Add(new ProbeTask(5, _ => throw new InvalidOperationException("broken")));
        var others = new[] { new ProbeTask(5), new ProbeTask(6) };
        foreach (var other in others)
            timer.Add(other);
        _time.JumpMs(10);
        Assert.Equal("broken", Assert.Single(errors).Message);
        Assert.All(others, other => Assert.Equal(1, other.Runs));
    }

    [Fact]
    public void Without_a_handler_the_error_reaches_the_clock_after_the_others_have_run()
    {
        using var timer = Timer();
        timer.Add(new ProbeTask(5, _ => throw new InvalidOperationException("broken")));
        var others = new[] { new ProbeTask(5), new ProbeTask(6), new ProbeTask(500) };
        foreach (var other in others)
            timer.Add(other);
        Assert.Throws<InvalidOperationException>(() => _time.JumpMs(10));
        Assert.Equal([1, 1, 0], others.Select(other => other.Runs));
        _time.AdvanceMs(1000);
        Assert.Equal(1, others[2].Runs);
    }

    [Fact]
    public void Schedule_takes_a_callback_with_or_without_a_state()
    {
        using var timer = Timer();
        var calls = new List<string>();
        timer.Schedule(10, () => calls.Add("plain"));
        timer.Schedule(20, calls, static list => list.Add("state"));
        var cancelled = timer.Schedule(15, () => calls.Add("cancelled"));
        Assert.True(cancelled.Cancel());
        _time.AdvanceMs(30);
        Assert.Equal(["plain", "state"], calls);
    }

    [Fact]
    public void Adding_moving_cancelling_and_running_allocate_nothing()
    {
        using var timer = Timer();
        var tasks = Enumerable.Range(0, 500).Select(i => new ProbeTask(1 + i)).ToArray();
        Round();
        Round();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Round();
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        // The manual clock itself allocates a little at each wake; 8 bytes a task would be 8,000 here.
        Assert.InRange(allocated, 0, 4000);

        void Round()
        {
            for (var turn = 0; turn < 2; turn++)
            {
                foreach (var task in tasks)
                    timer.Add(task);
            }

            for (var i = 0; i < tasks.Length; i += 2)
                tasks[i].Cancel();
            _time.JumpMs(600);
        }
    }

    [Fact]
    public void The_systems_clock_drives_it_and_never_too_early()
    {
        using var timer = new SystemTimer(TimeProvider.System);
        var early = 0;
        var left = 40;
        for (var i = 0; i < 40; i++)
        {
            var delay = 1 + (i * 3 % 50);
            var added = TimeProvider.System.GetTimestamp();
            timer.Schedule(delay, () =>
            {
                if (TimeProvider.System.GetElapsedTime(added).TotalMilliseconds < delay)
                    Interlocked.Increment(ref early);
                Interlocked.Decrement(ref left);
            });
        }

        Eventually.True(() => Volatile.Read(ref left) == 0, "all tasks have run");
        Assert.Equal(0, early);
        Assert.Equal(0, timer.Count);
    }

    private SystemTimer Timer() => new(_time, new InlineExecutor());

    // A unit is three and a third milliseconds.
    private sealed class ThirdsClock : TimeProvider
    {
        public long Now { get; set; }

        public Action? Wake { get; private set; }

        public TimeSpan Sleep { get; private set; }

        public override long TimestampFrequency => 300;

        public override long GetTimestamp() => Now;

        public override System.Threading.ITimer CreateTimer(
            TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Wake = () => callback(state);
            return new Driver(this);
        }

        private sealed class Driver(ThirdsClock clock) : System.Threading.ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period)
            {
                clock.Sleep = dueTime;
                return true;
            }

            public void Dispose() => clock.Wake = null;

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }

    private sealed class HoldingExecutor : ITaskExecutor
    {
        private readonly Queue<IThreadPoolWorkItem> _work = new();

        public int Count => _work.Count;

        public void Submit(IThreadPoolWorkItem work) => _work.Enqueue(work);

        public void Drain()
        {
            while (_work.TryDequeue(out var work))
                work.Execute();
        }
    }
}
