namespace KBroker.Cluster.Configuration;

/// <summary>
/// One config of one resource, with its effective value and its origin: what DescribeConfigs answers.
/// </summary>
/// <param name="Name">Name of the config.</param>
/// <param name="Value">Effective value; null when there is none, and always for a password.</param>
/// <param name="Source">Where the value comes from.</param>
/// <param name="Type">Type of the value.</param>
/// <param name="IsReadOnly">Whether it cannot be changed at run time.</param>
/// <param name="IsSensitive">Whether the value is withheld.</param>
/// <param name="Synonyms">Every place that holds a value, the effective one first.</param>
/// <param name="Documentation">What the config means; null when it is not known.</param>
public sealed record ConfigEntry(
    string Name,
    string? Value,
    ConfigSource Source,
    ConfigType Type,
    bool IsReadOnly,
    bool IsSensitive,
    IReadOnlyList<ConfigEntrySynonym> Synonyms,
    string? Documentation);

/// <summary>A place that holds a value for a config.</summary>
/// <param name="Name">Name under which it is set there.</param>
/// <param name="Value">The value as it was set; null for a password.</param>
/// <param name="Source">The place.</param>
public readonly record struct ConfigEntrySynonym(string Name, string? Value, ConfigSource Source);
