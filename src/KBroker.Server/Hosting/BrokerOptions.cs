using System.Collections.Immutable;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Server.Net.Listeners;

namespace KBroker.Server.Hosting;

/// <summary>
/// What a broker needs to know to start: a typed, checked and immutable view of its properties. Kafka's
/// server.properties for one combined node is taken as it is. Values that can change at run time are read from
/// <see cref="Configs"/> as the metadata overlays it; here are those of the start.
/// </summary>
public sealed class BrokerOptions
{
    private BrokerOptions(BrokerConfigValues configs, IReadOnlyList<string> warnings)
    {
        Configs = configs;
        Warnings = warnings;
        NodeId = configs.GetInt("node.id");
        Rack = configs.GetString("broker.rack");
        ProcessRoles = configs.GetList("process.roles");
        LogDirs = Directories(configs);
        MetadataLogDir = Path.GetFullPath(configs.GetString("metadata.log.dir") ?? LogDirs[0]);
        LostLogDirs = BrokerOptionsRules.ParseIds("kbroker.lost.log.dirs", configs);
        BootstrapClusterId = configs.GetString("kbroker.bootstrap.cluster.id");
        SupportedFeatures = Cluster.Metadata.SupportedFeatures.RangesFor(
            configs.GetBoolean("unstable.feature.versions.enable"));
        BootstrapFeatures = BrokerOptionsRules.ParseFeatures(configs);
        Listeners = BrokerOptionsRules.ParseListeners(configs);
        Sockets = new SocketOptions(configs);
    }

    /// <summary>All configs of the broker, as they are without anything set at run time.</summary>
    public BrokerConfigValues Configs { get; }

    /// <summary>Sentences for the log about properties that are not known or have no effect.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary><c>node.id</c>; also what Kafka calls the broker id.</summary>
    public int NodeId { get; }

    /// <summary><c>broker.rack</c>, or null.</summary>
    public string? Rack { get; }

    /// <summary><c>process.roles</c>: always broker and controller for now.</summary>
    public IReadOnlyList<string> ProcessRoles { get; }

    /// <summary><c>log.dirs</c>, else <c>log.dir</c>: absolute paths, without duplicates.</summary>
    public IReadOnlyList<string> LogDirs { get; }

    /// <summary><c>metadata.log.dir</c>, else the first of <see cref="LogDirs"/>.</summary>
    public string MetadataLogDir { get; }

    /// <summary><c>kbroker.lost.log.dirs</c>: ids of directories that will not come back.</summary>
    public IReadOnlyList<Uuid> LostLogDirs { get; }

    /// <summary><c>kbroker.bootstrap.cluster.id</c>: the cluster id to format a new directory with, or null.</summary>
    public string? BootstrapClusterId { get; }

    /// <summary>
    /// The feature levels this node can work with; <c>unstable.feature.versions.enable</c> adds Kafka's unstable ones.
    /// </summary>
    public ImmutableSortedDictionary<string, FeatureRange> SupportedFeatures { get; }

    /// <summary>
    /// <c>kbroker.bootstrap.features</c>: the levels to format a new directory with, by feature name.
    /// </summary>
    public ImmutableSortedDictionary<string, short> BootstrapFeatures { get; }

    /// <summary>
    /// Where to listen and what to tell clients: <c>listeners</c>, <c>advertised.listeners</c>,
    /// <c>listener.security.protocol.map</c>, <c>controller.listener.names</c>, <c>inter.broker.listener.name</c> and
    /// <c>security.inter.broker.protocol</c>.
    /// </summary>
    public ListenerConfiguration Listeners { get; }

    /// <summary>Bounds and sizes of connections.</summary>
    public SocketOptions Sockets { get; }

    /// <summary>Checks properties and makes options of them.</summary>
    /// <param name="properties">Names and values as in server.properties.</param>
    /// <exception cref="ConfigException">Names the key, the value and what is allowed.</exception>
    public static BrokerOptions Create(IReadOnlyDictionary<string, string> properties)
    {
        var values = new Dictionary<string, string>(properties, StringComparer.Ordinal);
        var warnings = BrokerOptionsRules.CheckNames(ConfigCatalog.Default, values);
        BrokerOptionsRules.FillRequired(values);
        var configs = new BrokerConfigValues(ConfigCatalog.Default, values);
        BrokerConfigRules.Validate(configs);
        BrokerOptionsRules.Check(configs, values);
        return new BrokerOptions(configs, warnings);
    }

    private static List<string> Directories(BrokerConfigValues configs)
    {
        var directories = configs.GetList("log.dirs");
        directories = directories.Count > 0 ? directories : configs.GetList("log.dir");
        return directories.Select(Path.GetFullPath).Distinct(StringComparer.Ordinal).ToList();
    }
}
