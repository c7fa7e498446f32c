using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol.Records;
using KBroker.Timing;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups;

/// <summary>What the group coordinator needs of its broker.</summary>
public sealed record GroupCoordinatorOptions
{
    /// <summary>The configs in force.</summary>
    public required ConfigView Configs { get; init; }

    /// <summary>The metadata; the partitions have subscribed before.</summary>
    public required IMetadataLog Metadata { get; init; }

    /// <summary>The partitions of this broker.</summary>
    public required PartitionRegistry Partitions { get; init; }

    /// <summary>The broker's timing wheel.</summary>
    public required ITaskTimer Timer { get; init; }

    /// <summary>The clock.</summary>
    public required TimeProvider Time { get; init; }

    /// <summary>Codecs of compressed batches.</summary>
    public required CompressionCodecs Codecs { get; init; }

    /// <summary>Makes the random part of member ids; null for random UUIDs of the machine.</summary>
    public Func<string>? NewUuid { get; init; }

    /// <summary>Where rebalances, loads and failures are told.</summary>
    public required ILogger Logger { get; init; }
}
