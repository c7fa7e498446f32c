using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol.Records;
using KBroker.Timing;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Runtime;

/// <summary>What a coordinator consists of, beside the state of its shards.</summary>
internal sealed record CoordinatorOptions
{
    /// <summary>The internal topic: one shard for each of its partitions.</summary>
    public required string Topic { get; init; }

    /// <summary>The bytes of its records.</summary>
    public required CoordinatorRecordCodec Codec { get; init; }

    /// <summary>The partitions of this broker.</summary>
    public required PartitionRegistry Partitions { get; init; }

    /// <summary>The metadata; the coordinator subscribes behind the partitions.</summary>
    public required IMetadataLog Metadata { get; init; }

    /// <summary>The broker's timing wheel.</summary>
    public required ITaskTimer Timer { get; init; }

    /// <summary>The clock.</summary>
    public required TimeProvider Time { get; init; }

    /// <summary>Codecs of compressed batches.</summary>
    public required CompressionCodecs Codecs { get; init; }

    /// <summary>How new batches are compressed.</summary>
    public Func<CompressionType> Compression { get; init; } = static () => CompressionType.None;

    /// <summary>How many shards load at once.</summary>
    public int LoadThreads { get; init; } = 4;

    /// <summary>Bytes read at once while loading.</summary>
    public int LoadBufferBytes { get; init; } = 5 * 1024 * 1024;

    /// <summary>Where loading and failures are told.</summary>
    public required ILogger Logger { get; init; }

    /// <summary>The instruments.</summary>
    public required CoordinatorMetrics Metrics { get; init; }
}
