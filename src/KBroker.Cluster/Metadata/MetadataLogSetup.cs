using KBroker.Cluster.Configuration;
using KBroker.Storage;
using KBroker.Storage.Files;
using Microsoft.Extensions.Logging;

namespace KBroker.Cluster.Metadata;

/// <summary>Opens the metadata log as the broker's configs say.</summary>
public static class MetadataLogSetup
{
    /// <summary>
    /// Opens the log in <c>metadata.log.dir</c>, or in the first log directory, and replays it. Call
    /// <see cref="LocalMetadataLog.BecomeLeader"/> next.
    /// </summary>
    /// <param name="logs">The log directories, opened; no log need be loaded yet.</param>
    /// <param name="configs">The values of server.properties.</param>
    /// <param name="nodeId">This node.</param>
    /// <param name="files">The file system that <paramref name="logs"/> uses.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">The log.</param>
    /// <exception cref="InvalidMetadataException">The log cannot be replayed.</exception>
    /// <exception cref="ConfigException">A config does not fit; the message names it.</exception>
    /// <exception cref="StorageException">The directory is offline.</exception>
    public static LocalMetadataLog Open(
        LogManager logs, BrokerConfigValues configs, int nodeId, IFileSystem files, TimeProvider time, ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(logs);
        ArgumentNullException.ThrowIfNull(configs);
        return LocalMetadataLog.Open(new MetadataLogOptions
        {
            Log = logs.OpenMetadataLog(LogConfig(configs), Directory(logs, configs)),
            NodeId = nodeId,
            ClusterId = logs.ClusterId,
            BootstrapFeatures = Features(configs),
            MaxBytesBetweenSnapshots = configs.GetLong("metadata.log.max.record.bytes.between.snapshots"),
            MaxSnapshotIntervalMs = configs.GetLong("metadata.log.max.snapshot.interval.ms"),
            MaxRetentionBytes = configs.GetLong("metadata.max.retention.bytes"),
            MaxRetentionMs = configs.GetLong("metadata.max.retention.ms"),
            Files = files,
            Time = time,
            Logger = logger,
        });
    }

    private static LogConfig LogConfig(BrokerConfigValues configs) => new()
    {
        SegmentBytes = configs.GetInt("metadata.log.segment.bytes"),
        SegmentMs = configs.GetLong("metadata.log.segment.ms"),
        MaxMessageBytes = int.MaxValue,
        // What may go is decided by snapshots, never by the log's own retention.
        RetentionMs = -1,
        RetentionBytes = -1,
    };

    private static LogDirectory? Directory(LogManager logs, BrokerConfigValues configs)
    {
        if (configs.GetString("metadata.log.dir") is not { Length: > 0 } wanted)
            return null;
        var path = Path.GetFullPath(wanted);
        return logs.Directories.FirstOrDefault(d => d.Path == path) ?? throw new ConfigException(
            "metadata.log.dir", wanted, "it must be one of the directories in log.dirs");
    }

    private static System.Collections.Immutable.ImmutableSortedDictionary<string, short> Features(BrokerConfigValues configs)
    {
        var text = string.Join(",", configs.GetList("kbroker.bootstrap.features"));
        try
        {
            return SupportedFeatures.ParseLevels(text);
        }
        catch (ArgumentException e)
        {
            throw new ConfigException("kbroker.bootstrap.features", text, e.Message);
        }
    }
}
