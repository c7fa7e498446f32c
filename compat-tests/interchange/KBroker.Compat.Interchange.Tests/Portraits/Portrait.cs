namespace KBroker.Compat.Interchange.Tests.Portraits;

/// <summary>
/// Everything a client can see of a broker, as facts: <c>section / what</c> and its value as text. A section that a
/// broker does not serve is absent, so that two portraits are compared in what both have.
/// </summary>
internal sealed class Portrait
{
    private readonly SortedDictionary<string, SortedDictionary<string, string>> _sections =
        new(StringComparer.Ordinal);

    public IEnumerable<string> Sections => _sections.Keys;

    public int Count => _sections.Values.Sum(s => s.Count);

    /// <summary>The facts of a section; empty when there is no such section.</summary>
    public IReadOnlyDictionary<string, string> Of(string section) =>
        _sections.TryGetValue(section, out var facts) ? facts : new SortedDictionary<string, string>();

    /// <summary>Begins a section, which may stay empty.</summary>
    public void Begin(string section) => _sections.TryAdd(section, new(StringComparer.Ordinal));

    public void Add(string section, string what, object? value)
    {
        Begin(section);
        Assert.True(_sections[section].TryAdd(what, value?.ToString() ?? "(null)"), $"{section} / {what} twice");
    }

    /// <summary>A portrait with the sections of this one, and those of an older one that this one lacks.</summary>
    public Portrait Over(Portrait older)
    {
        var both = new Portrait();
        foreach (var (name, facts) in older._sections.Where(s => !_sections.ContainsKey(s.Key)).Concat(_sections))
            both._sections[name] = facts;
        return both;
    }

    /// <summary>What is not the same in a later portrait, a line each.</summary>
    public List<string> Differences(Portrait later)
    {
        var differences = new List<string>();
        foreach (var section in _sections.Keys.Where(later._sections.ContainsKey))
        {
            var (before, after) = (_sections[section], later._sections[section]);
            foreach (var what in before.Keys.Union(after.Keys).Order(StringComparer.Ordinal))
            {
                var (old, now) = (before.GetValueOrDefault(what), after.GetValueOrDefault(what));
                if (!Same(section, old, now))
                    differences.Add($"{section} / {what}\n    was {old ?? "(absent)"}\n    is  {now ?? "(absent)"}");
            }
        }

        return differences;
    }

    /// <summary>Fails with the first differences, if there are any.</summary>
    public void AssertSame(Portrait later, string when)
    {
        var differences = Differences(later);
        Assert.True(differences.Count == 0, $"{when}: {differences.Count} differences in {Count} facts\n"
            + string.Join('\n', differences.Take(40)));
    }

    // Each start of either broker may raise leader epochs; they never fall.
    private static bool Same(string section, string? old, string? now) => section == Section.LeaderEpochs
        ? old is not null && now is not null && int.Parse(now) >= int.Parse(old)
        : old == now;
}

/// <summary>The names of the sections.</summary>
internal static class Section
{
    public const string Cluster = "cluster";
    public const string Topics = "topics";
    public const string LeaderEpochs = "leader epochs";
    public const string Records = "records";
    public const string Committed = "read committed";
    public const string Offsets = "offsets";
    public const string Epochs = "ends of epochs";
    public const string Producers = "producers";
    public const string Sizes = "log sizes";
    public const string TopicConfigs = "topic configs";
    public const string BrokerConfigs = "broker configs";
    public const string OtherConfigs = "group and client metrics configs";
    public const string Groups = "groups";
    public const string GroupOffsets = "group offsets";
    public const string Transactions = "transactions";
    public const string Quotas = "quotas";
    public const string Scram = "scram";
    public const string Acls = "acls";
}
