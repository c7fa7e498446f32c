namespace KBroker.Timing.Tests;

/// <summary>A clock that moves when the test says so, and calls its timers back on the thread that moves it.</summary>
internal sealed class ManualTimeProvider : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<ManualTimer> _timers = [];
    private long _now;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public double NowMs => TimeSpan.FromTicks(GetTimestamp()).TotalMilliseconds;

    /// <summary>How often a timer called back.</summary>
    public int Wakes { get; private set; }

    public override long GetTimestamp() => Volatile.Read(ref _now);

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddTicks(GetTimestamp());

    public override System.Threading.ITimer CreateTimer(
        TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Moves the clock from one timer's due time to the next until the time is over.</summary>
    public void AdvanceMs(double ms) => Move(TimeSpan.FromMilliseconds(ms).Ticks, stepwise: true);

    /// <summary>Moves the clock in one leap, as after a pause of the process, then calls the due timers back.</summary>
    public void JumpMs(double ms) => Move(TimeSpan.FromMilliseconds(ms).Ticks, stepwise: false);

    private void Move(long ticks, bool stepwise)
    {
        var target = GetTimestamp() + ticks;
        if (!stepwise)
            Volatile.Write(ref _now, target);
        while (TakeFirst(target) is { } timer)
        {
            Wakes++;
            timer.Callback(timer.State);
        }

        Volatile.Write(ref _now, target);
    }

    private ManualTimer? TakeFirst(long target)
    {
        lock (_lock)
        {
            var first = _timers.Where(timer => timer.Due <= target).MinBy(timer => timer.Due);
            if (first == null)
                return null;
            _timers.Remove(first);
            Volatile.Write(ref _now, Math.Max(_now, first.Due));
            return first;
        }
    }

    private sealed class ManualTimer(ManualTimeProvider owner, TimerCallback callback, object? state)
        : System.Threading.ITimer
    {
        public TimerCallback Callback { get; } = callback;

        public object? State { get; } = state;

        public long Due { get; private set; }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            Assert.Equal(Timeout.InfiniteTimeSpan, period);
            lock (owner._lock)
            {
                owner._timers.Remove(this);
                if (dueTime == Timeout.InfiniteTimeSpan)
                    return true;
                Due = owner._now + dueTime.Ticks;
                owner._timers.Add(this);
            }

            return true;
        }

        public void Dispose()
        {
            lock (owner._lock)
                owner._timers.Remove(this);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
