namespace KBroker.Storage.Tests;

/// <summary>
/// A clock that moves when the test says so, and calls due one-shot timers on the thread that moves it.
/// </summary>
internal sealed class ManualClock(long nowMs) : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<ManualTimer> _timers = [];
    private long _setByMs;

    public long NowMs { get; private set; } = nowMs;

    /// <summary>Timers that wait.</summary>
    public int TimerCount
    {
        get
        {
            lock (_lock)
                return _timers.Count;
        }
    }

    /// <summary>What a clock on the wall shows: other than <see cref="NowMs"/> once it was set.</summary>
    public long WallMs => NowMs + _setByMs;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(WallMs);

    public override long TimestampFrequency => 1000;

    public override long GetTimestamp() => NowMs;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Sets the clock, back or forward, as an operator does; no timer notices.</summary>
    public void Set(long wallMs) => _setByMs = wallMs - NowMs;

    public void Advance(long ms)
    {
        NowMs += ms;
        while (TakeDue() is { } due)
            due.Callback(due.State);
    }

    private ManualTimer? TakeDue()
    {
        lock (_lock)
        {
            var due = _timers.Find(t => t.DueMs <= NowMs);
            if (due is not null)
                _timers.Remove(due);
            return due;
        }
    }

    private sealed class ManualTimer(ManualClock clock, TimerCallback callback, object? state) : ITimer
    {
        public long DueMs { get; private set; } = long.MaxValue;

        public TimerCallback Callback => callback;

        public object? State => state;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (clock._lock)
            {
                clock._timers.Remove(this);
                if (dueTime == Timeout.InfiniteTimeSpan)
                    return true;
                DueMs = clock.NowMs + (long)dueTime.TotalMilliseconds;
                clock._timers.Add(this);
                return true;
            }
        }

        public void Dispose()
        {
            lock (clock._lock)
                clock._timers.Remove(this);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
