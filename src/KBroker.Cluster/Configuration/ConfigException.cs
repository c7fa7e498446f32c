namespace KBroker.Cluster.Configuration;

/// <summary>
/// A config name or value that is refused. The message names the key, the value and the rule, in Kafka's form, and
/// may be shown to clients: it never holds the value of a password.
/// </summary>
public sealed class ConfigException : Exception
{
    /// <summary>Creates the exception with a message that is complete in itself.</summary>
    public ConfigException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception for a value that breaks a rule.</summary>
    /// <param name="key">Name of the config.</param>
    /// <param name="value">The refused value; must not be a password.</param>
    /// <param name="rule">What is allowed, as a phrase.</param>
    public ConfigException(string key, string? value, string rule)
        : base($"Invalid value {value ?? "null"} for configuration {key}: {rule}") => Key = key;

    /// <summary>Name of the config when one value is to blame; otherwise null.</summary>
    public string? Key { get; }

    /// <summary>
    /// Whether Kafka answers such a change with INVALID_REQUEST instead of INVALID_CONFIG. So it is for every refused
    /// change of a broker's configs and for most of a client metrics subscription's.
    /// </summary>
    public bool IsInvalidRequest { get; init; }
}
