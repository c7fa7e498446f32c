namespace KBroker.Timing.Tests;

/// <summary>A task that counts its runs and can do something in each.</summary>
internal sealed class ProbeTask(long delayMs, Action<ProbeTask>? run = null) : TimerTask(delayMs)
{
    private int _runs;

    public int Runs => Volatile.Read(ref _runs);

    protected override void Run()
    {
        Interlocked.Increment(ref _runs);
        run?.Invoke(this);
    }
}

/// <summary>An operation whose condition is a delegate.</summary>
internal sealed class ProbeOperation(long delayMs, Func<bool> condition, Action? completed = null)
    : DelayedOperation(delayMs)
{
    private int _completions;
    private int _expirations;
    private int _tries;

    public int Completions => Volatile.Read(ref _completions);

    public int Expirations => Volatile.Read(ref _expirations);

    public int Tries => Volatile.Read(ref _tries);

    public override bool TryComplete()
    {
        Interlocked.Increment(ref _tries);
        return condition() && ForceComplete();
    }

    protected override void OnComplete()
    {
        Interlocked.Increment(ref _completions);
        completed?.Invoke();
    }

    protected override void OnExpiration() => Interlocked.Increment(ref _expirations);
}

/// <summary>Waiting for other threads.</summary>
internal static class Eventually
{
    public static void True(Func<bool> condition, string what)
    {
        var deadline = DateTime.UtcNow.AddSeconds(120);
        var wait = new SpinWait();
        while (!condition())
        {
            Assert.True(DateTime.UtcNow < deadline, $"Not reached in 120 s: {what}.");
            wait.SpinOnce();
        }
    }

    /// <summary>Runs all at the same time, and throws what one of them throws.</summary>
    public static void InParallel(params Action[] bodies)
    {
        using var start = new Barrier(bodies.Length);
        var tasks = bodies.Select(body => Task.Factory.StartNew(
            () =>
            {
                start.SignalAndWait();
                body();
            },
            TaskCreationOptions.LongRunning)).ToArray();
        Task.WhenAll(tasks).WaitAsync(TimeSpan.FromSeconds(300)).GetAwaiter().GetResult();
    }
}
