using System.Diagnostics.CodeAnalysis;

namespace KBroker.Cluster.Configuration;

/// <summary>
/// Every config that KBroker knows: those of Apache Kafka 4.3 and its own. Each scope's table is read when it is first
/// asked for; after that the catalog never changes, so one instance serves every broker of a process.
/// </summary>
public sealed class ConfigCatalog
{
    private const string ListenerPrefix = "listener.name.";

    // Kafka passes properties with these prefixes on to plugins, so no list of names can be complete.
    private static readonly string[] PassThroughPrefixes = ["config.providers.", "rlmm.config.", "rsm.config."];

    private readonly Lazy<Dictionary<string, ConfigDefinition>> _topic = Table(ConfigScope.Topic, "topic.configs");
    private readonly Lazy<Dictionary<string, ConfigDefinition>> _broker = Table(ConfigScope.Broker, "broker.configs");
    private readonly Lazy<Dictionary<string, ConfigDefinition>> _group = Table(ConfigScope.Group, "group.configs");
    private readonly Lazy<Dictionary<string, ConfigDefinition>> _clientMetrics =
        Table(ConfigScope.ClientMetrics, "client-metrics.configs");

    private ConfigCatalog()
    {
    }

    /// <summary>The catalog.</summary>
    public static ConfigCatalog Default { get; } = new();

    /// <summary>All configs of a scope, by name.</summary>
    public IReadOnlyDictionary<string, ConfigDefinition> All(ConfigScope scope) => TableOf(scope);

    /// <summary>Looks a config up by its exact name.</summary>
    public bool TryGet(ConfigScope scope, string name, [NotNullWhen(true)] out ConfigDefinition? definition) =>
        TableOf(scope).TryGetValue(name, out definition);

    /// <summary>A config that must exist, because the code names it.</summary>
    public ConfigDefinition Get(ConfigScope scope, string name) => TryGet(scope, name, out var definition)
        ? definition
        : throw new KeyNotFoundException($"There is no {scope} config {name}");

    /// <summary>
    /// Looks a broker config up by the name an operator gave it, which may carry a listener's prefix, as in
    /// <c>listener.name.internal.max.connections</c>, and there also a SASL mechanism's.
    /// </summary>
    public bool TryGetBroker(string name, [NotNullWhen(true)] out ConfigDefinition? definition)
    {
        if (TryGet(ConfigScope.Broker, name, out definition))
        {
            return true;
        }

        if (!IsListenerConfig(name, out var baseName))
        {
            return false;
        }

        // After the listener may come a mechanism, as in listener.name.internal.scram-sha-256.sasl.jaas.config.
        var dot = baseName.IndexOf('.', StringComparison.Ordinal);
        return TryGet(ConfigScope.Broker, baseName, out definition)
            || (dot > 0 && TryGet(ConfigScope.Broker, baseName[(dot + 1)..], out definition));
    }

    /// <summary>Whether the name is one that Kafka hands to plugins unread, such as <c>rsm.config.bucket</c>.</summary>
    public static bool IsPassedThrough(string name) =>
        Array.Exists(PassThroughPrefixes, prefix => name.StartsWith(prefix, StringComparison.Ordinal));

    /// <summary>Whether a name begins with <c>listener.name.X.</c>, and what follows.</summary>
    public static bool IsListenerConfig(string name, [NotNullWhen(true)] out string? baseName)
    {
        var dot = name.StartsWith(ListenerPrefix, StringComparison.Ordinal)
            ? name.IndexOf('.', ListenerPrefix.Length)
            : -1;
        baseName = dot > 0 ? name[(dot + 1)..] : null;
        return baseName is not null;
    }

    /// <summary>The known name closest to one that is not known, or null when none is close.</summary>
    public string? Suggest(ConfigScope scope, string unknown)
    {
        var limit = Math.Max(1, Math.Min(4, unknown.Length / 5));
        string? best = null;
        foreach (var name in TableOf(scope).Keys)
        {
            var distance = EditDistance(unknown, name, limit);
            if (distance <= limit && (distance < limit || best is null))
            {
                best = name;
                limit = distance;
            }
        }

        return best;
    }

    private static Lazy<Dictionary<string, ConfigDefinition>> Table(ConfigScope scope, string file) =>
        new(() => ConfigTable.Load(scope, file));

    private Dictionary<string, ConfigDefinition> TableOf(ConfigScope scope) => scope switch
    {
        ConfigScope.Topic => _topic.Value,
        ConfigScope.Broker => _broker.Value,
        ConfigScope.Group => _group.Value,
        ConfigScope.ClientMetrics => _clientMetrics.Value,
        _ => throw new ArgumentOutOfRangeException(nameof(scope), scope, "No such scope"),
    };

    /// <summary>Levenshtein distance, or any number above the limit once it is passed.</summary>
    private static int EditDistance(string a, string b, int limit)
    {
        if (Math.Abs(a.Length - b.Length) > limit)
        {
            return limit + 1;
        }

        var row = new int[b.Length + 1];
        for (var j = 0; j <= b.Length; j++)
        {
            row[j] = j;
        }

        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            var least = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var substitution = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(substitution, Math.Min(row[j], row[j - 1]) + 1);
                least = Math.Min(least, row[j]);
            }

            if (least > limit)
            {
                return limit + 1;
            }
        }

        return row[b.Length];
    }
}
