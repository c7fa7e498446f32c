namespace KBroker.Cluster.Replication;

/// <summary>
/// Keeps the moves between log directories, all together, below <c>replica.alter.log.dirs.io.max.bytes.per.second</c>.
/// </summary>
/// <remarks>
/// A bucket that fills at the rate in force and holds one second's worth. A move takes what it has copied, also more
/// than there is, and then waits until the bucket is not in debt; so a change of the rate counts at once, even for a
/// wait that has begun.
/// </remarks>
/// <param name="time">The clock.</param>
/// <param name="bytesPerSecond">The rate in force.</param>
public sealed class MoveThrottle(TimeProvider time, Func<long> bytesPerSecond)
{
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(100);

    private readonly Lock _lock = new();
    private double _bytes;
    private long _filled = time.GetTimestamp();

    /// <summary>Takes bytes that were copied, and waits for as long as they were too many.</summary>
    /// <param name="bytes">How many.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    public async ValueTask TakeAsync(int bytes, CancellationToken cancellation)
    {
        for (var wait = Take(bytes); wait > TimeSpan.Zero; wait = Take(0))
            await Task.Delay(wait < LongestWait ? wait : LongestWait, time, cancellation).ConfigureAwait(false);
    }

    private TimeSpan Take(int bytes)
    {
        var rate = bytesPerSecond();
        lock (_lock)
        {
            if (rate == long.MaxValue)
            {
                _bytes = 0;
                return TimeSpan.Zero;
            }

            var now = time.GetTimestamp();
            var elapsed = time.GetElapsedTime(_filled, now);
            _filled = now;
            _bytes = Math.Min(rate, _bytes + (rate * elapsed.TotalSeconds)) - bytes;
            // With a rate of zero nothing goes on until it is changed.
            return _bytes >= 0 ? TimeSpan.Zero
                : rate == 0 ? LongestWait : TimeSpan.FromSeconds(Math.Min(1, -_bytes / rate) + 0.001);
        }
    }
}
