using KBroker.Protocol.Records;

namespace KBroker.Storage;

/// <summary>What becomes of old segments (<c>cleanup.policy</c>).</summary>
[Flags]
public enum CleanupPolicy
{
    /// <summary>Nothing is ever removed.</summary>
    None = 0,

    /// <summary>Old segments are deleted by time and size.</summary>
    Delete = 1,

    /// <summary>Only the newest record of each key is kept.</summary>
    Compact = 2,
}

/// <summary>
/// The values of a topic's configs that its logs need. Immutable: a change of config makes a new one. It knows no
/// property names; each member says which one it comes from. The defaults are Kafka's.
/// </summary>
public sealed record LogConfig
{
    /// <summary><c>segment.bytes</c>: a segment is rolled before it grows above this.</summary>
    public int SegmentBytes { get; init; } = 1024 * 1024 * 1024;

    /// <summary><c>segment.ms</c>: a segment is rolled when its records span more than this, ms.</summary>
    public long SegmentMs { get; init; } = 7L * 24 * 60 * 60 * 1000;

    /// <summary><c>segment.jitter.ms</c>: up to this much is taken off <see cref="SegmentMs"/> at random, ms.</summary>
    public long SegmentJitterMs { get; init; }

    /// <summary><c>index.interval.bytes</c>: the distance of index entries in the log.</summary>
    public int IndexIntervalBytes { get; init; } = 4096;

    /// <summary><c>segment.index.bytes</c>: a segment is rolled before its index grows above this.</summary>
    public int SegmentIndexBytes { get; init; } = 10 * 1024 * 1024;

    /// <summary><c>max.message.bytes</c>: the largest record batch.</summary>
    public int MaxMessageBytes { get; init; } = 1024 * 1024 + 12;

    /// <summary><c>retention.ms</c>: segments whose newest record is older go; -1 for no limit.</summary>
    public long RetentionMs { get; init; } = 7L * 24 * 60 * 60 * 1000;

    /// <summary><c>retention.bytes</c>: the oldest segments go while the log is larger; -1 for no limit.</summary>
    public long RetentionBytes { get; init; } = -1;

    /// <summary><c>cleanup.policy</c>.</summary>
    public CleanupPolicy CleanupPolicy { get; init; } = CleanupPolicy.Delete;

    /// <summary><c>compression.type</c>: the codec of stored batches; null keeps the producer's.</summary>
    public CompressionType? CompressionType { get; init; }

    /// <summary><c>compression.gzip.level</c>: -1 for the library's default, else 1 to 9.</summary>
    public int GzipLevel { get; init; } = -1;

    /// <summary><c>compression.lz4.level</c>: 1 to 17.</summary>
    public int Lz4Level { get; init; } = 9;

    /// <summary><c>compression.zstd.level</c>: -131072 to 22.</summary>
    public int ZstdLevel { get; init; } = 3;

    /// <summary><c>message.timestamp.type</c>.</summary>
    public TimestampType MessageTimestampType { get; init; } = TimestampType.CreateTime;

    /// <summary><c>message.timestamp.before.max.ms</c>: how far a timestamp may lie in the past, ms.</summary>
    public long MessageTimestampBeforeMaxMs { get; init; } = long.MaxValue;

    /// <summary><c>message.timestamp.after.max.ms</c>: how far a timestamp may lie in the future, ms.</summary>
    public long MessageTimestampAfterMaxMs { get; init; } = 60 * 60 * 1000;

    /// <summary><c>flush.messages</c>: an append flushes when this many records are not flushed.</summary>
    public long FlushMessages { get; init; } = long.MaxValue;

    /// <summary><c>flush.ms</c>: the oldest record not flushed is flushed after this, ms.</summary>
    public long FlushMs { get; init; } = long.MaxValue;

    /// <summary><c>file.delete.delay.ms</c>: deleted files stay this long under another name, ms.</summary>
    public long FileDeleteDelayMs { get; init; } = 60 * 1000;

    /// <summary><c>preallocate</c>: accepted; KBroker's files grow by plain writes whatever it says.</summary>
    public bool Preallocate { get; init; }

    /// <summary><c>min.cleanable.dirty.ratio</c>: the share of uncompacted bytes that starts a compaction.</summary>
    public double MinCleanableDirtyRatio { get; init; } = 0.5;

    /// <summary><c>min.compaction.lag.ms</c>: records younger than this are not compacted, ms.</summary>
    public long MinCompactionLagMs { get; init; }

    /// <summary><c>max.compaction.lag.ms</c>: records are compacted at the latest after this, ms.</summary>
    public long MaxCompactionLagMs { get; init; } = long.MaxValue;

    /// <summary><c>delete.retention.ms</c>: how long tombstones outlive their compaction, ms.</summary>
    public long DeleteRetentionMs { get; init; } = 24L * 60 * 60 * 1000;

    /// <summary><c>kbroker.flush.acks.all</c>: whether acks=all waits for stable storage.</summary>
    public bool FlushAcksAll { get; init; } = true;

    /// <summary><c>kbroker.delay.enable</c>: whether headers of producers may ask for a delay or a cancel.</summary>
    public bool DelayEnable { get; init; }

    /// <summary><c>kbroker.delay.levels</c>: the time of each level, ms; not empty. RocketMQ's by default.</summary>
    public IReadOnlyList<long> DelayLevelsMs { get; init; } = DefaultDelayLevelsMs;

    /// <summary><c>kbroker.delay.max.ms</c>: the longest delay from now that is accepted, ms.</summary>
    public long DelayMaxMs { get; init; } = long.MaxValue;

    /// <summary><c>kbroker.txn.enable</c>: whether headers of producers may make half messages and decide on them.
    /// </summary>
    public bool CheckBackEnable { get; init; }

    /// <summary><c>kbroker.txn.timeout.ms</c>: how long a half message may be undecided before its producer group is
    /// asked (RocketMQ's transactionTimeOut), ms.</summary>
    public long CheckBackTimeoutMs { get; init; } = 6_000;

    /// <summary><c>kbroker.txn.check.interval.ms</c>: from one check to the next (RocketMQ's
    /// transactionCheckInterval), ms.</summary>
    public long CheckBackIntervalMs { get; init; } = 30_000;

    /// <summary><c>kbroker.txn.check.max</c>: checks of a half message before it is given up (RocketMQ's
    /// transactionCheckMax).</summary>
    public int CheckBackMax { get; init; } = 15;

    /// <summary>Whether headers of producers are looked at.</summary>
    public bool HasRequests => DelayEnable || CheckBackEnable;

    /// <summary>1s 5s 10s 30s, 1m to 10m, 20m 30m 1h 2h, in ms.</summary>
    public static IReadOnlyList<long> DefaultDelayLevelsMs { get; } =
    [
        1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000,
        360_000, 420_000, 480_000, 540_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000,
    ];

    /// <summary>
    /// The longest that a segment is appended to, ms: <see cref="SegmentMs"/>, in a compacted topic also
    /// <see cref="MaxCompactionLagMs"/>, because only finished segments are compacted.
    /// </summary>
    public long MaxSegmentMs => IsCompacted && MaxCompactionLagMs > 0
        ? Math.Min(MaxCompactionLagMs, SegmentMs)
        : SegmentMs;

    /// <summary>Whether <see cref="CleanupPolicy"/> compacts, and so every record needs a key.</summary>
    public bool IsCompacted => (CleanupPolicy & CleanupPolicy.Compact) != 0;
}
