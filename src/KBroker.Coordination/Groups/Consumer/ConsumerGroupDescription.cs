using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Consumer.Assignors;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Protocol;
using Described = KBroker.Protocol.Messages.ConsumerGroupDescribeResponse;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>Answers ConsumerGroupDescribe.</summary>
/// <param name="groups">The groups of the shard.</param>
/// <param name="assignors">The assignors.</param>
internal sealed class ConsumerGroupDescription(GroupMap groups, AssignorSet assignors)
{
    /// <summary>Describes a group.</summary>
    /// <param name="groupId">Its id.</param>
    /// <param name="image">The metadata: topics that are gone are left out.</param>
    public Described.DescribedGroup Describe(string groupId, MetadataImage image)
    {
        var known = groups.Find(groupId);
        if (known is not ConsumerGroup group)
        {
            return new Described.DescribedGroup
            {
                GroupId = groupId,
                ErrorCode = ErrorCode.GroupIdNotFound,
                ErrorMessage = known is null
                    ? $"Group {groupId} not found." : $"Group {groupId} is not a consumer group.",
            };
        }

        var described = new Described.DescribedGroup
        {
            GroupId = groupId,
            GroupState = group.StateName,
            GroupEpoch = group.GroupEpoch,
            AssignmentEpoch = group.AssignmentEpoch,
            AssignorName = assignors.Preferred(group.Members.Values.Select(static m => m.ServerAssignor)).Name,
        };
        // Kafka's order is that of its hash table. A fixed one is easier to read; its tests expect this one.
        foreach (var member in group.Members.Values.OrderByDescending(static m => m.MemberId, StringComparer.Ordinal))
            described.Members.Add(Describe(group, member, image));
        return described;
    }

    private static Described.Member Describe(ConsumerGroup group, ConsumerMember member, MetadataImage image)
    {
        var assigned = new Described.Assignment();
        Add(assigned, member.Assigned, image);
        Add(assigned, member.PendingRevocation, image);
        var target = new Described.Assignment();
        Add(target, group.TargetOf(member.MemberId), image);
        return new Described.Member
        {
            MemberId = member.MemberId,
            InstanceId = member.InstanceId,
            RackId = member.RackId,
            MemberEpoch = member.MemberEpoch,
            ClientId = member.ClientId,
            ClientHost = member.ClientHost,
            SubscribedTopicNames = [.. member.Topics],
            SubscribedTopicRegex = member.Regex,
            Assignment = assigned,
            TargetAssignment = target,
            MemberType = member.UsesClassicProtocol ? (sbyte)0 : (sbyte)1,
        };
    }

    private static void Add(Described.Assignment to, PartitionAssignment partitions, MetadataImage image)
    {
        foreach (var topic in partitions.Topics)
        {
            if (image.Topics.Find(topic.TopicId) is not { } known)
                continue;
            var entry = to.TopicPartitions.Find(t => t.TopicId == topic.TopicId);
            if (entry is null)
            {
                entry = new Described.TopicPartitions { TopicId = topic.TopicId, TopicName = known.Name };
                to.TopicPartitions.Add(entry);
            }

            entry.Partitions.AddRange(topic.Partitions);
        }
    }
}
