using System.Text.RegularExpressions;

namespace KBroker.Cluster.Configuration;

/// <summary>Checks what is about to be set on a client metrics subscription (KIP-714).</summary>
public static class ClientMetricsConfigRules
{
    private static readonly TimeSpan PatternTimeout = TimeSpan.FromMilliseconds(100);

    private static readonly string[] Selectors =
    [
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];

    /// <summary>Checks a subscription's configs, all of those that will be in force together.</summary>
    /// <exception cref="ConfigException">
    /// To be answered as INVALID_REQUEST or INVALID_CONFIG, see <see cref="ConfigException.IsInvalidRequest"/>.
    /// </exception>
    public static void Validate(BrokerConfigValues broker, IEnumerable<KeyValuePair<string, string?>> overrides)
    {
        foreach (var (name, value) in overrides)
        {
            if (!broker.Catalog.TryGet(ConfigScope.ClientMetrics, name, out var definition))
            {
                throw new ConfigException($"Unknown client metrics configuration: {name}") { IsInvalidRequest = true };
            }

            if (name == "interval.ms")
            {
                CheckInterval(definition, value);
            }
            else if (name == "match")
            {
                CheckMatch(ConfigText.ParseList(value ?? ""));
            }
        }
    }

    private static void CheckInterval(ConfigDefinition definition, string? value)
    {
        try
        {
            definition.Parse(value);
        }
        catch (ConfigException) when (int.TryParse(value?.Trim(), out _))
        {
            // Kafka's distinction: a number out of bounds is an invalid request, no number an invalid config.
            throw new ConfigException(
                $"Invalid value {value} for interval.ms, interval must be between 100 and 3600000 (1 hour)")
            {
                IsInvalidRequest = true,
            };
        }
    }

    private static void CheckMatch(string[] pairs)
    {
        foreach (var pair in pairs)
        {
            var parts = pair.Split('=');
            if (parts.Length != 2 || !Selectors.Contains(parts[0].Trim()) || !IsPattern(parts[1].Trim()))
            {
                throw new ConfigException($"Illegal client matching pattern: {pair}");
            }
        }
    }

    private static bool IsPattern(string text)
    {
        try
        {
            _ = new Regex(text, RegexOptions.None, PatternTimeout);
            return true;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }
}
