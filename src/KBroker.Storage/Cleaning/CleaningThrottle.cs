namespace KBroker.Storage.Cleaning;

/// <summary>
/// Keeps what all cleaner threads read and write below <c>log.cleaner.io.max.bytes.per.second</c>.
/// </summary>
/// <remarks>
/// Bytes move a point in time ahead, by as long as they may take at that rate; who is ahead of the clock waits for it.
/// What was not used is not saved up: the point never lies behind the clock.
/// </remarks>
internal sealed class CleaningThrottle(TimeProvider time, double maxBytesPerSecond)
{
    private static readonly TimeSpan Shortest = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan Longest = TimeSpan.FromHours(1);
    private readonly Lock _lock = new();
    private DateTimeOffset _paidUntil = DateTimeOffset.MinValue;
    private double _maxBytesPerSecond = maxBytesPerSecond;

    /// <summary>The bound; changes at run time.</summary>
    public double MaxBytesPerSecond
    {
        get => Volatile.Read(ref _maxBytesPerSecond);
        set => Volatile.Write(ref _maxBytesPerSecond, value);
    }

    /// <summary>Notes bytes, and waits while the rate is above the bound.</summary>
    /// <exception cref="OperationCanceledException">The wait was cut short.</exception>
    public void Take(long bytes, CancellationToken abort)
    {
        var wait = WaitFor(bytes);
        if (wait > TimeSpan.Zero)
            Task.Delay(wait, time, abort).GetAwaiter().GetResult();
    }

    private TimeSpan WaitFor(long bytes)
    {
        var rate = MaxBytesPerSecond;
        if (rate >= double.MaxValue)
            return TimeSpan.Zero;
        lock (_lock)
        {
            var now = time.GetUtcNow();
            if (_paidUntil < now)
                _paidUntil = now;
            _paidUntil += TimeSpan.FromSeconds(Math.Min(Longest.TotalSeconds, bytes / Math.Max(rate, 1e-3)));
            var ahead = _paidUntil - now;
            // A timer is coarse: short debts are paid together.
            return ahead < Shortest ? TimeSpan.Zero : ahead;
        }
    }
}
