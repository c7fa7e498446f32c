namespace KBroker.Cluster.Configuration;

/// <summary>
/// The configs of a broker. A value is looked for at run-time values of this broker, run-time defaults of all brokers,
/// server.properties and the command line, and the defaults, in this order; within one place a config's own name comes
/// before the names that may stand in for it (<c>log.retention.ms</c> before <c>log.retention.hours</c>).
/// </summary>
public sealed class BrokerConfigValues : ConfigValues
{
    private static readonly Dictionary<string, string> Nothing = [];

    private readonly IReadOnlyDictionary<string, string> _static;
    private readonly IReadOnlyDictionary<string, string> _dynamicDefault;
    private readonly IReadOnlyDictionary<string, string> _dynamicBroker;

    /// <summary>Creates a broker's configs from what is set in each place.</summary>
    /// <param name="catalog">The known configs.</param>
    /// <param name="staticValues">Values from server.properties and the command line.</param>
    /// <param name="dynamicDefault">Run-time defaults of all brokers, from the metadata.</param>
    /// <param name="dynamicBroker">Run-time values of this broker, from the metadata.</param>
    public BrokerConfigValues(
        ConfigCatalog catalog,
        IReadOnlyDictionary<string, string> staticValues,
        IReadOnlyDictionary<string, string>? dynamicDefault = null,
        IReadOnlyDictionary<string, string>? dynamicBroker = null)
        : base(catalog, ConfigScope.Broker)
    {
        _static = staticValues;
        _dynamicDefault = dynamicDefault ?? Nothing;
        _dynamicBroker = dynamicBroker ?? Nothing;
    }

    /// <summary>What server.properties and the command line set.</summary>
    public IReadOnlyDictionary<string, string> StaticValues => _static;

    /// <summary>What is set at run time for this broker.</summary>
    public IReadOnlyDictionary<string, string> DynamicBroker => _dynamicBroker;

    /// <summary>What is set at run time for all brokers.</summary>
    public IReadOnlyDictionary<string, string> DynamicDefault => _dynamicDefault;

    /// <summary>The same broker with other run-time values.</summary>
    public BrokerConfigValues WithDynamic(
        IReadOnlyDictionary<string, string> dynamicDefault,
        IReadOnlyDictionary<string, string> dynamicBroker) => new(Catalog, _static, dynamicDefault, dynamicBroker);

    /// <inheritdoc/>
    public override ConfigEntry? Describe(string name)
    {
        if (!Catalog.TryGetBroker(name, out var definition))
        {
            return DescribeUnknown(name);
        }

        if (name != definition.Name)
        {
            return DescribeListenerConfig(name, definition);
        }

        if (definition.IsDynamicOnly && !_dynamicBroker.ContainsKey(name) && !_dynamicDefault.ContainsKey(name))
        {
            return null;
        }

        var synonyms = SynonymsOf([new ConfigSynonym(name, 1), .. definition.Synonyms], definition.IsSensitive);

        // The value shown is the config's own: what stands in for it is listed only behind it, as in Kafka.
        var value = definition.IsSensitive || synonyms.Count == 0
            ? null
            : Normalized(definition, synonyms[0].Value);
        return Entry(definition, name, value, synonyms);
    }

