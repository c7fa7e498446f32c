using KBroker.Coordination.Runtime;

namespace KBroker.Coordination.Groups;

/// <summary>What a group speaks; the names are those of ListGroups (<c>classic</c>, <c>consumer</c>).</summary>
internal enum GroupType
{
    /// <summary>JoinGroup and SyncGroup; clients assign.</summary>
    Classic,

    /// <summary>ConsumerGroupHeartbeat (KIP-848); the broker assigns.</summary>
    Consumer,
}

/// <summary>What every kind of group answers, to commits and to the tools that look at groups.</summary>
/// <param name="groupId">The group's id.</param>
internal abstract class Group(string groupId)
{
    /// <summary>The group's id.</summary>
    public string GroupId { get; } = groupId;

    /// <summary>What it speaks.</summary>
    public abstract GroupType Type { get; }

    /// <summary>The protocol type as ListGroups and DescribeGroups show it: <c>consumer</c>, <c>connect</c>, or empty
    /// where only simple consumers commit.</summary>
    public abstract string ProtocolType { get; }

    /// <summary>The state as Kafka names it: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead, Assigning,
    /// Reconciling.</summary>
    public abstract string StateName { get; }

    /// <summary>Whether it has no members.</summary>
    public abstract bool IsEmpty { get; }

    /// <summary>
    /// Checks a commit (OffsetCommit, TxnOffsetCommit), and takes it as a sign of life of a classic member.
    /// </summary>
    /// <param name="turn">The step.</param>
    /// <param name="commit">Who commits.</param>
    /// <exception cref="CoordinatorException">UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, STALE_MEMBER_EPOCH,
    /// FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS, GROUP_ID_NOT_FOUND, ...</exception>
    public abstract void CheckOffsetCommit(ICoordinatorTurn turn, in OffsetCommitter commit);

    /// <summary>
    /// Checks one partition of a commit that passed <see cref="CheckOffsetCommit"/>, before anything is appended: a
    /// member of a consumer group whose epoch has moved on may still commit what it has had since the epoch it names
    /// (KIP-1251). One refused partition refuses the whole request, as in Kafka.
    /// </summary>
    /// <param name="turn">The step.</param>
    /// <param name="commit">Who commits.</param>
    /// <param name="topic">The topic's name.</param>
    /// <param name="partition">The partition.</param>
    /// <exception cref="CoordinatorException">STALE_MEMBER_EPOCH, ILLEGAL_GENERATION.</exception>
    public virtual void CheckOffsetCommitPartition(
        ICoordinatorTurn turn, in OffsetCommitter commit, string topic, int partition)
    {
    }

    /// <summary>Checks a fetch of offsets by a member (OffsetFetch 9+); a fetch without member id is allowed.</summary>
    /// <param name="memberId">The member, or null.</param>
    /// <param name="memberEpoch">Its epoch, or -1.</param>
    /// <exception cref="CoordinatorException">UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH.</exception>
    public abstract void CheckOffsetFetch(string? memberId, int memberEpoch);

    /// <summary>Checks whether offsets of the group may be deleted (OffsetDelete).</summary>
    /// <exception cref="CoordinatorException">GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.</exception>
    public abstract void CheckOffsetDelete();

    /// <summary>Checks whether the group may be deleted (DeleteGroups).</summary>
    /// <exception cref="CoordinatorException">GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.</exception>
    public abstract void CheckDelete();

    /// <summary>Whether a member is subscribed to a topic: then its offsets neither expire nor are deleted.</summary>
    /// <param name="topic">The topic's name.</param>
    public abstract bool IsSubscribedTo(string topic);

    /// <summary>
    /// From which instant on <c>offsets.retention.minutes</c> counts for an offset, epoch milliseconds; null while it
    /// may not expire at all, whatever its topic. See Kafka's KIP-211.
    /// </summary>
    /// <param name="commitTimestampMs">When the offset was committed.</param>
    public abstract long? ExpiryBaseMs(long commitTimestampMs);

    /// <summary>Appends the tombstones of everything but offsets that the log has of this group.</summary>
    /// <param name="turn">The step. Replaying the tombstones removes the group from <see cref="GroupMap"/>.</param>
    public abstract void AppendTombstones(ICoordinatorTurn turn);
}

/// <summary>Who commits offsets.</summary>
/// <param name="MemberId">The member id; empty for a simple consumer.</param>
/// <param name="InstanceId">The static member's name, or null.</param>
/// <param name="GenerationOrEpoch">Generation (classic) or member epoch (consumer); -1 for a simple consumer.</param>
/// <param name="IsTransactional">Whether it is a TxnOffsetCommit.</param>
/// <param name="ApiVersion">Version of the request.</param>
internal readonly record struct OffsetCommitter(
    string MemberId, string? InstanceId, int GenerationOrEpoch, bool IsTransactional, short ApiVersion);

/// <summary>The groups of one shard.</summary>
internal sealed class GroupMap
{
    private readonly Dictionary<string, Group> _groups = [];

    /// <summary>All groups.</summary>
    public IReadOnlyCollection<Group> All => _groups.Values;

    /// <summary>Finds a group.</summary>
    /// <param name="groupId">Its id.</param>
    /// <returns>The group, or null.</returns>
    public Group? Find(string groupId) => _groups.GetValueOrDefault(groupId);

    /// <summary>Adds a group, or puts it in the place of one of the same id (migration between the types).</summary>
    /// <param name="group">The group.</param>
    public void Put(Group group) => _groups[group.GroupId] = group;

    /// <summary>Removes a group, if it is still that one.</summary>
    /// <param name="group">The group.</param>
    public void Remove(Group group)
    {
        if (_groups.TryGetValue(group.GroupId, out var known) && ReferenceEquals(known, group))
            _groups.Remove(group.GroupId);
    }
}

/// <summary>The client behind a request.</summary>
/// <param name="ClientId">Its <c>client.id</c>; empty when it has none.</param>
/// <param name="ClientHost">Its address as Kafka shows it: a slash and the IP address.</param>
public readonly record struct GroupClient(string ClientId, string ClientHost);

/// <summary>A request to a group.</summary>
/// <typeparam name="T">The message.</typeparam>
/// <param name="Message">The message; not changed any more.</param>
/// <param name="Version">Its version.</param>
/// <param name="Client">Who sent it.</param>
public readonly record struct GroupRequest<T>(T Message, short Version, GroupClient Client);
