namespace KBroker.Storm.History;

/// <summary>All events of a group, of members in any thread and process, and who owns what now.</summary>
internal sealed class GroupHistory
{
    private readonly Lock _lock = new();
    private readonly List<GroupEvent> _events = [];
    private readonly Dictionary<string, HashSet<(string, int)>> _owned = [];

    /// <summary>The events so far, in the order they arrived.</summary>
    public IReadOnlyList<GroupEvent> Events
    {
        get
        {
            lock (_lock)
                return [.. _events];
        }
    }

    /// <summary>What each member that owns something owns.</summary>
    public Dictionary<string, HashSet<(string Topic, int Partition)>> Owned
    {
        get
        {
            lock (_lock)
                return _owned.Where(static o => o.Value.Count > 0).ToDictionary(static o => o.Key, static o => o.Value.ToHashSet());
        }
    }

    /// <summary>Adds an event.</summary>
    public void Add(GroupEvent happened)
    {
        lock (_lock)
        {
            _events.Add(happened);
            if (!_owned.TryGetValue(happened.Member, out var owned))
                _owned[happened.Member] = owned = [];
            foreach (var span in happened.Spans)
            {
                if (happened.Kind is EventKind.Assigned)
                    owned.Add((span.Topic, span.Partition));
                else if (happened.Kind is EventKind.Revoked or EventKind.Lost)
                    owned.Remove((span.Topic, span.Partition));
            }

            if (happened.Kind is EventKind.Left or EventKind.Killed or EventKind.Failed)
                _owned.Remove(happened.Member);
        }
    }

    /// <summary>Whether the partitions of a topic are owned, each by one member.</summary>
    /// <param name="topic">The topic.</param>
    /// <param name="partitions">How many it has.</param>
    /// <param name="members">How many members own something; any number when null.</param>
    public bool IsShared(string topic, int partitions, int? members = null)
    {
        var owned = Owned;
        var all = owned.Values.SelectMany(static o => o).Where(o => o.Topic == topic).ToList();
        return all.Count == partitions && all.Distinct().Count() == partitions
            && (members is null || owned.Count == members);
    }

    /// <summary>How many different offsets of a topic were worked on.</summary>
    public long CountProcessed(string topic) =>
        Coverage.Of(Events).Where(c => c.Key.Topic == topic).Sum(static c => c.Value.Count);
}