    /// <inheritdoc/>
    public override IEnumerable<ConfigEntry> DescribeAll()
    {
        var names = Catalog.All(ConfigScope.Broker).Values
            .Where(d => !d.IsInternal || IsSet(d.Name))
            .Select(d => d.Name)
            .Concat(_dynamicBroker.Keys)
            .Concat(_dynamicDefault.Keys)
            .Concat(_static.Keys.Where(name => Catalog.TryGetBroker(name, out _)))
            .Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal);
        return names.Select(Describe).OfType<ConfigEntry>();
    }

    /// <summary>
    /// The run-time defaults of all brokers, as DescribeConfigs answers them for the broker resource without a name.
    /// </summary>
    public IEnumerable<ConfigEntry> DescribeDynamicDefaults() => _dynamicDefault.Keys
        .Order(StringComparer.Ordinal)
        .Select(name =>
        {
            const ConfigSource source = ConfigSource.DynamicDefaultBrokerConfig;
            var known = Catalog.TryGetBroker(name, out var definition);
            var value = known && !definition!.IsSensitive ? Normalized(definition, _dynamicDefault[name]) : null;
            return new ConfigEntry(
                name,
                value,
                source,
                definition?.Type ?? ConfigType.Unknown,
                IsReadOnly: definition is null or { UpdateMode: ConfigUpdateMode.ReadOnly },
                IsSensitive: definition is null or { IsSensitive: true },
                [new ConfigEntrySynonym(name, value, source)],
                definition?.Documentation);
        });

    /// <summary>
    /// Every place that holds a value for one of the names, in order of precedence. As in Kafka, what comes before the
    /// first name's own entry is left out: nothing is listed while only stand-ins are set.
    /// </summary>
    internal List<ConfigEntrySynonym> SynonymsOf(IReadOnlyList<ConfigSynonym> names, bool isSensitive)
    {
        var found = new List<ConfigEntrySynonym>();
        void Add(ConfigSource source, Func<string, string?> valueOf)
        {
            foreach (var synonym in names)
            {
                if (valueOf(synonym.Name) is { } value && (found.Count > 0 || synonym.Name == names[0].Name))
                {
                    found.Add(new ConfigEntrySynonym(synonym.Name, isSensitive ? null : value, source));
                }
            }
        }

        Add(ConfigSource.DynamicBrokerConfig, _dynamicBroker.GetValueOrDefault);
        Add(ConfigSource.DynamicDefaultBrokerConfig, _dynamicDefault.GetValueOrDefault);
        Add(ConfigSource.StaticBrokerConfig, _static.GetValueOrDefault);
        Add(ConfigSource.DefaultConfig, DefaultOf);
        return found;
    }

    /// <summary>The text in force for the first of the names that is set in the first place that sets any.</summary>
    internal (string? Value, long Factor) Find(IReadOnlyList<ConfigSynonym> names)
    {
        return FindIn(names, _dynamicBroker.GetValueOrDefault)
            ?? FindIn(names, _dynamicDefault.GetValueOrDefault)
            ?? FindIn(names, _static.GetValueOrDefault)
            ?? FindIn(names, DefaultOf)
            ?? (null, 1);
    }

    private protected override (string? Value, long Factor) Resolve(ConfigDefinition definition) =>
        Find([new ConfigSynonym(definition.Name, 1), .. definition.Synonyms]);

    private static (string? Value, long Factor)? FindIn(
        IReadOnlyList<ConfigSynonym> names, Func<string, string?> valueOf)
    {
        foreach (var name in names)
        {
            if (valueOf(name.Name) is { } value)
            {
                return (value, name.Factor);
            }
        }

        return null;
    }

    private static string? Normalized(ConfigDefinition definition, string? value)
    {
        try
        {
            return value is null ? null : definition.Normalize(value);
        }
        catch (ConfigException)
        {
            return value;
        }
    }

    private static ConfigEntry Entry(
        ConfigDefinition definition, string name, string? value, List<ConfigEntrySynonym> synonyms) => new(
            name,
            value,
            synonyms.Count == 0 ? ConfigSource.DefaultConfig : synonyms[0].Source,
            definition.Type,
            definition.UpdateMode == ConfigUpdateMode.ReadOnly,
            definition.IsSensitive,
            synonyms,
            definition.IsDynamicOnly ? null : definition.Documentation);

    private string? DefaultOf(string name) =>
        Catalog.TryGet(ConfigScope.Broker, name, out var definition) && !definition.IsDynamicOnly
            ? definition.DefaultValue
            : null;

    private bool IsSet(string name) =>
        _dynamicBroker.ContainsKey(name) || _dynamicDefault.ContainsKey(name) || _static.ContainsKey(name);

    private ConfigEntry? DescribeListenerConfig(string name, ConfigDefinition definition)
    {
        var synonyms = SynonymsOf([new ConfigSynonym(name, 1), new(definition.Name, 1)], definition.IsSensitive);
        if (synonyms.Count == 0)
        {
            return null;
        }

        var value = definition.IsSensitive ? null : Normalized(definition, synonyms[0].Value);
        return Entry(definition, name, value, synonyms);
    }

    /// <summary>
    /// Kafka shows a run-time config that it does not know, but not its value, which might be a secret.
    /// </summary>
    private ConfigEntry? DescribeUnknown(string name)
    {
        if (!_dynamicBroker.ContainsKey(name) && !_dynamicDefault.ContainsKey(name))
        {
            return null;
        }

        var synonyms = SynonymsOf([new ConfigSynonym(name, 1)], isSensitive: true);
        return new ConfigEntry(
            name,
            null,
            synonyms[0].Source,
            ConfigType.Unknown,
            IsReadOnly: true,
            IsSensitive: true,
            synonyms,
            null);
    }
}
