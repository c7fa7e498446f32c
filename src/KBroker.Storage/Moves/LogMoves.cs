using KBroker.Storage.Crashing;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage.Moves;

/// <summary>
/// The moves of logs between log directories: where the copies are, how one takes the place of its source, and what
/// becomes of those that are given up.
/// </summary>
/// <remarks>
/// A copy lies in <c>topic-partition.uuid-future</c> of its target, with everything that a log has. The switch:
/// <list type="number">
/// <item>The source is sealed, the copy completed and put on stable storage; the caller has the controller note the new
/// directory. From here on the two are equal, so it does not matter which of them a crash leaves.</item>
/// <item>The checkpoints of the target name the copy's recovery point and first offset.</item>
/// <item>The source is renamed to end with <c>-delete</c>, and the name put on stable storage.</item>
/// <item>The copy gets its real name, and that is put on stable storage.</item>
/// </list>
/// After a crash between the last two there is only the copy: the next start gives it its name
/// (<see cref="MoveRecovery"/>). At no moment do two directories bear the partition's name. After a crash before that,
/// the source is there and is served, and the move goes on.
/// </remarks>
public sealed class LogMoves
{
    private readonly LogSet _set;
    private readonly LogOpener _opener;
    private readonly LogCheckpointing _checkpointing;
    private readonly DelayedDeletion _deletion;

    internal LogMoves(LogSet set, LogOpener opener, LogCheckpointing checkpointing, DelayedDeletion deletion)
    {
        _set = set;
        _opener = opener;
        _checkpointing = checkpointing;
        _deletion = deletion;
    }

    /// <summary>The copies that are being made, also those that nobody works on.</summary>
    public ICollection<PartitionLog> Futures => _set.Futures.Values;

    /// <summary>Finds a copy.</summary>
    /// <param name="partition">Of which partition.</param>
    /// <returns>The copy, or null.</returns>
    public PartitionLog? Find(TopicPartition partition) => _set.Futures.GetValueOrDefault(partition);

    /// <summary>Whether a copy of this partition could have a name.</summary>
    /// <param name="partition">The partition.</param>
    /// <returns>False when the topic's name is too long.</returns>
    public bool CanName(TopicPartition partition) => _set.FutureName(partition) is not null;

    /// <summary>Begins to move a log, or goes on with a copy that is there.</summary>
    /// <param name="partition">Which.</param>
    /// <param name="target">Where to.</param>
    /// <returns>The move; null when the log lies there already, or there is none.</returns>
    /// <exception cref="StorageException">One of the directories is offline.</exception>
    public LogMove? Begin(TopicPartition partition, LogDirectory target)
    {
        ArgumentNullException.ThrowIfNull(target);
        lock (_set.ChangeLock)
        {
            if (!_set.Logs.TryGetValue(partition, out var source) || source.Directory == target)
                return null;
            source.Directory.ThrowIfOffline();
            target.ThrowIfOffline();
            if (_set.Futures.TryGetValue(partition, out var future) && future.Directory != target)
            {
                Drop(future);
                future = null;
            }

            source.IsBeingMoved = true;
            future ??= Create(source, target, LogMove.FirstOffset(source));
            return new LogMove(this, source, future);
        }
    }

    /// <summary>Gives up a move: the copy goes. Does nothing when there is none.</summary>
    /// <param name="partition">Of which partition.</param>
    public void Cancel(TopicPartition partition)
    {
        lock (_set.ChangeLock)
        {
            if (_set.Futures.TryGetValue(partition, out var future))
                Drop(future);
            if (_set.Logs.TryGetValue(partition, out var log))
                log.IsBeingMoved = false;
        }
    }

    /// <summary>
    /// Lets a completed copy take the place of its sealed source. The source can be read until <see cref="Retire"/>.
    /// </summary>
    /// <param name="move">The move.</param>
    /// <returns>False when the log or the copy is not what it was: deleted, or another move was begun.</returns>
    /// <exception cref="StorageException">The target failed; the source is what it was.</exception>
    public bool Switch(LogMove move)
    {
        ArgumentNullException.ThrowIfNull(move);
        var (source, future) = (move.Source, move.Future);
        lock (_set.ChangeLock)
        {
            if (_set.Logs.GetValueOrDefault(source.TopicPartition) != source
                || _set.Futures.GetValueOrDefault(source.TopicPartition) != future)
                return false;
            move.Target.ThrowIfOffline();
            LogSet.Guard(move.Target, "writing checkpoints of a move", target =>
            {
                _checkpointing.WriteRecoveryPoints(target);
                _checkpointing.WriteLogStartOffsets(target);
                if (source.Directory.CleanerCheckpoint.Get(source.TopicPartition) is { } compacted)
                    target.CleanerCheckpoint.Set(source.TopicPartition, compacted);
                else
                    target.CleanerCheckpoint.Forget([source.TopicPartition]);
            });
            CrashPoint.Reached("move.checkpointed");
            RenameSource(source);
            RenameFuture(source, future);
            _set.Logs[source.TopicPartition] = future;
            _set.Futures.TryRemove(source.TopicPartition, out _);
            source.State.Flush.Retire();
            source.State.IsMoved = true;
            return true;
        }
    }

