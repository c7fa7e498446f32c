namespace KBroker.Cluster.Configuration;

/// <summary>
/// What is known of one config: name, type, default, what is allowed, how it changes. Immutable. Names, defaults and
/// rules are those of Apache Kafka 4.3; what starts with <c>kbroker.</c> is KBroker's own.
/// </summary>
public sealed class ConfigDefinition
{
    private readonly ConfigTable.Text _documentation;

    internal ConfigDefinition(ConfigScope scope, ConfigTable.Row row)
    {
        Scope = scope;
        Name = row.Name;
        Type = row.Type;
        DefaultValue = row.DefaultValue;
        IsRequired = row.IsRequired;
        Rule = row.Rule;
        Importance = row.Importance;
        UpdateMode = row.UpdateMode;
        IsInternal = row.IsInternal;
        IsDynamicOnly = row.IsDynamicOnly;
        IsInert = row.IsInert;
        Synonyms = row.Synonyms;
        _documentation = row.Documentation;
    }

    /// <summary>Name, such as <c>retention.ms</c>.</summary>
    public string Name { get; }

    /// <summary>What the config belongs to.</summary>
    public ConfigScope Scope { get; }

    /// <summary>Type of the value.</summary>
    public ConfigType Type { get; }

    /// <summary>Default in text form; null when nothing is the default, or when there is none.</summary>
    public string? DefaultValue { get; }

    /// <summary>Whether Kafka demands a value. KBroker has a default of its own for each of these.</summary>
    public bool IsRequired { get; }

    /// <summary>Importance as Kafka rates it.</summary>
    public ConfigImportance Importance { get; }

    /// <summary>Whether it can be changed at run time; meaningful for broker configs.</summary>
    public ConfigUpdateMode UpdateMode { get; }

    /// <summary>Whether it is left out of listings unless somebody set it.</summary>
    public bool IsInternal { get; }

    /// <summary>Whether it can only be set at run time, not in server.properties.</summary>
    public bool IsDynamicOnly { get; }

    /// <summary>Whether KBroker accepts the config so that Kafka's files work, and does not act on it.</summary>
    public bool IsInert { get; }

    /// <summary>Whether the value is never shown.</summary>
    public bool IsSensitive => Type == ConfigType.Password;

    /// <summary>Broker configs that serve when this one is not set, first match first.</summary>
    public IReadOnlyList<ConfigSynonym> Synonyms { get; }

    /// <summary>What is allowed beyond the type, as a phrase for people; empty when everything is.</summary>
    public string Allowed => Rule.Describe();

    /// <summary>What the config means, in one or two sentences.</summary>
    public string Documentation => IsInert
        ? _documentation + " KBroker accepts this setting and does not act on it."
        : _documentation.ToString();

    internal ConfigRule Rule { get; }

    /// <summary>
    /// Parses and validates a value: bool, string, int, short, long, double or string[] by <see cref="Type"/>.
    /// </summary>
    /// <exception cref="ConfigException">The value has not the type, or breaks the rule.</exception>
    public object Parse(string? text)
    {
        if (text is null)
        {
            throw new ConfigException(Name, null, "entry must be non null");
        }

        var value = ConfigText.Parse(Name, Type, text);
        Rule.Check(Name, value);
        return value;
    }

    /// <summary>The value as DescribeConfigs shows it: parsed and written again, so without stray blanks.</summary>
    /// <exception cref="ConfigException">The value has not the type, or breaks the rule.</exception>
    public string Normalize(string? text) => ConfigText.Format(Parse(text));

    /// <inheritdoc/>
    public override string ToString() => Name;
}
