namespace KBroker.Storage.Log;

/// <summary>
/// Decides by what flushes took whether several waiting logs are flushed together (one syncfs) or each for itself (an
/// fdatasync on a thread each).
/// </summary>
/// <remarks>
/// Together is nearly always better from three logs on: on ext4, 16 logs took 1.1 ms together and 4.3 ms on eight
/// threads, 1,000 logs 25 ms and 70 ms (docs/decisions). But it waits for everything dirty in the file system: another
/// process that writes gigabytes there, or our own topics with acks=1, could hold every acknowledgement up for
/// seconds, and be disturbed itself. So a joint flush that took much longer than the logs alone would have is not
/// tried again for twenty times as long as it took: at most a twentieth of the time goes to such attempts.
/// Example: single flushes take 2 ms, 16 logs wait, eight threads: 4 ms estimated. Together took 30 ms, more than
/// four times that: for 600 ms each log is flushed for itself, then together is tried once more.
/// </remarks>
internal sealed class FlushChoice(TimeProvider time)
{
    /// <summary>From this many waiting logs on, a joint flush is worth it.</summary>
    internal const int FewestTogether = 3;

    private const int TolerableFactor = 4;
    private const int PauseFactor = 20;
    private const double WeightOfNewest = 0.2;
    private static readonly TimeSpan Negligible = TimeSpan.FromMilliseconds(5);
    private TimeSpan _single = TimeSpan.FromMilliseconds(1);
    private TimeSpan _pause;
    private long _pausedAt;

    /// <summary>Whether logs are flushed together for now.</summary>
    public bool IsTogetherAllowed => _pause == TimeSpan.Zero || time.GetElapsedTime(_pausedAt) >= _pause;

    /// <summary>Notes how long the flush of one log took.</summary>
    public void TookSingle(TimeSpan elapsed) => _single += (elapsed - _single) * WeightOfNewest;

    /// <summary>Notes how long a joint flush took.</summary>
    /// <param name="elapsed">The time.</param>
    /// <param name="logs">How many logs it served.</param>
    public void TookTogether(TimeSpan elapsed, int logs)
    {
        var alone = _single * ((logs + GroupFlusher.MaxThreads - 1) / GroupFlusher.MaxThreads);
        var tolerable = alone * TolerableFactor;
        if (tolerable < Negligible)
            tolerable = Negligible;
        _pause = elapsed <= tolerable ? TimeSpan.Zero : elapsed * PauseFactor;
        _pausedAt = time.GetTimestamp();
    }
}
