namespace KBroker.Cluster.Configuration;

/// <summary>The checks on names that topics, groups and client metrics subscriptions share.</summary>
internal static class ConfigNames
{
    /// <summary>Refuses null values and names that the scope does not know; answers the rest as a dictionary.</summary>
    /// <exception cref="ConfigException">To be answered as INVALID_CONFIG.</exception>
    internal static Dictionary<string, string> Check(
        ConfigCatalog catalog, ConfigScope scope, string what, IEnumerable<KeyValuePair<string, string?>> overrides)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        var nulls = new List<string>();
        foreach (var (name, value) in overrides)
        {
            if (value is null)
            {
                nulls.Add(name);
            }
            else
            {
                values[name] = value;
            }
        }

        if (nulls.Count > 0)
        {
            throw new ConfigException($"Null value not supported for {what} configs: {string.Join(",", nulls)}");
        }

        foreach (var name in values.Keys)
        {
            if (!catalog.TryGet(scope, name, out _))
            {
                throw new ConfigException($"Unknown {what} config name: {name}");
            }
        }

        return values;
    }
}
