using System.Diagnostics.Metrics;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>What a <see cref="LogManager"/> needs to know.</summary>
public sealed record LogManagerOptions
{
    /// <summary><c>log.dirs</c>: full paths, at least one; created when missing.</summary>
    public required IReadOnlyList<string> LogDirectories { get; init; }

    /// <summary><c>node.id</c>; a directory of another node is refused.</summary>
    public required int NodeId { get; init; }

    /// <summary>
    /// The cluster's id; a directory of another cluster is refused. Null takes the one found in the directories,
    /// or a random one when all are new.
    /// </summary>
    public string? ClusterId { get; init; }

    /// <summary>
    /// <c>kbroker.lost.log.dirs</c>: ids of directories that will not come back. Only logs that lay there are created
    /// anew, empty, in another one.
    /// </summary>
    public IReadOnlyCollection<Uuid> LostDirectories { get; init; } = [];

    /// <summary>The configs of logs that nobody gives others.</summary>
    public LogConfig DefaultConfig { get; init; } = new();

    /// <summary>The file system.</summary>
    public IFileSystem Files { get; init; } = new PhysicalFileSystem();

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>The log.</summary>
    public ILogger? Logger { get; init; }

    /// <summary>Makes the meter; null for one without a container.</summary>
    public IMeterFactory? MeterFactory { get; init; }

    /// <summary>The codecs, shared with the rest of the broker; null for own ones.</summary>
    public CompressionCodecs? Codecs { get; init; }

    /// <summary>Randomness for jitter and ids.</summary>
    public Random Random { get; init; } = Random.Shared;

    /// <summary>Makes directory ids and, when needed, the cluster id.</summary>
    public Func<Uuid> NewUuid { get; init; } = Uuid.Random;

    /// <summary><c>num.recovery.threads.per.data.dir</c>.</summary>
    public int RecoveryThreadsPerDirectory { get; init; } = 2;

    /// <summary><c>log.flush.offset.checkpoint.interval.ms</c>.</summary>
    public long RecoveryPointCheckpointIntervalMs { get; init; } = 60_000;

    /// <summary><c>log.flush.start.offset.checkpoint.interval.ms</c>.</summary>
    public long LogStartCheckpointIntervalMs { get; init; } = 60_000;

    /// <summary>How often <c>flush.ms</c> is looked at, ms.</summary>
    public long FlushCheckIntervalMs { get; init; } = 1_000;

    /// <summary><c>log.retention.check.interval.ms</c>.</summary>
    public long RetentionCheckIntervalMs { get; init; } = 300_000;

    /// <summary><c>producer.id.expiration.ms</c>.</summary>
    public long ProducerIdExpirationMs { get; init; } = 86_400_000;

    /// <summary><c>producer.id.expiration.check.interval.ms</c>.</summary>
    public long ProducerIdExpirationCheckIntervalMs { get; init; } = 600_000;

    /// <summary>
    /// How many log and index files are kept open, as far as they are not in use at the moment; more are opened and
    /// closed again. The default is half of what the system allows the process.
    /// </summary>
    public int MaxOpenFiles { get; init; } = OpenFileLimit.Get() / 2;

    /// <summary>How often files are closed that nobody used since the last time, ms.</summary>
    public long IdleFileCheckIntervalMs { get; init; } = 30_000;

    /// <summary>The bound on the records of one compressed batch, in bytes.</summary>
    public int MaxDecompressedBytes { get; init; } = 256 * 1024 * 1024;

    /// <summary>How logs are compacted.</summary>
    public CleanerSettings Cleaner { get; init; } = new();

    /// <summary>Flushes run in their callers and no timer is started: for tests that own every thread.</summary>
    public bool RunInline { get; init; }
}
