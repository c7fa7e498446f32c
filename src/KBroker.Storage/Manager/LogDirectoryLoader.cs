using KBroker.Protocol;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Crashing;
using KBroker.Storage.Moves;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>Opens the logs of a directory at start, several at a time.</summary>
internal sealed class LogDirectoryLoader(
    LogSet set, LogOpener opener, LogCheckpointing checkpointing, DelayedDeletion deletion)
{
    private const long DelayOfLeftOversMs = 1_000;

    /// <summary>Opens the logs that belong here, and marks or deletes the rest.</summary>
    public void Load(
        LogDirectory directory,
        Func<TopicPartition, Uuid, LogConfig?> configOf,
        Func<TopicPartition, Uuid> topicIdOf,
        MoveRecovery places)
    {
        var saved = checkpointing.Read(directory);
        directory.CleanerCheckpoint.Load(checkpointing.Read(directory.CleanerOffsets));
        var isClean = directory.WasCleanlyShutDown;
        CleanShutdownFile.Delete(set.Context.Files, directory.Path);
        var partitions = new List<TopicPartition>();
        var doomed = new List<string>();
        var futures = new List<(TopicPartition Partition, string Name)>();
        foreach (var name in set.Context.Files.ListDirectories(directory.Path))
        {
            if (name.EndsWith(LogSet.DeleteSuffix, StringComparison.Ordinal))
                doomed.Add(Path.Combine(directory.Path, name));
            else if (LogSet.TryParseFuture(name, out var partition))
                futures.Add((partition, name));
            else if (TopicPartition.TryParse(name, out partition) && partition != LogManager.MetadataPartition)
                partitions.Add(partition);
        }

        // Not at once, because the start must not wait for it.
        deletion.DeleteDirectories(doomed, set.Options.RunInline ? 0 : DelayOfLeftOversMs);
        foreach (var withheld in partitions.Where(p => places.IsWithheld(directory, p)))
            set.DamagedCheckpoints[withheld] = new DamagedLog(directory, saved.Of(withheld));
        partitions.RemoveAll(p => places.IsWithheld(directory, p));
        using var progress = new RecoveryProgress(
            directory.Path, partitions.Count, set.Context.Time, set.Context.Logger);
        Parallel.ForEach(partitions, set.Degree(), partition =>
        {
            if (!directory.IsOffline)
                LoadLog(directory, partition, saved.Of(partition), isClean, configOf, topicIdOf, progress);
            progress.PartitionDone();
        });
        foreach (var (partition, name) in futures)
            LoadFuture(directory, partition, name, saved.Of(partition), isClean, configOf);
        CrashPoint.Reached("open.logs-opened");
        ForgetCheckpointsWithoutLog(directory, saved);
        if (partitions.Count > 0)
        {
            set.Context.Logger.LogInformation(
                "Log directory {Directory}: {Count} partitions opened after a{Clean} stop, in {Milliseconds} ms; "
                + "{Bytes} bytes scanned.",
                directory.Path,
                partitions.Count,
                isClean ? " clean" : "n unclean",
                (long)progress.Elapsed.TotalMilliseconds,
                progress.Bytes);
        }
    }

    /// <summary>Notes, when all directories are loaded, which logs have a copy in another one.</summary>
    public void MarkMoves()
    {
        foreach (var (partition, future) in set.Futures)
        {
            if (set.Logs.TryGetValue(partition, out var log))
            {
                log.IsBeingMoved = true;
                continue;
            }

            // The log is damaged, or its directory is away: the copy waits on the disk.
            future.Abandon();
            set.Futures.TryRemove(partition, out _);
        }
    }

    private void LoadFuture(
        LogDirectory directory,
        TopicPartition partition,
        string name,
        LogCheckpoints checkpoints,
        bool isClean,
        Func<TopicPartition, Uuid, LogConfig?> configOf)
    {
        var path = Path.Combine(directory.Path, name);
        // One that was deleted a moment ago, or belongs to a broker with several directories.
        if (directory.IsOffline || set.Directories.Count == 1 || !set.Context.Files.DirectoryExists(path))
            return;
        try
        {
            if (configOf(partition, opener.ReadTopicId(path)) is { } config)
                set.Futures[partition] = opener.OpenFuture(directory, partition, path, config, checkpoints, isClean);
        }
        catch (CorruptLogException exception)
        {
            set.Context.Logger.LogWarning("{Problem} It is a copy, which is made anew.", exception.Message);
            deletion.DeleteDirectory(path, 0);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            directory.Fail($"opening {path}", exception);
        }
    }

    private void LoadLog(
        LogDirectory directory,
        TopicPartition partition,
        LogCheckpoints checkpoints,
        bool isClean,
        Func<TopicPartition, Uuid, LogConfig?> configOf,
        Func<TopicPartition, Uuid> topicIdOf,
        RecoveryProgress progress)
    {
        var path = Path.Combine(directory.Path, partition.ToString());
        try
        {
            var topicId = opener.ReadTopicId(path);
            var expected = topicIdOf(partition);
            if (configOf(partition, topicId) is not { } config)
            {
                ThrowIfDamagedId(path, topicId, expected);
                MakeStray(directory, partition, path);
                return;
            }

            var log = opener.Open(directory, partition, config, checkpoints, isClean, topicId, progress.Scanned);
            if (topicId.IsZero && !expected.IsZero)
                log.AssignTopicId(expected);
            if (!set.Logs.TryAdd(partition, log))
                set.Context.Logger.LogError("{Directory} is not served: another log directory has it, too.", path);
        }
        catch (CorruptLogException exception)
        {
            NotServed(directory, partition, checkpoints, exception);
        }
        catch (Exception exception) when (exception is IOException and not EndOfStreamException
            or UnauthorizedAccessException)
        {
            directory.Fail($"opening {partition}", exception);
        }
        catch (Exception exception)
        {
            // Whatever a damaged file leads to, it must not keep the other partitions from being served.
            NotServed(directory, partition, checkpoints, new CorruptLogException(path, 0, exception.Message));
        }
    }

    private void NotServed(
        LogDirectory directory, TopicPartition partition, LogCheckpoints checkpoints, CorruptLogException problem)
    {
        set.Context.Logger.LogError("{Partition} is not served: {Problem}", partition, problem.Message);
        set.DamagedCheckpoints[partition] = new DamagedLog(directory, checkpoints);
        set.Damaged[partition] = problem;
    }

    /// <summary>
    /// Ids are random, so one that differs from the right one in a character or two is that one, damaged: the directory
    /// must not be put aside as if it belonged to another topic.
    /// </summary>
    private static void ThrowIfDamagedId(string path, Uuid found, Uuid expected)
    {
        const int fewCharacters = 2;
        if (found.IsZero || expected.IsZero
            || found.ToString().Zip(expected.ToString()).Count(static p => p.First != p.Second) > fewCharacters)
        {
            return;
        }

        throw new CorruptLogException(
            Path.Combine(path, PartitionMetadataFile.FileName), 0, $"topic_id {found} is nearly, but not, {expected}",
            "Nothing was changed. Remove the file, with the broker stopped: the topic's id is then taken from the "
            + "metadata.");
    }

    /// <summary>The checkpoint of a log that is gone would be taken for that of a new one of its name.</summary>
    private void ForgetCheckpointsWithoutLog(LogDirectory directory, SavedCheckpoints saved)
    {
        var isThere = set.LogsIn(directory).Select(static l => l.TopicPartition)
            .Concat(set.DamagedCheckpoints.Where(d => d.Value.Directory == directory).Select(static d => d.Key))
            .ToHashSet();
        if (directory.IsOffline || saved.RecoveryPoints.Keys.Concat(saved.Starts.Keys).All(isThere.Contains))
            return;
        checkpointing.WriteRecoveryPoints(directory);
        checkpointing.WriteLogStartOffsets(directory);
    }

    private void MakeStray(LogDirectory directory, TopicPartition partition, string path)
    {
        var stray = Path.Combine(directory.Path, set.StrayName(partition));
        set.Context.Logger.LogWarning(
            "{Directory} belongs to no partition of this broker; it becomes {Stray}.", path, stray);
        set.Context.Files.Rename(path, stray);
        CrashPoint.Reached("open.stray-renamed");
    }
}
