namespace KBroker.Benchmarks.Timing;

/// <summary>A clock that the benchmark moves; it remembers the last wake that was asked for, and calls it.</summary>
internal sealed class BenchmarkClock : TimeProvider
{
    private Driver? _driver;
    private long _nowMs;

    public override long TimestampFrequency => 1000;

    public override long GetTimestamp() => _nowMs;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        _driver = new Driver(this, callback, state);

    /// <summary>Moves the clock from wake to wake until there is none up to <paramref name="untilMs"/>.</summary>
    public void MoveTo(long untilMs)
    {
        while (_driver is { } driver && driver.DueMs <= untilMs)
        {
            _nowMs = driver.DueMs;
            driver.Fire();
        }

        _nowMs = untilMs;
    }

    private sealed class Driver(BenchmarkClock clock, TimerCallback callback, object? state) : ITimer
    {
        public long DueMs { get; private set; } = long.MaxValue;

        public void Fire()
        {
            DueMs = long.MaxValue;
            callback(state);
        }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            DueMs = clock._nowMs + (long)dueTime.TotalMilliseconds;
            return true;
        }

        public void Dispose() => DueMs = long.MaxValue;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
