using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Cluster.Configuration;

/// <summary>Turns the configs of a topic, known by Kafka's names, into what a log goes by.</summary>
public static class LogConfigs
{
    /// <summary>The log's settings under a topic's configs.</summary>
    /// <param name="topic">The configs in force.</param>
    /// <returns>The settings.</returns>
    public static LogConfig From(TopicConfigValues topic)
    {
        ArgumentNullException.ThrowIfNull(topic);
        var policy = PolicyOf(topic.GetList("cleanup.policy"));
        return new LogConfig
        {
            SegmentBytes = topic.GetOptionalInt("internal.segment.bytes") ?? topic.GetInt("segment.bytes"),
            SegmentMs = topic.GetLong("segment.ms"),
            SegmentJitterMs = topic.GetLong("segment.jitter.ms"),
            IndexIntervalBytes = topic.GetInt("index.interval.bytes"),
            SegmentIndexBytes = topic.GetInt("segment.index.bytes"),
            MaxMessageBytes = topic.GetInt("max.message.bytes"),
            RetentionMs = topic.GetLong("retention.ms"),
            RetentionBytes = topic.GetLong("retention.bytes"),
            CleanupPolicy = policy,
            CompressionType = CompressionOf(topic.GetString("compression.type")),
            GzipLevel = topic.GetInt("compression.gzip.level"),
            Lz4Level = topic.GetInt("compression.lz4.level"),
            ZstdLevel = topic.GetInt("compression.zstd.level"),
            MessageTimestampType = topic.GetString("message.timestamp.type") == "LogAppendTime"
                ? TimestampType.LogAppendTime
                : TimestampType.CreateTime,
            MessageTimestampBeforeMaxMs = topic.GetLong("message.timestamp.before.max.ms"),
            MessageTimestampAfterMaxMs = topic.GetLong("message.timestamp.after.max.ms"),
            FlushMessages = topic.GetLong("flush.messages"),
            FlushMs = topic.GetLong("flush.ms"),
            FileDeleteDelayMs = topic.GetLong("file.delete.delay.ms"),
            Preallocate = topic.GetBoolean("preallocate"),
            MinCleanableDirtyRatio = topic.GetDouble("min.cleanable.dirty.ratio"),
            MinCompactionLagMs = topic.GetLong("min.compaction.lag.ms"),
            MaxCompactionLagMs = topic.GetLong("max.compaction.lag.ms"),
            DeleteRetentionMs = topic.GetLong("delete.retention.ms"),
            FlushAcksAll = topic.GetBoolean("kbroker.flush.acks.all"),
            // The broker's default does not reach compacted topics, such as the coordinators'.
            DelayEnable = topic.GetBoolean("kbroker.delay.enable") && (policy & CleanupPolicy.Compact) == 0,
            DelayLevelsMs = DelayLevels.Parse(topic.GetString("kbroker.delay.levels") ?? ""),
            DelayMaxMs = topic.GetLong("kbroker.delay.max.ms"),
            CheckBackEnable = topic.GetBoolean("kbroker.txn.enable") && (policy & CleanupPolicy.Compact) == 0,
            CheckBackTimeoutMs = topic.GetLong("kbroker.txn.timeout.ms"),
            CheckBackIntervalMs = topic.GetLong("kbroker.txn.check.interval.ms"),
            CheckBackMax = topic.GetInt("kbroker.txn.check.max"),
        };
    }

    private static CleanupPolicy PolicyOf(IReadOnlyList<string> names)
    {
        var policy = CleanupPolicy.None;
        foreach (var name in names)
            policy |= name == "compact" ? CleanupPolicy.Compact : CleanupPolicy.Delete;
        return policy;
    }

    private static CompressionType? CompressionOf(string? name) => name switch
    {
        "uncompressed" => CompressionType.None,
        "gzip" => CompressionType.Gzip,
        "snappy" => CompressionType.Snappy,
        "lz4" => CompressionType.Lz4,
        "zstd" => CompressionType.Zstd,
        _ => null,
    };
}
