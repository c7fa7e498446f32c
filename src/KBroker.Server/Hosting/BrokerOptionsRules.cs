using System.Collections.Immutable;
using System.Globalization;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Server.Net.Listeners;

namespace KBroker.Server.Hosting;

/// <summary>
/// What a set of properties must fulfil, beyond each config's own rule, for this process to run with it.
/// </summary>
internal static class BrokerOptionsRules
{
    /// <summary>
    /// Configs without effect that promise protection: to ignore one of them would leave open what its owner believes
    /// to be shut, so the broker refuses to start with it.
    /// </summary>
    private static readonly string[] Guards =
    [
        "authorizer.class.name",
        "create.topic.policy.class.name",
        "alter.config.policy.class.name",
        "client.quota.callback.class",
    ];

    /// <summary>Names that are not known, or without effect here, as sentences for the log.</summary>
    internal static List<string> CheckNames(ConfigCatalog catalog, Dictionary<string, string> values)
    {
        var warnings = new List<string>();
        var inert = new List<string>();
        foreach (var (name, value) in values)
        {
            if (!catalog.TryGetBroker(name, out var definition))
            {
                if (!ConfigCatalog.IsPassedThrough(name))
                {
                    warnings.Add(Unknown(catalog, name));
                }
            }
            else if (definition.IsDynamicOnly)
            {
                warnings.Add($"{name} can only be set at run time and is not used here");
            }
            else if (definition.IsInert)
            {
                RefuseGuard(name, value);
                inert.Add(name);
            }
        }

        if (inert.Count > 0)
        {
            inert.Sort(StringComparer.Ordinal);
            warnings.Add($"Accepted without effect: {string.Join(", ", inert)}");
        }

        return warnings;
    }

    /// <summary>KBroker's defaults for what Kafka demands: a combined node with the number 1.</summary>
    internal static void FillRequired(Dictionary<string, string> values)
    {
        if (!values.ContainsKey("node.id"))
        {
            var brokerId = values.GetValueOrDefault("broker.id");
            values["node.id"] = brokerId is null or "-1" ? "1" : brokerId;
        }

        // The old name of node.id, which tools still ask for.
        if (values.GetValueOrDefault("broker.id") is null or "-1")
            values["broker.id"] = values["node.id"];
        values.TryAdd("process.roles", "broker,controller");
        values.TryAdd("controller.listener.names", "");
    }

    internal static void Check(BrokerConfigValues configs, Dictionary<string, string> values)
    {
        var nodeId = configs.GetInt("node.id");
        var brokerId = configs.GetInt("broker.id");
        if (brokerId != -1 && brokerId != nodeId)
        {
            throw new ConfigException(
                "broker.id", Text(brokerId), $"it must be equal to node.id, which is {nodeId}, or be left out");
        }

        var roles = configs.GetList("process.roles");
        if (!roles.Contains("broker") || !roles.Contains("controller"))
        {
            throw new ConfigException(
                "process.roles",
                string.Join(',', roles),
                "KBroker runs as one combined node: the value must be broker,controller");
        }

        CheckVoters(configs, nodeId);
        foreach (var server in configs.GetList("controller.quorum.bootstrap.servers"))
        {
            if (!IsAddress(server))
            {
                throw new ConfigException(
                    "controller.quorum.bootstrap.servers", server, "each entry must be host:port");
            }
        }

        if (values.ContainsKey("inter.broker.listener.name") && values.ContainsKey("security.inter.broker.protocol"))
        {
            throw new ConfigException(
                "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.");
        }
    }

    /// <summary>The listeners, from the properties as they were set.</summary>
    internal static ListenerConfiguration ParseListeners(BrokerConfigValues configs)
    {
        try
        {
            return ListenerConfiguration.Parse(
                ListenerSettings.From(name => configs.StaticValues.GetValueOrDefault(name)));
        }
        catch (ListenerConfigurationException refused)
        {
            throw new ConfigException(refused.Message);
        }
    }

    /// <summary>The feature levels of a new directory: the newest, and over them the ones that were set.</summary>
    internal static ImmutableSortedDictionary<string, short> ParseFeatures(BrokerConfigValues configs)
    {
        const string key = "kbroker.bootstrap.features";
        var text = string.Join(',', configs.GetList(key));
        try
        {
            return SupportedFeatures.ParseLevels(text, configs.GetBoolean("unstable.feature.versions.enable"));
        }
        catch (ArgumentException refused)
        {
            throw new ConfigException(key, text, refused.Message);
        }
    }

    /// <summary>A list of ids, as meta.properties and the tools write them.</summary>
    internal static List<Uuid> ParseIds(string key, BrokerConfigValues configs)
    {
        var ids = new List<Uuid>();
        foreach (var text in configs.GetList(key))
        {
            if (!Uuid.TryParse(text, out var id))
                throw new ConfigException(key, text, "it must be an id of 22 characters, as in meta.properties");
            ids.Add(id);
        }

        return ids;
    }

    private static void CheckVoters(BrokerConfigValues configs, int nodeId)
    {
        const string key = "controller.quorum.voters";
        var voters = configs.GetList(key);
        foreach (var voter in voters)
        {
            var at = voter.IndexOf('@', StringComparison.Ordinal);
            if (at <= 0 || !IsAddress(voter[(at + 1)..]) || !int.TryParse(
                voter.AsSpan(0, at), NumberStyles.None, CultureInfo.InvariantCulture, out var id))
            {
                throw new ConfigException(key, voter, "each entry must be of the form {id}@{host}:{port}");
            }

            if (id != nodeId)
            {
                throw new ConfigException(
                    key,
                    voter,
                    $"KBroker runs as one combined node: the only voter must be node.id, which is {nodeId}");
            }
        }

        if (voters.Count > 1)
        {
            throw new ConfigException(key, string.Join(',', voters), "the node must be named once");
        }
    }

    private static bool IsAddress(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon > 0
            && ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out _);
    }

    private static void RefuseGuard(string name, string value)
    {
        if (Array.IndexOf(Guards, name) >= 0 && value.Trim().Length > 0)
        {
            throw new ConfigException(
                name, value, "KBroker cannot run Java classes, and would not protect what this one does; leave it out");
        }
    }

    private static string Unknown(ConfigCatalog catalog, string name) =>
        catalog.Suggest(ConfigScope.Broker, name) is { } close
            ? $"Unknown property {name} is not used; did you mean {close}?"
            : $"Unknown property {name} is not used";

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
