using KBroker.Protocol;
using KBroker.Storage.Crashing;
using KBroker.Storage.Moves;

namespace KBroker.Storage;

/// <summary>Creates and deletes logs while the broker runs.</summary>
internal sealed class LogCreation(
    LogSet set, LogOpener opener, LogCheckpointing checkpointing, DelayedDeletion deletion, LogMoves moves)
{
    private readonly Dictionary<TopicPartition, LogDirectory> _preferred = [];

    /// <summary>See <see cref="LogManager.Prefer"/>.</summary>
    public void Prefer(TopicPartition partition, LogDirectory directory)
    {
        const int maxRemembered = 10_000;
        lock (set.ChangeLock)
        {
            if (_preferred.ContainsKey(partition) || _preferred.Count < maxRemembered)
                _preferred[partition] = directory;
        }
    }

    /// <summary>See <see cref="LogManager.GetOrCreate"/>.</summary>
    public PartitionLog GetOrCreate(TopicPartition partition, Uuid topicId, LogConfig config, Uuid? directoryId)
    {
        if (set.Logs.TryGetValue(partition, out var existing))
            return existing;
        lock (set.ChangeLock)
        {
            if (set.Logs.TryGetValue(partition, out existing))
                return existing;
            if (set.Damaged.TryGetValue(partition, out var damage))
                throw new StorageException($"{partition} is not served: {damage.Message}", damage);
            var directory = ChooseDirectory(partition, directoryId);
            try
            {
                // What a deleted log of this name left behind.
                directory.CleanerCheckpoint.Forget([partition]);
                var log = opener.Create(directory, partition, topicId, config);
                CrashPoint.Reached("create.opened");
                set.Logs[partition] = log;
                return log;
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw directory.Fail($"creating {partition}", exception);
            }
        }
    }

    /// <summary>See <see cref="LogManager.Delete(IReadOnlyCollection{TopicPartition})"/>.</summary>
    public int Delete(IReadOnlyCollection<TopicPartition> partitions)
    {
        List<PartitionLog> logs = [];
        var count = 0;
        lock (set.ChangeLock)
        {
            foreach (var partition in partitions)
            {
                if (set.Futures.TryGetValue(partition, out var future))
                    moves.Drop(future);
                if (!set.Logs.TryRemove(partition, out var log))
                {
                    count += DeleteDamaged(partition) ? 1 : 0;
                }
                else if (log.Directory.IsOffline)
                {
                    // When the directory is back, its topic is unknown and it is not looked at.
                    log.Abandon();
                    count++;
                }
                else
                {
                    logs.Add(log);
                }
            }

            // One directory that fails must not keep the names in the others from being free.
            foreach (var inDirectory in logs.GroupBy(static l => l.Directory))
                set.ForDirectory(inDirectory.Key, "deleting partitions", d => RenameAll(d, [.. inDirectory]));
        }

        deletion.DeleteDirectories([.. logs.Where(static l => !l.Directory.IsOffline)]);
        return count + logs.Count;
    }

    private void RenameAll(LogDirectory directory, List<PartitionLog> logs)
    {
        // A cleaning that ends now must not write down its offset after it was forgotten. None starts again.
        foreach (var log in logs)
            log.State.Cleaning.PauseAndWait();
        // A recovery point left behind would not fit a new log of the same name.
        checkpointing.WriteRecoveryPoints(directory);
        checkpointing.WriteLogStartOffsets(directory);
        directory.CleanerCheckpoint.Forget(logs.Select(static l => l.TopicPartition));
        CrashPoint.Reached("delete.checkpointed");
        foreach (var log in logs)
        {
            // Closed first, so that nobody looks for files whose directory has another name.
            log.Abandon();
            log.RenameDirectory(Path.Combine(directory.Path, set.DoomedName(log.TopicPartition)));
        }

        CrashPoint.Reached("delete.renamed");
        set.Context.Files.FlushDirectory(directory.Path);
        CrashPoint.Reached("delete.flushed");
    }

    /// <summary>A log that is not served for its damage is deleted like another: its topic is gone.</summary>
    private bool DeleteDamaged(TopicPartition partition)
    {
        if (!set.Damaged.TryRemove(partition, out _) || !set.DamagedCheckpoints.TryRemove(partition, out var damaged))
            return false;
        var doomed = Path.Combine(damaged.Directory.Path, set.DoomedName(partition));
        var isRenamed = false;
        set.ForDirectory(damaged.Directory, $"deleting {partition}", directory =>
        {
            set.Context.Files.Rename(Path.Combine(directory.Path, partition.ToString()), doomed);
            isRenamed = true;
        });
        // In a directory that is offline it stays, as every log there; when that is back, its topic is unknown.
        if (isRenamed)
            deletion.DeleteDirectory(doomed, 0);
        return true;
    }

    private LogDirectory ChooseDirectory(TopicPartition partition, Uuid? directoryId)
    {
        if (directoryId is { } id)
        {
            if (set.Directories.FirstOrDefault(d => LogDirectory.IsOrdinaryId(id) && d.DirectoryId == id) is { } wanted)
            {
                wanted.ThrowIfOffline();
                return wanted;
            }

            // An empty log here would hide the records that lie there.
            if (set.Directories.FirstOrDefault(static d => d.IsOffline) is { } offline)
                offline.ThrowIfOffline();
            if (LogDirectory.IsOrdinaryId(id) && !set.Options.LostDirectories.Contains(id))
            {
                throw new StorageException(
                    $"Log directory {id} of {partition} is none of log.dirs. Add it, or, if it is lost for ever, say "
                    + $"so with kbroker.lost.log.dirs={id}: its partitions begin anew, empty.");
            }
        }

        if (_preferred.Remove(partition, out var preferred) && preferred is { IsOffline: false, IsCordoned: false })
            return preferred;
        var online = set.Directories.Where(static d => !d.IsOffline).ToList();
        // With all of them cordoned the controller still lets a client name this broker, and it must go somewhere.
        if (online.Exists(static d => !d.IsCordoned))
            online.RemoveAll(static d => d.IsCordoned);
        if (online.Count == 1)
            return online[0];
        var counts = set.Logs.Select(static l => l.Value).CountBy(static l => l.Directory).ToDictionary();
        return online.MinBy(d => counts.GetValueOrDefault(d))
            ?? throw new StorageException("All log directories are offline.");
    }
}
