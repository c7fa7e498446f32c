using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Protocol;

namespace KBroker.Coordination.Groups.Consumer.Assignors;

/// <summary>
/// Gives each member one range of every topic. Topics with the same partition count and the same subscribers are cut at
/// the same places, so that what has the same key lies with the same member (co-partitioning).
/// </summary>
/// <remarks>
/// Static members stand first, by instance id, then the others by member id: a static member keeps its place, and so
/// its ranges, when it comes back with another member id. For example 5 partitions and members A, B: A gets 0 to 2, B
/// gets 3 and 4, in every topic.
/// </remarks>
internal sealed class RangeAssignor : IPartitionAssignor
{
    /// <inheritdoc/>
    public string Name => "range";

    /// <inheritdoc/>
    public PartitionAssignment[] Assign(IReadOnlyList<AssignmentMember> members)
    {
        var order = Enumerable.Range(0, members.Count).ToArray();
        Array.Sort(order, (a, b) => Compare(members[a], members[b]));

        var topics = new Dictionary<Uuid, (int PartitionCount, List<int> Subscribers)>();
        foreach (var member in order)
        {
            foreach (var topic in members[member].Topics)
            {
                if (!topics.TryGetValue(topic.Id, out var known))
                    topics.Add(topic.Id, known = (topic.PartitionCount, []));
                known.Subscribers.Add(member);
            }
        }

        var slices = new List<TopicSlice>[members.Count];
        for (var i = 0; i < slices.Length; i++)
            slices[i] = [];
        foreach (var (id, (partitionCount, subscribers)) in topics)
        {
            var (each, extra) = Math.DivRem(partitionCount, subscribers.Count);
            var next = 0;
            for (var i = 0; i < subscribers.Count && next < partitionCount; i++)
            {
                var count = each + (i < extra ? 1 : 0);
                slices[subscribers[i]].Add(new TopicSlice(id, [.. Enumerable.Range(next, count)], []));
                next += count;
            }
        }

        return Array.ConvertAll(slices, PartitionAssignment.Of);
    }

    private static int Compare(AssignmentMember a, AssignmentMember b) => (a.InstanceId, b.InstanceId) switch
    {
        ({ } left, { } right) => string.CompareOrdinal(left, right),
        (not null, null) => -1,
        (null, not null) => 1,
        _ => string.CompareOrdinal(a.MemberId, b.MemberId),
    };
}
