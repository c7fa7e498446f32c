using System.Diagnostics;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Crashing;
using KBroker.Storage.Producers;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// What of a log is on stable storage (the recovery point), and how the rest gets there. Flushes run one at a time;
/// appends go on meanwhile.
/// </summary>
internal sealed class LogFlush(LogContext context, LogDirectory directory, EpochCache epochs)
{
    private readonly Lock _runLock = new();
    private readonly Lock _roundLock = new();
    private readonly List<Sealed> _sealed = [];
    private TaskCompletionSource? _nextRound;
    private bool _queued;
    private bool _namesDirty;
    private bool _parentDirty;
    private long _recoveryPoint;
    private long _lastFlushMs;

    /// <summary>Everything below this offset is on stable storage.</summary>
    public long RecoveryPoint => Volatile.Read(ref _recoveryPoint);

    /// <summary>When the last flush ended, ms.</summary>
    public long LastFlushMs => Volatile.Read(ref _lastFlushMs);

    /// <summary>Whether names or finished segments wait for a flush.</summary>
    public bool IsDirty
    {
        get
        {
            lock (_roundLock)
                return _namesDirty || _parentDirty || _sealed.Count > 0;
        }
    }

    /// <summary>Notes a finished segment, whose indexes and producer snapshot go to stable storage with it.</summary>
    public void AddSealed(LogSegment segment, string? snapshotPath)
    {
        lock (_roundLock)
        {
            _sealed.Add(new Sealed(segment, snapshotPath));
            _namesDirty = true;
        }
    }

    /// <summary>Notes that files were created, renamed or deleted in the partition's directory.</summary>
    /// <param name="parentToo">The partition's directory itself is new.</param>
    public void NamesChanged(bool parentToo = false)
    {
        lock (_roundLock)
        {
            _namesDirty = true;
            _parentDirty |= parentToo;
        }
    }

    /// <summary>Sets the recovery point when the log is opened or cut.</summary>
    public void Reset(long recoveryPoint)
    {
        Volatile.Write(ref _recoveryPoint, recoveryPoint);
        Volatile.Write(ref _lastFlushMs, context.NowMs);
    }

    /// <summary>A task for the next round of flushing, shared by all who ask before it starts.</summary>
    /// <param name="mustEnqueue">The caller is the first, and must ask for the round.</param>
    public Task NextRound(out bool mustEnqueue)
    {
        lock (_roundLock)
        {
            // Continuations must not run on the flushing thread, which others wait for.
            _nextRound ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            mustEnqueue = !_queued;
            _queued = true;
            return _nextRound.Task;
        }
    }

    /// <summary>Asks for a round that nobody waits for.</summary>
    /// <returns>Whether the caller must ask the flusher.</returns>
    public bool TryQueue()
    {
        lock (_roundLock)
        {
            var mustEnqueue = !_queued;
            _queued = true;
            return mustEnqueue;
        }
    }

    /// <summary>Starts a round: who asks from now on waits for the next one.</summary>
    public TaskCompletionSource? BeginRound()
    {
        lock (_roundLock)
        {
            _queued = false;
            return Interlocked.Exchange(ref _nextRound, null);
        }
    }

    /// <summary>Puts everything up to the log's end at this moment on stable storage.</summary>
    /// <param name="segments">The log's segments.</param>
    /// <param name="end">The log's end.</param>
    /// <param name="path">The partition's directory.</param>
    /// <exception cref="StorageException">It failed, and the log directory is offline.</exception>
    public void Run(SegmentList segments, LogEnd end, string path)
    {
        lock (_runLock)
        {
            directory.ThrowIfOffline();
            var started = Stopwatch.GetTimestamp();
            Sealed[] finished;
            bool names, parent;
            // The end is taken first: a segment finished after that is flushed by the next round.
            var target = end.Offset;
            var active = segments.Active;
            lock (_roundLock)
            {
                finished = [.. _sealed];
                (names, parent) = (_namesDirty, _parentDirty);
                _sealed.Clear();
                _namesDirty = _parentDirty = false;
            }

            if (target <= RecoveryPoint && finished.Length == 0 && !names)
                return;
            CrashPoint.Reached("flush.begin");
            try
            {
                FlushFiles(finished, active, names, parent, path);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw directory.Fail($"flushing {path}", exception);
            }

            CrashPoint.Reached("flush.done");
            if (target > RecoveryPoint)
                Volatile.Write(ref _recoveryPoint, target);
            Volatile.Write(ref _lastFlushMs, context.NowMs);
            context.Metrics.Flushed(Stopwatch.GetElapsedTime(started));
        }
    }

    private void FlushFiles(Sealed[] finished, LogSegment active, bool names, bool parent, string path)
    {
        foreach (var (segment, snapshotPath) in finished)
        {
            try
            {
                segment.Flush(withIndexes: true);
            }
            catch (ObjectDisposedException) when (segment.IsClosed)
            {
                // Retention deleted it meanwhile.
                continue;
            }

            if (snapshotPath is not null && context.Files.FileExists(snapshotPath))
                ProducerSnapshotFile.Flush(context.Files, snapshotPath);
        }

        if (Array.TrueForAll(finished, f => f.Segment != active))
            active.Flush(withIndexes: false);
        CrashPoint.Reached("flush.files-flushed");
        epochs.Flush();
        if (names)
            context.Files.FlushDirectory(path);
        if (!parent)
            return;
        PartitionMetadataFile.Flush(context.Files, path);
        context.Files.FlushDirectory(directory.Path);
    }

    private readonly record struct Sealed(LogSegment Segment, string? SnapshotPath);
}
