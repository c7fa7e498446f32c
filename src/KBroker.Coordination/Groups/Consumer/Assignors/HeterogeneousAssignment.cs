using KBroker.Coordination.Groups.Consumer.State;

namespace KBroker.Coordination.Groups.Consumer.Assignors;

/// <summary>
/// The uniform assignment of a group whose members want different topics. First everybody keeps what he had; then
/// partitions without owner go to the subscriber that has least, topics with few subscribers first; then partitions
/// move from a member to another subscriber of the topic that has at least two less, until there is none. Each such
/// move makes the loads more equal (the sum of their squares falls), so it ends; afterwards no single move of a
/// partition would make the group more even.
/// </summary>
internal sealed class HeterogeneousAssignment
{
    private readonly IReadOnlyList<AssignmentMember> _members;
    private readonly PartitionTable _table;
    private readonly List<int>[] _subscribers;
    private readonly int[] _loads;

    /// <summary>Prepares it.</summary>
    /// <param name="members">The members.</param>
    public HeterogeneousAssignment(IReadOnlyList<AssignmentMember> members)
    {
        _members = members;
        _loads = new int[members.Count];
        var topics = members.Select(static m => m.Topics).Distinct().SelectMany(static t => t).Distinct().ToArray();
        Array.Sort(topics, static (a, b) => a.Id.CompareTo(b.Id));
        _table = new PartitionTable(topics);
        _subscribers = new List<int>[topics.Length];
        for (var i = 0; i < topics.Length; i++)
            _subscribers[i] = [];
        var order = Enumerable.Range(0, members.Count).ToArray();
        Array.Sort(order, (a, b) => string.CompareOrdinal(members[a].MemberId, members[b].MemberId));
        foreach (var member in order)
        {
            foreach (var topic in members[member].Topics)
                _subscribers[_table.IndexOf(topic)].Add(member);
        }
    }

    /// <summary>Computes the assignment.</summary>
    /// <returns>The partitions of each member.</returns>
    public PartitionAssignment[] Compute()
    {
        Keep();
        var topics = Enumerable.Range(0, _table.Topics.Length)
            .OrderBy(topic => _subscribers[topic].Count)
            .ToArray();
        foreach (var topic in topics)
            HandOut(topic);
        bool moved;
        do
        {
            moved = false;
            foreach (var topic in topics)
                moved |= Level(topic);
        }
        while (moved);
        return _table.ToAssignments(_members.Count);
    }

    private void Keep()
    {
        for (var member = 0; member < _members.Count; member++)
        {
            foreach (var place in _table.CurrentPlaces(_members[member]))
            {
                if (_table.Owner(place) != PartitionTable.Nobody)
                    continue;
                _table.Owner(place) = member;
                _loads[member]++;
            }
        }
    }

    private void HandOut(int topic)
    {
        PriorityQueue<int, (int Load, int Order)>? least = null;
        for (var place = _table.StartOf(topic); place < _table.StartOf(topic + 1); place++)
        {
            if (_table.Owner(place) != PartitionTable.Nobody)
                continue;
            least ??= ByLoad(topic);
            var member = least.Dequeue();
            _table.Owner(place) = member;
            _loads[member]++;
            least.Enqueue(member, (_loads[member], member));
        }
    }

    private PriorityQueue<int, (int Load, int Order)> ByLoad(int topic)
    {
        var queue = new PriorityQueue<int, (int Load, int Order)>(_subscribers[topic].Count);
        foreach (var member in _subscribers[topic])
            queue.Enqueue(member, (_loads[member], member));
        return queue;
    }

    private bool Level(int topic)
    {
        if (_subscribers[topic].Count < 2)
            return false;
        var owned = new Dictionary<int, Stack<int>>();
        for (var place = _table.StartOf(topic); place < _table.StartOf(topic + 1); place++)
        {
            var owner = _table.Owner(place);
            if (!owned.TryGetValue(owner, out var places))
                owned.Add(owner, places = new Stack<int>());
            places.Push(place);
        }

        var takers = new SortedSet<(int Load, int Member)>(_subscribers[topic].Select(m => (_loads[m], m)));
        var givers = new SortedSet<(int Load, int Member)>(owned.Keys.Select(m => (_loads[m], m)));
        var moved = false;
        while (givers.Count > 0 && givers.Max.Load - takers.Min.Load >= 2)
        {
            var (from, to) = (givers.Max.Member, takers.Min.Member);
            takers.Remove((_loads[from], from));
            takers.Remove((_loads[to], to));
            givers.Remove((_loads[from], from));
            givers.Remove((_loads[to], to));

            var place = owned[from].Pop();
            if (!owned.TryGetValue(to, out var places))
                owned.Add(to, places = new Stack<int>());
            places.Push(place);
            _table.Owner(place) = to;
            _loads[from]--;
            _loads[to]++;

            takers.Add((_loads[from], from));
            takers.Add((_loads[to], to));
            givers.Add((_loads[to], to));
            if (owned[from].Count > 0)
                givers.Add((_loads[from], from));
            moved = true;
        }

        return moved;
    }
}
