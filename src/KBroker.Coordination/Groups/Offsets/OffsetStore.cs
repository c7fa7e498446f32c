using KBroker.Cluster.Metadata;
using KBroker.Coordination.Runtime;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Offsets;

/// <summary>The committed offsets of a shard's groups: by group, topic and partition.</summary>
/// <param name="options">Configs, log.</param>
/// <param name="groups">The groups, which check commits.</param>
internal sealed class OffsetStore(GroupShardOptions options, GroupMap groups)
{
    /// <summary>The configs in force.</summary>
    internal GroupShardOptions Options { get; } = options;

    /// <summary>The groups of the shard.</summary>
    internal GroupMap Groups { get; } = groups;

    /// <summary>Whether a group has offsets, pending ones of open transactions included.</summary>
    /// <param name="groupId">The group's id.</param>
    public bool HasOffsets(string groupId) => false;

    /// <summary>Applies an offset, or its tombstone.</summary>
    /// <param name="context">Where the record stands.</param>
    /// <param name="key">An <see cref="OffsetCommitKey"/> or a <see cref="LegacyOffsetCommitKey"/>.</param>
    /// <param name="value">The offset; null for a tombstone.</param>
    public void Replay(in ReplayContext context, IRecordMessage key, IRecordMessage? value)
    {
    }

    /// <summary>Applies the end of a transaction: its offsets hold, or are dropped.</summary>
    /// <param name="producerId">The producer id.</param>
    /// <param name="producerEpoch">Its epoch.</param>
    /// <param name="isCommit">Whether it commits.</param>
    public void ReplayTransactionEnd(long producerId, short producerEpoch, bool isCommit)
    {
    }

    /// <summary>Sets the timer of expiry.</summary>
    /// <param name="turn">The shard's first step.</param>
    public void OnLoaded(ICoordinatorTurn turn)
    {
    }

    /// <summary>Deletes the offsets of deleted topics.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="update">What changed.</param>
    public void OnMetadata(ICoordinatorTurn turn, MetadataUpdate update)
    {
    }
}
