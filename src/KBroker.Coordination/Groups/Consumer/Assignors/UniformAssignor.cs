using KBroker.Coordination.Groups.Consumer.State;

namespace KBroker.Coordination.Groups.Consumer.Assignors;

/// <summary>
/// Gives members as equal a number of partitions as their subscriptions allow, and leaves partitions where they were as
/// far as that allows. Racks are not looked at, as in Apache Kafka 4.
/// </summary>
/// <remarks>
/// When all members want the same topics, their numbers differ by one at most, and not a partition more than necessary
/// changes hands. Otherwise see <see cref="HeterogeneousAssignment"/>.
/// </remarks>
internal sealed class UniformAssignor : IPartitionAssignor
{
    /// <inheritdoc/>
    public string Name => "uniform";

    /// <inheritdoc/>
    public PartitionAssignment[] Assign(IReadOnlyList<AssignmentMember> members) =>
        members.All(member => ReferenceEquals(member.Topics, members[0].Topics))
            ? AssignEvenly(members)
            : new HeterogeneousAssignment(members).Compute();

    private static PartitionAssignment[] AssignEvenly(IReadOnlyList<AssignmentMember> members)
    {
        var table = new PartitionTable(members[0].Topics);
        var (quota, larger) = Math.DivRem(table.Count, members.Count);
        var order = Enumerable.Range(0, members.Count).ToArray();
        Array.Sort(order, (a, b) => string.CompareOrdinal(members[a].MemberId, members[b].MemberId));

        // Who has more than the quota may keep one more, as long as there are larger shares.
        var missing = new int[members.Count];
        foreach (var member in order)
        {
            var kept = 0;
            foreach (var place in table.CurrentPlaces(members[member]))
            {
                if (kept > quota || (kept == quota && larger == 0) || table.Owner(place) != PartitionTable.Nobody)
                    continue;
                table.Owner(place) = member;
                if (kept++ == quota)
                    larger--;
            }

            missing[member] = quota - kept;
        }

        foreach (var member in order)
        {
            if (larger > 0 && missing[member] >= 0)
            {
                missing[member]++;
                larger--;
            }
        }

        HandOut(table, order, missing);
        return table.ToAssignments(members.Count);
    }

    // Round and round, so that a topic's partitions go to many members.
    private static void HandOut(PartitionTable table, int[] order, int[] missing)
    {
        var waiting = new Queue<int>(order.Where(member => missing[member] > 0));
        for (var place = 0; place < table.Count; place++)
        {
            if (table.Owner(place) != PartitionTable.Nobody)
                continue;
            var member = waiting.Dequeue();
            table.Owner(place) = member;
            if (--missing[member] > 0)
                waiting.Enqueue(member);
        }
    }
}
