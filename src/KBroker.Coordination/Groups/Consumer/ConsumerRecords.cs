using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>Writes the records of consumer groups (types 3 to 8 and 16), as Kafka does and in its order.</summary>
internal static class ConsumerRecords
{
    /// <summary>Type 5: what a member told of itself.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="member">The member.</param>
    public static void AppendMember(ICoordinatorTurn turn, string groupId, ConsumerMember member) => turn.Append(new(
        new ConsumerGroupMemberMetadataKey { GroupId = groupId, MemberId = member.MemberId },
        new ConsumerGroupMemberMetadataValue
        {
            InstanceId = member.InstanceId,
            RackId = member.RackId,
            ClientId = member.ClientId,
            ClientHost = member.ClientHost,
            SubscribedTopicNames = [.. member.Topics],
            SubscribedTopicRegex = member.Regex,
            RebalanceTimeoutMs = member.RebalanceTimeoutMs,
            ServerAssignor = member.ServerAssignor,
            ClassicMemberMetadata = member.Classic,
        }));

    /// <summary>Type 3: the group's epoch.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="metadataHash">See <see cref="Subscriptions.MetadataHashes"/>.</param>
    public static void AppendEpoch(ICoordinatorTurn turn, string groupId, int epoch, long metadataHash) =>
        turn.Append(new(
            new ConsumerGroupMetadataKey { GroupId = groupId },
            new ConsumerGroupMetadataValue { Epoch = epoch, MetadataHash = metadataHash }));

    /// <summary>Type 4, deleted: older versions of Kafka wrote it.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    public static void DeletePartitionMetadata(ICoordinatorTurn turn, string groupId) =>
        turn.Append(CoordinatorRecord.Tombstone(new ConsumerGroupPartitionMetadataKey { GroupId = groupId }));

    /// <summary>Type 7: what a member shall own.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="memberId">The member.</param>
    /// <param name="target">The partitions.</param>
    public static void AppendTarget(
        ICoordinatorTurn turn, string groupId, string memberId, PartitionAssignment target)
    {
        var value = new ConsumerGroupTargetAssignmentMemberValue();
        foreach (var topic in target.Topics)
            value.TopicPartitions.Add(new() { TopicId = topic.TopicId, Partitions = [.. topic.Partitions] });
        turn.Append(new(
            new ConsumerGroupTargetAssignmentMemberKey { GroupId = groupId, MemberId = memberId }, value));
    }

    /// <summary>Type 6: the epoch of the target assignment.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="timestampMs">When it was computed.</param>
    public static void AppendTargetEpoch(ICoordinatorTurn turn, string groupId, int epoch, long timestampMs) =>
        turn.Append(new(
            new ConsumerGroupTargetAssignmentMetadataKey { GroupId = groupId },
            new ConsumerGroupTargetAssignmentMetadataValue
            {
                AssignmentEpoch = epoch,
                AssignmentTimestamp = timestampMs,
            }));

    /// <summary>Type 8: where a member stands.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="member">The member.</param>
    public static void AppendCurrent(ICoordinatorTurn turn, string groupId, ConsumerMember member) => turn.Append(new(
        new ConsumerGroupCurrentMemberAssignmentKey { GroupId = groupId, MemberId = member.MemberId },
        new ConsumerGroupCurrentMemberAssignmentValue
        {
            MemberEpoch = member.MemberEpoch,
            PreviousMemberEpoch = member.PreviousMemberEpoch,
            State = (sbyte)member.State,
            AssignedPartitions = Current(member.Assigned),
            PartitionsPendingRevocation = Current(member.PendingRevocation),
        }));

    /// <summary>Type 16: the topics of a regular expression.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="regex">The expression.</param>
    /// <param name="resolved">Its topics.</param>
    public static void AppendRegex(ICoordinatorTurn turn, string groupId, string regex, ResolvedRegex resolved) =>
        turn.Append(new(
            new ConsumerGroupRegularExpressionKey { GroupId = groupId, RegularExpression = regex },
            new ConsumerGroupRegularExpressionValue
            {
                Topics = [.. resolved.Topics],
                Version = resolved.Version,
                Timestamp = resolved.TimestampMs,
            }));

    /// <summary>Type 16, deleted.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="regex">The expression.</param>
    public static void DeleteRegex(ICoordinatorTurn turn, string groupId, string regex) =>
        turn.Append(CoordinatorRecord.Tombstone(
            new ConsumerGroupRegularExpressionKey { GroupId = groupId, RegularExpression = regex }));

    /// <summary>Deletes a member. The order matters: a member is gone only when nothing is assigned to it.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="memberId">The member.</param>
    public static void DeleteMember(ICoordinatorTurn turn, string groupId, string memberId)
    {
        DeleteCurrent(turn, groupId, memberId);
        DeleteTarget(turn, groupId, memberId);
        DeleteMemberMetadata(turn, groupId, memberId);
    }

    /// <summary>Deletes a whole group.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    public static void AppendTombstones(ICoordinatorTurn turn, ConsumerGroup group)
    {
        var groupId = group.GroupId;
        List<string> members = [.. group.Members.Keys];
        foreach (var memberId in members)
            DeleteCurrent(turn, groupId, memberId);
        foreach (var memberId in members.Union(group.Targets.Keys).ToList())
            DeleteTarget(turn, groupId, memberId);
        turn.Append(CoordinatorRecord.Tombstone(new ConsumerGroupTargetAssignmentMetadataKey { GroupId = groupId }));
        foreach (var memberId in members)
            DeleteMemberMetadata(turn, groupId, memberId);
        foreach (var regex in group.Regexes.Keys.ToList())
            DeleteRegex(turn, groupId, regex);
        if (group.HasPartitionMetadataRecord)
            DeletePartitionMetadata(turn, groupId);
        turn.Append(CoordinatorRecord.Tombstone(new ConsumerGroupMetadataKey { GroupId = groupId }));
    }

    private static void DeleteCurrent(ICoordinatorTurn turn, string groupId, string memberId) =>
        turn.Append(CoordinatorRecord.Tombstone(
            new ConsumerGroupCurrentMemberAssignmentKey { GroupId = groupId, MemberId = memberId }));

    private static void DeleteTarget(ICoordinatorTurn turn, string groupId, string memberId) =>
        turn.Append(CoordinatorRecord.Tombstone(
            new ConsumerGroupTargetAssignmentMemberKey { GroupId = groupId, MemberId = memberId }));

    private static void DeleteMemberMetadata(ICoordinatorTurn turn, string groupId, string memberId) =>
        turn.Append(CoordinatorRecord.Tombstone(
            new ConsumerGroupMemberMetadataKey { GroupId = groupId, MemberId = memberId }));

    private static List<ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions> Current(PartitionAssignment from)
    {
        var topics = new List<ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions>(from.Topics.Length);
        foreach (var topic in from.Topics)
        {
            topics.Add(new()
            {
                TopicId = topic.TopicId,
                Partitions = [.. topic.Partitions],
                AssignmentEpochs = [.. topic.Epochs],
            });
        }

        return topics;
    }
}
