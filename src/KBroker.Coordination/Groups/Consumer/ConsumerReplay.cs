using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>
/// Applies the records of consumer groups: the only place where their state changes. A record finds its group, or makes
/// it; a tombstone of what is not there is passed over, since compaction may leave a tombstone alone.
/// </summary>
/// <param name="groups">The groups of the shard.</param>
internal sealed class ConsumerReplay(GroupMap groups)
{
    /// <summary>Applies a record; kinds of other groups (share, streams) are left alone.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="value">Its value; null for a tombstone.</param>
    public void Apply(IRecordMessage key, IRecordMessage? value)
    {
        switch (key)
        {
            case ConsumerGroupMetadataKey group:
                ApplyEpoch(group, (ConsumerGroupMetadataValue?)value);
                break;
            case ConsumerGroupPartitionMetadataKey metadata:
                if (Find(metadata.GroupId, value is not null) is { } known)
                    known.HasPartitionMetadataRecord = value is not null;
                break;
            case ConsumerGroupMemberMetadataKey member:
                ApplyMember(member, (ConsumerGroupMemberMetadataValue?)value);
                break;
            case ConsumerGroupTargetAssignmentMetadataKey target:
                ApplyTargetEpoch(target, (ConsumerGroupTargetAssignmentMetadataValue?)value);
                break;
            case ConsumerGroupTargetAssignmentMemberKey target:
                Find(target.GroupId, value is not null)?.SetTarget(
                    target.MemberId, Target((ConsumerGroupTargetAssignmentMemberValue?)value));
                break;
            case ConsumerGroupCurrentMemberAssignmentKey current:
                ApplyCurrent(current, (ConsumerGroupCurrentMemberAssignmentValue?)value);
                break;
            case ConsumerGroupRegularExpressionKey regex:
                Find(regex.GroupId, value is not null)?.SetRegex(
                    regex.RegularExpression, Resolved((ConsumerGroupRegularExpressionValue?)value));
                break;
            default:
                break;
        }
    }

    private static PartitionAssignment? Target(ConsumerGroupTargetAssignmentMemberValue? value)
    {
        if (value is null)
            return null;
        var topics = new List<TopicSlice>(value.TopicPartitions.Count);
        foreach (var topic in value.TopicPartitions)
            topics.Add(new TopicSlice(topic.TopicId, [.. topic.Partitions], []));
        return PartitionAssignment.Of(topics);
    }

    private static ResolvedRegex? Resolved(ConsumerGroupRegularExpressionValue? value) =>
        value is null ? null : new ResolvedRegex(ConsumerMember.Sorted(value.Topics), value.Version, value.Timestamp);

    // Kafka before 4.3 wrote no epochs: then the partitions count as assigned with the member's own.
    private static PartitionAssignment Current(
        List<ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions> from, int memberEpoch)
    {
        if (from.Count == 0)
            return PartitionAssignment.Empty;
        var topics = new List<TopicSlice>(from.Count);
        foreach (var topic in from)
        {
            var epochs = topic.AssignmentEpochs is { } known && known.Count == topic.Partitions.Count
                ? known.ToArray()
                : Enumerable.Repeat(memberEpoch, topic.Partitions.Count).ToArray();
            topics.Add(new TopicSlice(topic.TopicId, [.. topic.Partitions], epochs));
        }

        return PartitionAssignment.Of(topics);
    }

    private ConsumerGroup? Find(string groupId, bool create)
    {
        if (groups.Find(groupId) is ConsumerGroup group)
            return group;
        if (!create)
            return null;

        // Any other group in its place is a simple one: it only holds offsets, and has no record of its own.
        group = new ConsumerGroup(groupId);
        groups.Put(group);
        return group;
    }

    private void ApplyEpoch(ConsumerGroupMetadataKey key, ConsumerGroupMetadataValue? value)
    {
        if (Find(key.GroupId, value is not null) is not { } group)
            return;
        if (value is null)
        {
            groups.Remove(group);
            return;
        }

        group.GroupEpoch = value.Epoch;
        group.MetadataHash = value.MetadataHash;
    }

    private void ApplyTargetEpoch(
        ConsumerGroupTargetAssignmentMetadataKey key, ConsumerGroupTargetAssignmentMetadataValue? value)
    {
        if (Find(key.GroupId, value is not null) is not { } group)
            return;
        group.AssignmentEpoch = value?.AssignmentEpoch ?? -1;
        group.AssignmentTimestampMs = value?.AssignmentTimestamp ?? 0;
    }

    private void ApplyMember(ConsumerGroupMemberMetadataKey key, ConsumerGroupMemberMetadataValue? value)
    {
        if (Find(key.GroupId, value is not null) is not { } group)
            return;
        if (value is null)
        {
            group.Remove(key.MemberId);
            return;
        }

        var known = group.Members.GetValueOrDefault(key.MemberId)
            ?? new ConsumerMember { MemberId = key.MemberId };
        group.Put(known with
        {
            InstanceId = value.InstanceId,
            RackId = value.RackId,
            ClientId = value.ClientId,
            ClientHost = value.ClientHost,
            Topics = ConsumerMember.Sorted(value.SubscribedTopicNames),
            Regex = value.SubscribedTopicRegex,
            RebalanceTimeoutMs = value.RebalanceTimeoutMs,
            ServerAssignor = value.ServerAssignor,
            Classic = value.ClassicMemberMetadata,
        });
    }

    private void ApplyCurrent(
        ConsumerGroupCurrentMemberAssignmentKey key, ConsumerGroupCurrentMemberAssignmentValue? value)
    {
        if (Find(key.GroupId, value is not null) is not { } group)
            return;
        var known = group.Members.GetValueOrDefault(key.MemberId);
        if (value is not null)
        {
            group.Put((known ?? new ConsumerMember { MemberId = key.MemberId }) with
            {
                MemberEpoch = value.MemberEpoch,
                PreviousMemberEpoch = value.PreviousMemberEpoch,
                State = Enum.IsDefined((MemberState)value.State) ? (MemberState)value.State : MemberState.Unknown,
                Assigned = Current(value.AssignedPartitions, value.MemberEpoch),
                PendingRevocation = Current(value.PartitionsPendingRevocation, value.MemberEpoch),
            });
        }
        else if (known is not null)
        {
            group.Put(known with
            {
                MemberEpoch = ConsumerMember.LeaveEpoch,
                PreviousMemberEpoch = ConsumerMember.LeaveEpoch,
                State = MemberState.Stable,
                Assigned = PartitionAssignment.Empty,
                PendingRevocation = PartitionAssignment.Empty,
            });
        }
    }
}
