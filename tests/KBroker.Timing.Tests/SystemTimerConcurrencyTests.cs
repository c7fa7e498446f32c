namespace KBroker.Timing.Tests;

public sealed class SystemTimerConcurrencyTests
{
    [Fact]
    public void Of_cancel_and_run_exactly_one_wins()
    {
        const int count = 20_000;
        var time = new ManualTimeProvider();
        using var timer = new SystemTimer(time);
        var tasks = Enumerable.Range(0, count).Select(i => new ProbeTask(1 + (i % 700))).ToArray();
        var cancels = new int[count];
        var adding = 2;
        Eventually.InParallel(
            () => Add(0),
            () => Add(1),
            () => CancelAll(1),
            () => CancelAll(7919),
            () =>
            {
                while (Volatile.Read(ref adding) > 0)
                    time.JumpMs(3);
                time.JumpMs(1000);
            });
        Eventually.True(() => Total() == count, "each task has run or was cancelled");
        for (var i = 0; i < count; i++)
            Assert.Equal(1, tasks[i].Runs + cancels[i]);
        Assert.Equal(0, timer.Count);
        Assert.Contains(tasks, task => task.Runs == 1);

        int Total() => tasks.Sum(task => task.Runs) + cancels.Sum();

        void Add(int first)
        {
            for (var i = first; i < count; i += 2)
                timer.Add(tasks[i]);
            Interlocked.Decrement(ref adding);
        }

        void CancelAll(int stride)
        {
            for (var i = 0; i < count; i++)
            {
                var id = (int)((long)i * stride % count);
                if (id % 3 == 0 && tasks[id].Cancel())
                    Interlocked.Increment(ref cancels[id]);
            }
        }
    }

    [Fact]
    public void A_task_that_is_moved_all_the_time_runs_at_most_once_for_each_addition_and_at_last_surely()
    {
        var time = new ManualTimeProvider();
        using var timer = new SystemTimer(time);
        var tasks = Enumerable.Range(0, 50).Select(_ => new ProbeTask(2)).ToArray();
        var additions = new int[tasks.Length];
        var moving = 2;
        Eventually.InParallel(Move, Move, () =>
        {
            while (Volatile.Read(ref moving) > 0)
                time.JumpMs(1);
        });
        for (var i = 0; i < tasks.Length; i++)
            Assert.InRange(tasks[i].Runs, 0, additions[i]);

        var before = tasks.Select(task => task.Runs).ToArray();
        foreach (var task in tasks)
            timer.Add(task);
        time.JumpMs(5);
        Eventually.True(() => tasks.Zip(before).All(pair => pair.First.Runs > pair.Second), "each has run again");
        Assert.Equal(0, timer.Count);

        void Move()
        {
            for (var i = 0; i < 20_000; i++)
            {
                var id = i % tasks.Length;
                Interlocked.Increment(ref additions[id]);
                timer.Add(tasks[id]);
            }

            Interlocked.Decrement(ref moving);
        }
    }

    [Fact]
    public void Disposal_during_traffic_leaves_nothing_behind()
    {
        for (var round = 0; round < 20; round++)
        {
            var timer = new SystemTimer(TimeProvider.System);
            var tasks = Enumerable.Range(0, 500).Select(i => new ProbeTask(i % 5)).ToArray();
            var refused = 0;
            Eventually.InParallel(
                () =>
                {
                    foreach (var task in tasks)
                    {
                        try
                        {
                            timer.Add(task);
                        }
                        catch (ObjectDisposedException)
                        {
                            refused++;
                        }
                    }
                },
                timer.Dispose);
            Assert.Equal(0, timer.Count);
            Assert.All(tasks, task => Assert.False(task.IsScheduled));
            Assert.InRange(refused, 0, tasks.Length);
        }
    }
}
