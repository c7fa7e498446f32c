namespace KBroker.Coordination.Groups.Consumer.Assignors;

/// <summary>The assignors of <c>group.consumer.assignors</c>, in its order: the first is the default.</summary>
internal sealed class AssignorSet
{
    private readonly List<IPartitionAssignor> _assignors = [];

    /// <summary>Finds the assignors that are named.</summary>
    /// <param name="names">Names (<c>uniform</c>, <c>range</c>) or, as Kafka takes them, the names of Kafka's
    /// classes.</param>
    /// <exception cref="ArgumentException">There is no such assignor, or none was named.</exception>
    public AssignorSet(IReadOnlyList<string> names)
    {
        foreach (var name in names)
        {
            IPartitionAssignor assignor = name switch
            {
                "uniform" or "org.apache.kafka.coordinator.group.assignor.UniformAssignor" => new UniformAssignor(),
                "range" or "org.apache.kafka.coordinator.group.assignor.RangeAssignor" => new RangeAssignor(),
                _ => throw new ArgumentException($"group.consumer.assignors: there is no assignor '{name}'."),
            };
            if (Find(assignor.Name) is null)
                _assignors.Add(assignor);
        }

        if (_assignors.Count == 0)
            throw new ArgumentException("group.consumer.assignors must name an assignor.");
    }

    /// <summary>Their names.</summary>
    public IEnumerable<string> Names => _assignors.Select(static a => a.Name);

    /// <summary>The one that groups get that wish for none.</summary>
    public IPartitionAssignor Default => _assignors[0];

    /// <summary>Finds an assignor.</summary>
    /// <param name="name">Its name.</param>
    /// <returns>The assignor, or null.</returns>
    public IPartitionAssignor? Find(string name) => _assignors.Find(a => a.Name == name);

    /// <summary>The assignor that most members of a group wish for.</summary>
    /// <param name="wishes">The members' wishes; null for none.</param>
    public IPartitionAssignor Preferred(IEnumerable<string?> wishes)
    {
        var votes = new int[_assignors.Count];
        foreach (var wish in wishes)
        {
            var index = _assignors.FindIndex(a => a.Name == wish);
            if (index >= 0)
                votes[index]++;
        }

        return _assignors[Array.IndexOf(votes, votes.Max())];
    }
}
