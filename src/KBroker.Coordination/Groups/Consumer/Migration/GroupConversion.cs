using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Groups.Consumer.Subscriptions;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Consumer.Migration;

/// <summary>
/// Turns groups with members from one type into the other while they run (KIP-848): a classic group of consumers when
/// the first member of the new protocol joins, and back when the last one has left.
/// <c>group.consumer.migration.policy</c> says which of it is allowed.
/// </summary>
/// <param name="options">Configs, log.</param>
/// <param name="groups">The groups of the shard.</param>
/// <param name="classic">The classic groups.</param>
/// <param name="hashes">The hashes of topics.</param>
/// <param name="removal">Starts sessions.</param>
internal sealed class GroupConversion(
    GroupShardOptions options, GroupMap groups, ClassicGroups classic, MetadataHashes hashes, MemberRemoval removal)
{
    /// <summary>Whether classic members may not even be in consumer groups.</summary>
    public bool IsDisabled => Policy == "disabled";

    private string Policy => options.Configs.Broker.GetString("group.consumer.migration.policy")!.ToLowerInvariant();

    /// <summary>Converts a classic group with members.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="known">The group.</param>
    /// <returns>The consumer group; its members are those of the classic group, stable at its generation.</returns>
    /// <exception cref="CoordinatorException">GROUP_ID_NOT_FOUND: it cannot be converted. GROUP_MAX_SIZE_REACHED: it
    /// has no room for the member that comes.</exception>
    public ConsumerGroup Upgrade(ICoordinatorTurn turn, Group known)
    {
        var groupId = known.GroupId;
        if (known is not ClassicGroup group)
            throw new CoordinatorException(ErrorCode.GroupIdNotFound, $"Group {groupId} is not a consumer group.");
        if (Policy is not ("upgrade" or "bidirectional"))
            throw CannotUpgrade(groupId, "online upgrade is disabled");
        if (group.ProtocolType != "consumer")
            throw CannotUpgrade(groupId, "the group does not use the consumer embedded protocol");
        var maxSize = options.Configs.Broker.GetInt("group.consumer.max.size");
        if (group.Members.Count > maxSize)
            throw CannotUpgrade(groupId, "the group size exceeds the consumer group maximum size");

        var image = turn.Metadata;
        var members = Members(group, image);
        ConsumerHeartbeats.CheckSize(members.Count, maxSize);
        classic.Dissolve(turn, group);
        foreach (var member in members)
            ConsumerRecords.AppendMember(turn, groupId, member);
        var topics = members.SelectMany(static m => m.Topics).ToHashSet();
        ConsumerRecords.AppendEpoch(turn, groupId, group.GenerationId, hashes.OfGroup(topics, image));
        foreach (var member in members)
            ConsumerRecords.AppendTarget(turn, groupId, member.MemberId, member.Assigned.WithoutEpochs());
        ConsumerRecords.AppendTargetEpoch(turn, groupId, group.GenerationId, 0);
        foreach (var member in members)
            ConsumerRecords.AppendCurrent(turn, groupId, member);

        var converted = (ConsumerGroup)groups.Find(groupId)!;
        foreach (var member in members)
            removal.StartSession(turn, converted, member.MemberId, member.Classic!.SessionTimeoutMs);
        options.Logger.LogInformation("Group {Group}: the classic group is a consumer group now.", groupId);
        return converted;
    }

    /// <summary>Whether a group would have classic members only, and may become a classic group, once some members are
    /// gone.</summary>
    /// <param name="group">The group.</param>
    /// <param name="leaving">Who goes.</param>
    public bool MayDowngrade(ConsumerGroup group, IReadOnlyCollection<ConsumerMember> leaving)
    {
        var remaining = group.Members.Count - leaving.Count;
        return remaining > 0
            && group.ClassicMemberCount - leaving.Count(static m => m.UsesClassicProtocol) == remaining
            && AllowsDowngrade(group, remaining);
    }

    /// <summary>Whether a group may become a classic group when a classic static member takes the place of another
    /// member.</summary>
    /// <param name="group">The group.</param>
    /// <param name="replaced">The member that is replaced.</param>
    public bool MayDowngradeInPlaceOf(ConsumerGroup group, ConsumerMember replaced) =>
        !replaced.UsesClassicProtocol && group.ClassicMemberCount == group.Members.Count - 1
        && AllowsDowngrade(group, group.Members.Count);

    /// <summary>Converts a consumer group of classic members.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="leaving">Members that go with it.</param>
    /// <param name="rebalanceReason">Why the classic group rebalances at once; null when it does not.</param>
    public void Downgrade(
        ICoordinatorTurn turn, ConsumerGroup group, IReadOnlyCollection<ConsumerMember> leaving,
        string? rebalanceReason)
    {
        var converted = ToClassic(group, leaving, turn);
        group.AppendTombstones(turn);
        groups.Put(converted);
        turn.AppendOnly(ClassicGroupRecords.Snapshot(converted));
        classic.Adopt(turn, converted, rebalanceReason);
        options.Logger.LogInformation("Group {Group}: the consumer group is a classic group now.", group.GroupId);
    }

    private static CoordinatorException CannotUpgrade(string groupId, string reason) => new(
        ErrorCode.GroupIdNotFound, $"Cannot upgrade classic group {groupId} to consumer group because {reason}.");

    private static List<ConsumerMember> Members(ClassicGroup group, MetadataImage image)
    {
        try
        {
            return [.. group.Members.Select(member => ToConsumer(group, member, image))];
        }
        catch (ProtocolException)
        {
            throw CannotUpgrade(group.GroupId, "the embedded consumer protocol is malformed");
        }
    }

    private static ConsumerMember ToConsumer(ClassicGroup group, ClassicMember member, MetadataImage image)
    {
        var assignment = EmbeddedProtocol.ReadAssignment(member.Assignment);
        if (assignment.UserData is { Length: > 0 })
        {
            throw new CoordinatorException(
                ErrorCode.GroupIdNotFound,
                $"Cannot upgrade classic group {group.GroupId} to consumer group because an unsupported custom " +
                "assignor is in use. Please refer to the documentation or switch to a default assignor before " +
                "re-attempting the upgrade.");
        }

        // A group that has not chosen a protocol yet is in its first rebalance.
        var metadata = member.MetadataOf(group.ProtocolName);
        var subscription = EmbeddedProtocol.ReadSubscription(
            metadata.Length > 0 ? metadata : member.Protocols[0].Metadata);
        var assigned = EmbeddedProtocol.ToIds(
            assignment.AssignedPartitions.Select(static t => (t.Topic, t.Partitions)), image);
        return new ConsumerMember
        {
            MemberId = member.MemberId,
            InstanceId = member.InstanceId,
            RackId = string.IsNullOrEmpty(subscription.RackId) ? null : subscription.RackId,
            ClientId = member.Client.ClientId,
            ClientHost = member.Client.ClientHost,
            Topics = ConsumerMember.Sorted(subscription.Topics),
            RebalanceTimeoutMs = member.RebalanceTimeoutMs,
            Classic = new ConsumerGroupMemberMetadataValue.ClassicMemberMetadataData
            {
                SessionTimeoutMs = member.SessionTimeoutMs,
                SupportedProtocols =
                [
                    .. member.Protocols.Select(static p =>
                        new ConsumerGroupMemberMetadataValue.ClassicProtocol
                        {
                            Name = p.Name,
                            Metadata = p.Metadata,
                        }),
                ],
            },
            MemberEpoch = group.GenerationId,
            PreviousMemberEpoch = group.GenerationId,
            Assigned = PartitionAssignment
                .Of([.. assigned.Select(static t => new TopicSlice(t.TopicId, [.. t.Partitions.Distinct()], []))])
                .WithEpoch(group.GenerationId),
        };
    }

    private static ClassicGroup ToClassic(
        ConsumerGroup group, IReadOnlyCollection<ConsumerMember> leaving, ICoordinatorTurn turn)
    {
        var remaining = group.Members.Values.Where(m => leaving.All(gone => gone.MemberId != m.MemberId)).ToList();
        var value = new GroupMetadataValue
        {
            ProtocolType = "consumer",
            Generation = group.GroupEpoch,
            Protocol = SelectProtocol(remaining),
            Leader = remaining[0].MemberId,
            CurrentStateTimestamp = turn.NowMs,
        };
        var converted = new ClassicGroup(group.GroupId);
        converted.Restore(value, remaining.Select(member => new ClassicMember
        {
            MemberId = member.MemberId,
            InstanceId = member.InstanceId,
            Client = new GroupClient(member.ClientId, member.ClientHost),
            ProtocolType = "consumer",
            RebalanceTimeoutMs = member.RebalanceTimeoutMs,
            SessionTimeoutMs = member.Classic!.SessionTimeoutMs,
            Protocols =
            [
                .. member.Classic.SupportedProtocols.Select(static p => new ClassicProtocol(p.Name, p.Metadata)),
            ],
            Assignment = EmbeddedProtocol.WriteAssignment(
                group.TargetOf(member.MemberId), member.Classic.SupportedProtocols[0].Metadata, turn.Metadata),
        }));
        return converted;
    }

    // Each member votes for the first it has of the protocols that all of them have.
    private static string SelectProtocol(List<ConsumerMember> members)
    {
        var lists = members.ConvertAll(static m => m.Classic!.SupportedProtocols.ConvertAll(static p => p.Name));
        var common = lists.Aggregate(lists[0].AsEnumerable(), static (some, list) => some.Intersect(list)).ToList();
        return common.Count == 0
            ? lists[0][0]
            : lists.GroupBy(list => list.First(common.Contains)).MaxBy(static votes => votes.Count())!.Key;
    }

    private bool AllowsDowngrade(ConsumerGroup group, int size)
    {
        if (Policy is "downgrade" or "bidirectional" && size <= options.Configs.Broker.GetInt("group.max.size"))
            return true;
        options.Logger.LogInformation(
            "Group {Group}: stays a consumer group; {Size} classic members, migration policy {Policy}.",
            group.GroupId, size, Policy);
        return false;
    }
}
