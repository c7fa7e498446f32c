using KBroker.Protocol;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Crashing;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>Opens the logs of a directory at start, several at a time.</summary>
internal sealed class LogDirectoryLoader(
    LogSet set, LogOpener opener, LogCheckpointing checkpointing, DelayedDeletion deletion)
{
    /// <summary>Opens the logs that belong here, and marks or deletes the rest.</summary>
    public void Load(LogDirectory directory, Func<TopicPartition, Uuid, LogConfig?> configOf)
    {
        var recoveryPoints = checkpointing.Read(directory.RecoveryPoints);
        var starts = checkpointing.Read(directory.LogStartOffsets);
        directory.CleanerCheckpoint.Load(checkpointing.Read(directory.CleanerOffsets));
        var isClean = directory.WasCleanlyShutDown;
        CleanShutdownFile.Delete(set.Context.Files, directory.Path);
        var partitions = new List<TopicPartition>();
        foreach (var name in set.Context.Files.ListDirectories(directory.Path))
        {
            if (name.EndsWith(LogSet.DeleteSuffix, StringComparison.Ordinal))
                deletion.DeleteDirectory(Path.Combine(directory.Path, name), 0);
            else if (TopicPartition.TryParse(name, out var partition) && partition != LogManager.MetadataPartition)
                partitions.Add(partition);
        }

        Parallel.ForEach(partitions, set.Degree(), partition =>
        {
            var checkpoints = new LogCheckpoints(
                recoveryPoints.GetValueOrDefault(partition), starts.GetValueOrDefault(partition));
            LoadLog(directory, partition, checkpoints, isClean, configOf);
        });
        CrashPoint.Reached("open.logs-opened");
        if (partitions.Count > 0)
        {
            set.Context.Logger.LogInformation(
                "Log directory {Directory}: {Count} partitions opened after a{Clean} stop.",
                directory.Path,
                partitions.Count,
                isClean ? " clean" : "n unclean");
        }
    }

    private void LoadLog(
        LogDirectory directory,
        TopicPartition partition,
        LogCheckpoints checkpoints,
        bool isClean,
        Func<TopicPartition, Uuid, LogConfig?> configOf)
    {
        if (directory.IsOffline)
            return;
        try
        {
            var path = Path.Combine(directory.Path, partition.ToString());
            if (configOf(partition, opener.ReadTopicId(path)) is not { } config)
                MakeStray(directory, partition, path);
            else if (!set.Logs.TryAdd(partition, opener.Open(directory, partition, config, checkpoints, isClean)))
                set.Context.Logger.LogError("{Directory} is not served: another log directory has it, too.", path);
        }
        catch (CorruptLogException exception)
        {
            set.Context.Logger.LogError("{Partition} is not served: {Problem}", partition, exception.Message);
            set.Damaged[partition] = exception;
            set.DamagedCheckpoints[partition] = new DamagedLog(directory, checkpoints);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            directory.Fail($"opening {partition}", exception);
        }
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
