using KBroker.Protocol;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Cleaning;
using KBroker.Storage.Files;
using KBroker.Storage.Log;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>
/// One of the directories in <c>log.dirs</c>: its id, its checkpoints, the queue of its flushes, and whether it still
/// works. Once it has failed it stays offline until the broker starts again.
/// </summary>
public sealed class LogDirectory
{
    private readonly LogContext _context;
    private Exception? _failure;
    private IFileSystemFlush? _ownedFlush;
    private IFileSystemFlush? _wholeFlush;

    internal LogDirectory(string path, LogContext context, bool flushInline)
    {
        Path = path;
        _context = context;
        Flusher = new GroupFlusher(this, context, flushInline);
        RecoveryPoints = Checkpoint(OffsetCheckpointFile.RecoveryPoint);
        HighWatermarks = Checkpoint(OffsetCheckpointFile.Replication);
        LogStartOffsets = Checkpoint(OffsetCheckpointFile.LogStart);
        CleanerOffsets = Checkpoint(OffsetCheckpointFile.Cleaner);
        CleanerCheckpoint = new CleanerCheckpoint(CleanerOffsets);
    }

    /// <summary>Kafka keeps the lowest ids for itself: they say that a directory is not known.</summary>
    internal static bool IsOrdinaryId(Uuid id) => id.MostSignificant != 0 || (ulong)id.LeastSignificant > 100;

    /// <summary>Raised once, on any thread, when the directory fails.</summary>
    public event Action<LogDirectory, Exception>? Failed;

    /// <summary>Full path.</summary>
    public string Path { get; }

    /// <summary>Its id, from <c>meta.properties</c>; zero when it could not be read.</summary>
    public Uuid DirectoryId { get; internal set; }

    /// <summary>Whether it failed.</summary>
    public bool IsOffline => Volatile.Read(ref _failure) is not null;

    /// <summary>Why it is offline; null while it works.</summary>
    public Exception? Failure => Volatile.Read(ref _failure);

    /// <summary>Whether new logs go elsewhere, while there is another directory (<c>cordoned.log.dirs</c>).</summary>
    public bool IsCordoned
    {
        get => Volatile.Read(ref field);
        set => Volatile.Write(ref field, value);
    }

    /// <summary>Whether the last run closed everything in here.</summary>
    public bool WasCleanlyShutDown { get; internal set; }

    /// <summary><c>replication-offset-checkpoint</c>: the high watermarks; written by who keeps those.</summary>
    public OffsetCheckpointFile HighWatermarks { get; }

    internal OffsetCheckpointFile RecoveryPoints { get; }

    internal OffsetCheckpointFile LogStartOffsets { get; }

    internal OffsetCheckpointFile CleanerOffsets { get; }

    /// <summary>Up to where the logs in here are compacted.</summary>
    internal CleanerCheckpoint CleanerCheckpoint { get; }

    internal GroupFlusher Flusher { get; }

    /// <summary>Flushes its whole file system; null where that cannot be done, or failed once.</summary>
    internal IFileSystemFlush? WholeFlush => Volatile.Read(ref _wholeFlush);

    internal IFileSystem Files => _context.Files;

    /// <summary>Writes the log start offsets of all logs in here; set by the manager.</summary>
    internal Action CheckpointLogStartOffsets { get; set; } = static () => { };

    /// <summary>Writes the recovery points of all logs in here; set by the manager.</summary>
    internal Action CheckpointRecoveryPoints { get; set; } = static () => { };

    /// <summary>Size and free space of its file system.</summary>
    /// <returns>All bytes, and those still usable.</returns>
    public (long TotalBytes, long UsableBytes) GetSpace() => _context.Files.GetSpace(Path);

    /// <summary>Begins to use the directory, which exists now: before anything is written to it.</summary>
    internal void BeginUse()
    {
        _ownedFlush = _context.Files.OpenFlushAll(Path);
        _wholeFlush = _ownedFlush;
    }

    /// <summary>Ends the use; no flush is asked for any more.</summary>
    internal void EndUse()
    {
        Flusher.Dispose();
        _wholeFlush = null;
        _ownedFlush?.Dispose();
    }

    /// <summary>
    /// Notes that a flush of the whole file system failed. The next one could succeed although files that nobody has
    /// flushed since are damaged, so from now on each file is flushed for itself, and reports its own failure.
    /// </summary>
    internal void WholeFlushFailed(Exception exception)
    {
        Volatile.Write(ref _wholeFlush, null);
        _context.Logger.LogWarning(
            "The file system of log directory {Directory} reports a failed write of some file ({Error}). The logs are "
                + "flushed one by one from now on, which tells whether it was one of theirs.",
            Path,
            exception.Message);
    }

    /// <summary>Refuses to go on when the directory failed.</summary>
    /// <exception cref="StorageException">It did.</exception>
    internal void ThrowIfOffline()
    {
        if (Volatile.Read(ref _failure) is { } failure)
            throw new StorageException($"Log directory {Path} is offline: {failure.Message}", failure);
    }

    /// <summary>Takes the directory offline.</summary>
    /// <param name="action">What failed, as a phrase.</param>
    /// <param name="exception">How.</param>
    /// <returns>What to throw.</returns>
    internal StorageException Fail(string action, Exception exception)
    {
        if (exception is StorageException already && IsOffline)
            return already;
        if (Interlocked.CompareExchange(ref _failure, exception, null) is null)
        {
            _context.Logger.LogError(
                exception, "Log directory {Directory} goes offline: {Action} failed.", Path, action);
            _context.Metrics.DirectoryFailed();
            Failed?.Invoke(this, exception);
        }

        return new StorageException($"Log directory {Path} is offline: {action}: {exception.Message}", exception);
    }

    private OffsetCheckpointFile Checkpoint(string name) => new(_context.Files, System.IO.Path.Combine(Path, name));
}
