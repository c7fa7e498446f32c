using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>
/// Tells how far the opening of a log directory is, once a second, when it takes longer than that. The time left is
/// estimated from the partitions done, because how much of a log must be read is known only when it is opened.
/// </summary>
internal sealed class RecoveryProgress : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly string _directory;
    private readonly int _total;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly long _started;
    private readonly ITimer _timer;
    private int _done;
    private long _bytes;

    /// <summary>Starts to count, and the clock.</summary>
    /// <param name="directory">Path of the log directory.</param>
    /// <param name="total">How many partitions are to be opened.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">Where the lines go.</param>
    public RecoveryProgress(string directory, int total, TimeProvider time, ILogger logger)
    {
        _directory = directory;
        _total = total;
        _time = time;
        _logger = logger;
        _started = time.GetTimestamp();
        _timer = time.CreateTimer(
            static progress => ((RecoveryProgress)progress!).Tell(), this, Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan);
        _timer.Change(Interval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Bytes of log files that were scanned.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Time since the start.</summary>
    public TimeSpan Elapsed => _time.GetElapsedTime(_started);

    /// <summary>Notes that bytes were scanned.</summary>
    public void Scanned(long bytes) => Interlocked.Add(ref _bytes, bytes);

    /// <summary>Notes that a partition is open, or will not be.</summary>
    public void PartitionDone() => Interlocked.Increment(ref _done);

    public void Dispose() => _timer.Dispose();

    private void Tell()
    {
        var done = Volatile.Read(ref _done);
        if (done == _total)
            return;
        _timer.Change(Interval, Timeout.InfiniteTimeSpan);
        var elapsed = Elapsed;
        var left = done == 0
            ? "no estimate yet"
            : FormattableString.Invariant($"about {elapsed.TotalSeconds / done * (_total - done):F0} s left");
        _logger.LogInformation(
            "Log directory {Directory}: {Done} of {Total} partitions opened, {Megabytes} MB scanned in {Seconds} s; "
            + "{Left}.",
            _directory,
            done,
            _total,
            Bytes / 1_000_000,
            (long)elapsed.TotalSeconds,
            left);
    }
}
