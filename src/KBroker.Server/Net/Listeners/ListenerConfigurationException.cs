namespace KBroker.Server.Net.Listeners;

/// <summary>A listener property that cannot be accepted. The message names the key, the value and the rule.</summary>
public sealed class ListenerConfigurationException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="key">The property.</param>
    /// <param name="value">Its value, or null when it is missing.</param>
    /// <param name="rule">What is wrong and what is allowed, a sentence without the final period.</param>
    public ListenerConfigurationException(string key, string? value, string rule)
        : base($"Invalid value {(value is null ? "(none)" : $"'{value}'")} for {key}: {rule}.")
    {
        Key = key;
        Value = value;
    }

    /// <summary>The property.</summary>
    public string Key { get; }

    /// <summary>Its value; null when it is missing.</summary>
    public string? Value { get; }
}
