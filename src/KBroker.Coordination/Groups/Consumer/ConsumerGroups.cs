using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Offsets;
using KBroker.Coordination.Runtime;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>The groups of a shard that speak the consumer protocol (KIP-848).</summary>
/// <param name="options">Configs, ids, log.</param>
/// <param name="groups">The groups of the shard.</param>
/// <param name="offsets">Their offsets.</param>
internal sealed class ConsumerGroups(GroupShardOptions options, GroupMap groups, OffsetStore offsets)
{
    /// <summary>The configs in force.</summary>
    internal GroupShardOptions Options { get; } = options;

    /// <summary>The groups of the shard.</summary>
    internal GroupMap Groups { get; } = groups;

    /// <summary>Their offsets.</summary>
    internal OffsetStore Offsets { get; } = offsets;

    /// <summary>Applies a record of a consumer group; unknown kinds (share, streams groups) are left alone.</summary>
    /// <param name="key">The record's key.</param>
    /// <param name="value">Its value; null for a tombstone.</param>
    public void Replay(IRecordMessage key, IRecordMessage? value)
    {
    }

    /// <summary>Gives every member a new session, and the revocations a new timeout.</summary>
    /// <param name="turn">The shard's first step.</param>
    public void OnLoaded(ICoordinatorTurn turn)
    {
    }

    /// <summary>Groups whose topics changed get a new assignment with the next heartbeat.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="update">What changed.</param>
    public void OnMetadata(ICoordinatorTurn turn, MetadataUpdate update)
    {
    }
}
