using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Consumer.Assignors;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>Makes the target assignment of a group when its epoch has moved on.</summary>
/// <param name="assignors">The assignors.</param>
/// <param name="logger">Where new assignments are told.</param>
internal sealed class TargetAssignments(AssignorSet assignors, ILogger logger)
{
    /// <summary>The assignors.</summary>
    public AssignorSet Assignors { get; } = assignors;

    /// <summary>
    /// Computes a new target assignment, if the group's epoch is ahead of the last one's and that is not too recent:
    /// members that join one after the other should not each move everybody's partitions.
    /// </summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="intervalMs"><c>consumer.assignment.interval.ms</c>.</param>
    public void Update(ICoordinatorTurn turn, ConsumerGroup group, int intervalMs)
    {
        if (group.GroupEpoch <= group.AssignmentEpoch
            || !MayCompute(group.AssignmentTimestampMs, intervalMs, turn.NowMs))
        {
            return;
        }


        var assignor = Assignors.Preferred(group.Members.Values.Select(static m => m.ServerAssignor));
        var members = Members(group, turn.Metadata);
        var targets = members.Count == 0 ? [] : assignor.Assign(members);
        for (var i = 0; i < members.Count; i++)
        {
            var memberId = members[i].MemberId;
            if (!group.Targets.TryGetValue(memberId, out var known) || !known.Equals(targets[i]))
                ConsumerRecords.AppendTarget(turn, group.GroupId, memberId, targets[i]);
        }

        ConsumerRecords.AppendTargetEpoch(turn, group.GroupId, group.GroupEpoch, turn.NowMs);
        logger.LogDebug(
            "Group {Group}: target assignment of epoch {Epoch} for {Members} members by {Assignor}.",
            group.GroupId, group.GroupEpoch, members.Count, assignor.Name);
    }

    private static bool MayCompute(long lastMs, int intervalMs, long nowMs) =>
        lastMs == 0 || intervalMs == 0 || nowMs >= lastMs + intervalMs;

    private static List<AssignmentMember> Members(ConsumerGroup group, MetadataImage image)
    {
        var bySubscription = new Dictionary<(string[] Topics, string? Regex), AssignableTopic[]>();
        var distinct = new List<AssignableTopic[]>();
        var members = new List<AssignmentMember>(group.Members.Count);
        foreach (var member in group.Members.Values)
        {
            var subscription = (member.Topics, member.HasRegex ? member.Regex : null);
            if (!bySubscription.TryGetValue(subscription, out var topics))
            {
                topics = Existing(group.TopicsOf(member), image);
                if (distinct.Find(known => known.AsSpan().SequenceEqual(topics)) is { } same)
                    topics = same;
                else
                    distinct.Add(topics);
                bySubscription.Add(subscription, topics);
            }

            members.Add(new AssignmentMember(
                member.MemberId, member.InstanceId, topics, group.TargetOf(member.MemberId)));
        }

        return members;
    }

    private static AssignableTopic[] Existing(IEnumerable<string> names, MetadataImage image)
    {
        var topics = new List<AssignableTopic>();
        foreach (var name in names)
        {
            if (image.Topics.Find(name) is { } topic)
                topics.Add(new AssignableTopic(topic.Id, topic.Partitions.Length));
        }

        topics.Sort(static (a, b) => a.Id.CompareTo(b.Id));
        return [.. topics];
    }
}