    /// <summary>Closes the source of a switch, when nobody is given it any more, and deletes its files.</summary>
    /// <param name="source">The old log.</param>
    public void Retire(PartitionLog source)
    {
        ArgumentNullException.ThrowIfNull(source);
        source.Abandon();
        if (source.Directory.IsOffline)
            return;
        _set.ForDirectory(source.Directory, "writing checkpoints of a move", directory =>
        {
            _checkpointing.WriteRecoveryPoints(directory);
            _checkpointing.WriteLogStartOffsets(directory);
            directory.CleanerCheckpoint.Forget([source.TopicPartition]);
        });
        _deletion.DeleteDirectory(source.Path, source.Config.FileDeleteDelayMs);
    }

    /// <summary>Begins a copy anew, because the source has nothing any more of what it had.</summary>
    internal PartitionLog Restart(PartitionLog source, PartitionLog future, long baseOffset)
    {
        lock (_set.ChangeLock)
        {
            if (_set.Futures.GetValueOrDefault(source.TopicPartition) != future)
                throw new StorageException($"The move of {source.TopicPartition} was given up.");
            Drop(future);
            source.IsBeingMoved = true;
            return Create(source, future.Directory, baseOffset);
        }
    }

    /// <summary>Takes a copy away; the caller holds the lock.</summary>
    internal void Drop(PartitionLog future)
    {
        _set.Futures.TryRemove(future.TopicPartition, out _);
        future.State.Flush.Retire();
        future.Abandon();
        if (future.Directory.IsOffline)
            return;
        try
        {
            // Renamed first, so that a crash while the files go leaves nothing that looks like a copy.
            future.RenameDirectory(Path.Combine(future.Directory.Path, _set.DoomedName(future.TopicPartition)));
            _set.Context.Files.FlushDirectory(future.Directory.Path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            future.Directory.Fail($"giving up {future.Path}", exception);
            return;
        }

        _deletion.DeleteDirectory(future.Path, 0);
    }

    private PartitionLog Create(PartitionLog source, LogDirectory target, long baseOffset)
    {
        var name = _set.FutureName(source.TopicPartition)
            ?? throw new StorageException($"The name of {source.TopicPartition} is too long for a copy.");
        try
        {
            var future = _opener.CreateFuture(target, source, Path.Combine(target.Path, name), baseOffset);
            _set.Futures[source.TopicPartition] = future;
            return future;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw target.Fail($"creating a copy of {source.TopicPartition}", exception);
        }
    }

    /// <summary>A source that fails here is offline, which does not matter: the copy has everything.</summary>
    private void RenameSource(PartitionLog source)
    {
        var directory = source.Directory;
        if (directory.IsOffline)
            return;
        try
        {
            source.RenameDirectory(Path.Combine(directory.Path, _set.DoomedName(source.TopicPartition)));
            CrashPoint.Reached("move.source-renamed");
            _set.Context.Files.FlushDirectory(directory.Path);
            CrashPoint.Reached("move.source-flushed");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            directory.Fail($"taking {source.TopicPartition} out of it", exception);
        }
    }

    private void RenameFuture(PartitionLog source, PartitionLog future)
    {
        var target = future.Directory;
        try
        {
            future.RenameDirectory(Path.Combine(target.Path, future.TopicPartition.ToString()));
            CrashPoint.Reached("move.future-renamed");
            _set.Context.Files.FlushDirectory(target.Path);
            CrashPoint.Reached("move.future-flushed");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            var failure = target.Fail($"giving {future.Path} its name", exception);
            RestoreSource(source);
            throw failure;
        }
    }

    private void RestoreSource(PartitionLog source)
    {
        var directory = source.Directory;
        if (directory.IsOffline)
            return;
        try
        {
            source.RenameDirectory(Path.Combine(directory.Path, source.TopicPartition.ToString()));
            _set.Context.Files.FlushDirectory(directory.Path);
            _set.Context.Logger.LogWarning(
                "{Partition} stays in {Directory}, because its copy could not get its name.",
                source.TopicPartition,
                directory.Path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            directory.Fail($"putting {source.TopicPartition} back", exception);
        }
    }
}
