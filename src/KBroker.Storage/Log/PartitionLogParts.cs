using KBroker.Protocol;
using KBroker.Storage.Log;
using KBroker.Storage.Producers;
using KBroker.Storage.Segments;

namespace KBroker.Storage;

/// <summary>What a <see cref="PartitionLog"/> is made of.</summary>
internal sealed record PartitionLogParts
{
    public required LogContext Context { get; init; }

    public required LogDirectory Directory { get; init; }

    public required TopicPartition Partition { get; init; }

    public required Uuid TopicId { get; init; }

    public required string Path { get; init; }

    public required LogConfig Config { get; init; }

    public required EpochCache Epochs { get; init; }

    public required ProducerStates Producers { get; init; }

    public required LoadedLog Loaded { get; init; }

    /// <summary>The directory was created just now.</summary>
    public required bool IsNew { get; init; }

    /// <summary>Deletes renamed segments after <c>file.delete.delay.ms</c>.</summary>
    public required Action<IReadOnlyList<LogSegment>, long> DeleteLater { get; init; }
}

/// <summary>A producer that a log knows.</summary>
/// <param name="ProducerId">Its id.</param>
/// <param name="ProducerEpoch">Its epoch.</param>
/// <param name="LastSequence">Sequence of its last record; -1 when unknown.</param>
/// <param name="LastTimestamp">When it last wrote, ms.</param>
/// <param name="CoordinatorEpoch">Epoch of the coordinator that wrote its last marker; -1 without one.</param>
/// <param name="CurrentTransactionStartOffset">First offset of its open transaction; -1 without one.</param>
public readonly record struct ActiveProducer(
    long ProducerId,
    short ProducerEpoch,
    int LastSequence,
    long LastTimestamp,
    int CoordinatorEpoch,
    long CurrentTransactionStartOffset);
