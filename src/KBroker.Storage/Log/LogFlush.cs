using KBroker.Storage.Checkpoints;
using KBroker.Storage.Crashing;
using KBroker.Storage.Producers;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// What of a log is on stable storage (the recovery point), and how the rest gets there. Flushes run one at a time;
/// appends go on meanwhile.
/// </summary>
/// <remarks>
/// A flush has three steps. <see cref="Begin"/> notes what it covers: the log's end first, then the finished segments
/// and changed names, so that whatever lies below that end is covered, and what comes later waits for the next flush.
/// Then everything covered goes to stable storage, file by file (<see cref="FlushFiles"/>) or with all other files of
/// the file system (<see cref="JointFlush"/>). Only when all of it has succeeded, <see cref="Complete"/> moves the
/// recovery point, which acknowledgements go by. A failure takes the directory offline: nothing is covered twice, so a
/// later flush that "succeeds" because the kernel forgot its dirty pages can acknowledge nothing.
/// From Begin to End nobody else renames or deletes the partition's directory.
/// </remarks>
internal sealed class LogFlush(LogContext context, LogDirectory directory, EpochCache epochs)
{
    private readonly Lock _runLock = new();
    private readonly Lock _roundLock = new();
    private readonly List<SealedSegment> _sealed = [];
    private TaskCompletionSource? _nextRound;
    private bool _queued;
    private bool _namesDirty;
    private bool _parentDirty;
    private bool _stopped;
    private bool _retired;
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
            _sealed.Add(new SealedSegment(segment, snapshotPath));
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

    /// <summary>
    /// Says that flushes have nothing to do any more, and succeed: another log directory has everything on stable
    /// storage, or nobody depends on the files.
    /// </summary>
    public void Retire()
    {
        lock (_runLock)
        {
            _retired = true;
            Volatile.Write(ref _recoveryPoint, long.MaxValue);
        }
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

    /// <summary>Does something while no flush runs, such as giving the partition's directory another name.</summary>
    public void BetweenFlushes(Action action)
    {
        lock (_runLock)
            action();
    }

    /// <summary>Lets no flush begin any more: the log is closed or deleted.</summary>
    public void Stop()
    {
        lock (_runLock)
            _stopped = true;
    }

    /// <summary>Puts everything up to the log's end at this moment on stable storage.</summary>
    /// <exception cref="StorageException">It failed, and the log directory is offline.</exception>
    /// <exception cref="ObjectDisposedException">The log is closed or deleted.</exception>
    public void Run(LogState state)
    {
        if (Begin(state) is not { } scope)
            return;
        try
        {
            FlushFiles(scope);
            Complete(scope);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw directory.Fail($"flushing {scope.Path}", exception);
        }
        finally
        {
            End();
        }
    }

    /// <summary>Begins a flush; <see cref="End"/> must follow on the same thread.</summary>
    /// <returns>What it covers; null when there is nothing to do, and nothing has begun.</returns>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    /// <exception cref="ObjectDisposedException">The log is closed or deleted.</exception>
    public FlushScope? Begin(LogState state)
    {
        _runLock.Enter();
        FlushScope? scope = null;
        try
        {
            if (_retired)
                return null;
            directory.ThrowIfOffline();
            ObjectDisposedException.ThrowIf(_stopped, state.Partition);
            // The end is taken first: a segment finished after that is flushed by the next round.
            var target = state.End.Offset;
            var active = state.Segments.Active;
            lock (_roundLock)
            {
                if (target > RecoveryPoint || _sealed.Count > 0 || _namesDirty)
                {
                    scope = new FlushScope(
                        target, active, [.. _sealed], _namesDirty, _parentDirty, state.Path, context.Timestamp);
                    _sealed.Clear();
                    _namesDirty = _parentDirty = false;
                }
            }

            if (scope is not null)
                CrashPoint.Reached("flush.begin");
            return scope;
        }
        finally
        {
            if (scope is null)
                _runLock.Exit();
        }
    }

    /// <summary>Notes that everything covered is on stable storage.</summary>
    public void Complete(FlushScope scope)
    {
        CrashPoint.Reached("flush.done");
        if (scope.Target > RecoveryPoint)
            Volatile.Write(ref _recoveryPoint, scope.Target);
        Volatile.Write(ref _lastFlushMs, context.NowMs);
        context.Metrics.Flushed(context.Time.GetElapsedTime(scope.Started));
    }

    /// <summary>Ends what <see cref="Begin"/> began.</summary>
    public void End() => _runLock.Exit();

    /// <summary>
    /// Brings what is only in memory into files, before a flush of the whole file system.
    /// </summary>
    /// <returns>Whether <see cref="Publish"/>, and a second flush, must follow.</returns>
    public bool WriteOut(FlushScope scope)
    {
        foreach (var (segment, _) in scope.Finished)
        {
            try
            {
                segment.OffsetIndex.WriteOut();
                segment.TimeIndex.WriteOut();
            }
            catch (ObjectDisposedException) when (segment.IsClosed)
            {
                // Retention deleted it meanwhile.
            }
        }

        return epochs.WriteTemporary();
    }

    /// <summary>Gives the file that <see cref="WriteOut"/> prepared its name.</summary>
    public void Publish() => epochs.PublishTemporary();

    /// <summary>Notes that the name is on stable storage, too.</summary>
    public void Published() => epochs.TemporaryIsStable();

    /// <summary>Puts what a flush covers on stable storage, one file after the other.</summary>
    public void FlushFiles(FlushScope scope)
    {
        foreach (var (segment, snapshotPath) in scope.Finished)
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

        if (Array.TrueForAll(scope.Finished, f => f.Segment != scope.Active))
            scope.Active.Flush(withIndexes: false);
        CrashPoint.Reached("flush.files-flushed");
        epochs.Flush();
        if (scope.Names)
            context.Files.FlushDirectory(scope.Path);
        if (!scope.Parent)
            return;
        PartitionMetadataFile.Flush(context.Files, scope.Path);
        context.Files.FlushDirectory(directory.Path);
    }
}

/// <summary>What one flush of a log covers.</summary>
/// <param name="Target">Everything below this offset.</param>
/// <param name="Active">The segment that was appended to at that time.</param>
/// <param name="Finished">Segments finished since the last flush.</param>
/// <param name="Names">Names in the partition's directory changed.</param>
/// <param name="Parent">The partition's directory is new itself.</param>
/// <param name="Path">The partition's directory.</param>
/// <param name="Started">When it began.</param>
internal sealed record FlushScope(
    long Target, LogSegment Active, SealedSegment[] Finished, bool Names, bool Parent, string Path, long Started);

/// <summary>A finished segment, and the snapshot of producers at its end.</summary>
internal readonly record struct SealedSegment(LogSegment Segment, string? SnapshotPath);
