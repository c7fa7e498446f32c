namespace KBroker.Timing.Tests;

public sealed class PurgatoryConcurrencyTests
{
    [Fact]
    public void Signals_force_expiry_and_cancellation_complete_each_operation_exactly_once()
    {
        const int count = 20_000;
        const int keys = 8;
        var time = new ManualTimeProvider();
        using var timer = new SystemTimer(time);
        using var purgatory = new Purgatory<int>("Race", timer);
        var open = new int[count];
        var operations = Enumerable.Range(0, count)
            .Select(i => new ProbeOperation(1 + (i % 50), () => Volatile.Read(ref open[i]) != 0)).ToArray();
        var adding = 2;
        Eventually.InParallel(
            () => Add(0),
            () => Add(1),
            () =>
            {
                for (var i = 0; Volatile.Read(ref adding) > 0; i++)
                {
                    Volatile.Write(ref open[i * 17 % count], 1);
                    purgatory.CheckAndComplete(i % keys);
                }
            },
            () =>
            {
                for (var i = 0; Volatile.Read(ref adding) > 0; i++)
                {
                    operations[i * 31 % count].ForceComplete();
                    if (i % 64 != 0)
                        continue;
                    foreach (var operation in purgatory.CancelForKey(i / 64 % keys))
                        operation.ForceComplete();
                }
            },
            () =>
            {
                while (Volatile.Read(ref adding) > 0)
                    time.JumpMs(1);
            });
        time.JumpMs(100);
        Eventually.True(() => operations.All(operation => operation.Completions > 0), "all have completed");
        Eventually.True(() => purgatory.Delayed == 0, "none waits");
        Assert.All(operations, operation => Assert.Equal(1, operation.Completions));
        Assert.All(operations, operation => Assert.InRange(operation.Expirations, 0, 1));
        Assert.Equal(0, purgatory.Watched);
        Assert.Equal(0, timer.Count);

        void Add(int first)
        {
            for (var i = first; i < count; i += 2)
                purgatory.TryCompleteElseWatch(operations[i], i % keys, (i + 1) % keys, (i + 3) % keys);
            Interlocked.Decrement(ref adding);
        }
    }

    [Fact]
    public void No_signal_is_lost_between_the_tries()
    {
        using var timer = new SystemTimer(new ManualTimeProvider());
        using var purgatory = new Purgatory<int>("Lost", timer);
        const int rounds = 20_000;
        var open = new bool[rounds];
        var operations = Enumerable.Range(0, rounds)
            .Select(i => new ProbeOperation(1000, () => open[i])).ToArray();
        var watcher = -1;
        var signaller = -1;
        Eventually.InParallel(
            () =>
            {
                for (var i = 0; i < rounds; i++)
                {
                    Meet(ref watcher, ref signaller, i);
                    purgatory.TryCompleteElseWatch(operations[i], i & 3);
                }
            },
            () =>
            {
                for (var i = 0; i < rounds; i++)
                {
                    Meet(ref signaller, ref watcher, i);
                    open[i] = true;
                    purgatory.CheckAndComplete(i & 3);
                }
            });
        Assert.All(operations, operation => Assert.Equal(1, operation.Completions));
        Assert.Equal(0, purgatory.Watched);
        Assert.Equal(0, purgatory.Delayed);
        Assert.Equal(0, timer.Count);

        // Both threads enter a round together, as near as spinning gets them.
        static void Meet(ref int mine, ref int other, int round)
        {
            Interlocked.Exchange(ref mine, round);
            var wait = new SpinWait();
            while (Volatile.Read(ref other) < round)
                wait.SpinOnce(sleep1Threshold: -1);
        }
    }

    [Fact]
    public async Task A_signal_during_a_try_lets_it_run_again_on_its_thread_and_blocks_nobody()
    {
        using var timer = new SystemTimer(new ManualTimeProvider());
        using var purgatory = new Purgatory<string>("Again", timer);
        using var inside = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        var open = false;
        var hold = false;
        var operation = new ProbeOperation(1000, () =>
        {
            var seen = Volatile.Read(ref open);
            if (!hold || seen)
                return seen;
            inside.Set();
            leave.Wait(TimeSpan.FromSeconds(30));
            return false;
        });
        purgatory.TryCompleteElseWatch(operation, "a");
        hold = true;
        var trying = Task.Run(() => purgatory.CheckAndComplete("a"));
        Assert.True(inside.Wait(TimeSpan.FromSeconds(30)));
        Volatile.Write(ref open, true);
        Assert.Equal(0, purgatory.CheckAndComplete("a"));
        Assert.False(operation.IsCompleted);
        leave.Set();
        Assert.Equal(1, await trying.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Equal(1, operation.Completions);
        Assert.Equal(4, operation.Tries);
    }

    [Fact]
    public void Operations_that_complete_one_another_crosswise_do_not_deadlock()
    {
        for (var round = 0; round < 100; round++)
        {
            using var timer = new SystemTimer(new ManualTimeProvider());
            using var purgatory = new Purgatory<string>("Cross", timer, null, shards: 2);
            using var met = new Barrier(2);
            var open = false;
            var left = new ProbeOperation(1000, () => Volatile.Read(ref open), () => Cross("b"));
            var right = new ProbeOperation(1000, () => Volatile.Read(ref open), () => Cross("a"));
            purgatory.TryCompleteElseWatch(left, "a");
            purgatory.TryCompleteElseWatch(right, "b");
            Volatile.Write(ref open, true);
            Eventually.InParallel(() => purgatory.CheckAndComplete("a"), () => purgatory.CheckAndComplete("b"));
            Assert.Equal(1, left.Completions);
            Assert.Equal(1, right.Completions);

            // When the two are inside at the same time, as with locks they would be for ever.
            void Cross(string key)
            {
                met.SignalAndWait(TimeSpan.FromMilliseconds(1));
                purgatory.CheckAndComplete(key);
            }
        }
    }
}
