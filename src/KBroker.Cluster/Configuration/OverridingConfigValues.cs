namespace KBroker.Cluster.Configuration;

/// <summary>
/// The configs of something that overrides its broker's: a topic, a group or a client metrics subscription. What is
/// not set on it comes from the broker configs that its definitions name, else from the default.
/// </summary>
public abstract class OverridingConfigValues : ConfigValues
{
    private readonly BrokerConfigValues _broker;
    private readonly ConfigSource _source;

    private protected OverridingConfigValues(
        ConfigScope scope,
        ConfigSource source,
        BrokerConfigValues broker,
        IReadOnlyDictionary<string, string> overrides)
        : base(broker.Catalog, scope)
    {
        _broker = broker;
        _source = source;
        Overrides = overrides;
    }

    /// <summary>What is set on the resource itself.</summary>
    public IReadOnlyDictionary<string, string> Overrides { get; }

    /// <summary>The configs of the broker behind it.</summary>
    public BrokerConfigValues Broker => _broker;

    /// <inheritdoc/>
    public override ConfigEntry? Describe(string name)
    {
        if (!Catalog.TryGet(Scope, name, out var definition))
        {
            return null;
        }

        var value = Show(definition);
        var synonyms = new List<ConfigEntrySynonym>();
        if (Overrides.ContainsKey(name))
        {
            synonyms.Add(new ConfigEntrySynonym(name, value, _source));
        }

        if (definition.Synonyms.Count > 0)
        {
            synonyms.AddRange(_broker.SynonymsOf(definition.Synonyms, definition.IsSensitive));
        }
        else if (Scope == ConfigScope.Group && definition.DefaultValue is { } inherited)
        {
            synonyms.Add(new ConfigEntrySynonym(name, inherited, ConfigSource.DefaultConfig));
        }

        return new ConfigEntry(
            name,
            value,
            synonyms.Count == 0 ? ConfigSource.DefaultConfig : synonyms[0].Source,
            definition.Type,
            IsReadOnly: false,
            definition.IsSensitive,
            synonyms,
            definition.Documentation);
    }

    /// <inheritdoc/>
    public override IEnumerable<ConfigEntry> DescribeAll() => Catalog.All(Scope).Values
        .Where(definition => !definition.IsInternal || Overrides.ContainsKey(definition.Name))
        .Select(definition => definition.Name)
        .Order(StringComparer.Ordinal)
        .Select(Describe)
        .OfType<ConfigEntry>();

    private protected override (string? Value, long Factor) Resolve(ConfigDefinition definition)
    {
        if (Overrides.TryGetValue(definition.Name, out var value))
        {
            return (value, 1);
        }

        var inherited = _broker.Find(definition.Synonyms);
        return inherited.Value is null ? (definition.DefaultValue, 1) : inherited;
    }
}

/// <summary>The effective configs of a topic.</summary>
public sealed class TopicConfigValues : OverridingConfigValues
{
    /// <summary>Creates a topic's configs from the broker's and what is set on the topic.</summary>
    public TopicConfigValues(BrokerConfigValues broker, IReadOnlyDictionary<string, string> overrides)
        : base(ConfigScope.Topic, ConfigSource.TopicConfig, broker, overrides)
    {
    }
}

/// <summary>The effective configs of a group.</summary>
public sealed class GroupConfigValues : OverridingConfigValues
{
    /// <summary>Creates a group's configs from the broker's and what is set on the group.</summary>
    public GroupConfigValues(BrokerConfigValues broker, IReadOnlyDictionary<string, string> overrides)
        : base(ConfigScope.Group, ConfigSource.GroupConfig, broker, overrides)
    {
    }
}

/// <summary>The configs of a client metrics subscription (KIP-714).</summary>
public sealed class ClientMetricsConfigValues : OverridingConfigValues
{
    /// <summary>Creates a subscription's configs from what is set on it.</summary>
    public ClientMetricsConfigValues(BrokerConfigValues broker, IReadOnlyDictionary<string, string> overrides)
        : base(ConfigScope.ClientMetrics, ConfigSource.ClientMetricsConfig, broker, overrides)
    {
    }
}
