using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Groups.Consumer;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Groups.Offsets;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups;

/// <summary>
/// The state of one partition of <c>__consumer_offsets</c>: groups of both kinds, and offsets. It sends each record and
/// each event to the service that knows it; the services share <see cref="Groups"/>.
/// </summary>
internal sealed class GroupShard : ICoordinatorState
{
    /// <summary>Creates an empty shard.</summary>
    /// <param name="options">What it shares with the rest of the broker.</param>
    public GroupShard(GroupShardOptions options)
    {
        Groups = new GroupMap();
        Offsets = new OffsetStore(options, Groups);
        Classic = new ClassicGroups(options, Groups, Offsets);
        Consumer = new ConsumerGroups(options, Groups, Classic);
    }

    /// <summary>All groups.</summary>
    public GroupMap Groups { get; }

    /// <summary>The committed offsets.</summary>
    public OffsetStore Offsets { get; }

    /// <summary>The classic protocol.</summary>
    public ClassicGroups Classic { get; }

    /// <summary>The consumer protocol (KIP-848).</summary>
    public ConsumerGroups Consumer { get; }

    /// <summary>Who serves the classic protocol's requests to a group.</summary>
    /// <param name="groupId">The group, whether or not it exists.</param>
    public IClassicProtocol ClassicProtocolOf(string groupId) =>
        Groups.Find(groupId) is ConsumerGroup { IsEmpty: false } ? Consumer.ClassicMembers : Classic;

    /// <inheritdoc/>
    public void Replay(in ReplayContext context, IRecordMessage key, IRecordMessage? value)
    {
        switch (key)
        {
            case OffsetCommitKey or LegacyOffsetCommitKey:
                Offsets.Replay(context, key, value);
                break;
            case GroupMetadataKey classic:
                Classic.Replay(classic, (GroupMetadataValue?)value);
                break;
            default:
                Consumer.Replay(key, value);
                break;
        }
    }

    /// <inheritdoc/>
    public void ReplayTransactionEnd(long producerId, short producerEpoch, bool isCommit) =>
        Offsets.ReplayTransactionEnd(producerId, producerEpoch, isCommit);

    /// <inheritdoc/>
    public void OnLoaded(ICoordinatorTurn turn)
    {
        Classic.OnLoaded(turn);
        Consumer.OnLoaded(turn);
        Offsets.OnLoaded(turn);
    }

    /// <inheritdoc/>
    public void OnUnloaded(ErrorCode error) => Classic.OnUnloaded(error);

    /// <inheritdoc/>
    public void OnMetadata(ICoordinatorTurn turn, MetadataUpdate update)
    {
        Offsets.OnMetadata(turn, update);
        Consumer.OnMetadata(turn, update);
    }
}
