using System.Collections.Immutable;

namespace KBroker.Cluster.Metadata;

/// <summary>The types of resource that carry configs; the values are on the wire and in records (KIP-133 and
/// later).</summary>
public enum ConfigResourceType : sbyte
{
    /// <summary>Not a valid type.</summary>
    Unknown = 0,

    /// <summary>A topic.</summary>
    Topic = 2,

    /// <summary>A broker by its id, or with the empty name every broker of the cluster.</summary>
    Broker = 4,

    /// <summary>The log levels of a broker; never stored.</summary>
    BrokerLogger = 8,

    /// <summary>A client metrics subscription (KIP-714).</summary>
    ClientMetrics = 16,

    /// <summary>A group (KIP-848).</summary>
    Group = 32,
}

/// <summary>A resource that carries configs.</summary>
/// <param name="Type">The type of resource.</param>
/// <param name="Name">Its name; empty for the cluster-wide broker defaults.</param>
public readonly record struct ConfigResource(ConfigResourceType Type, string Name)
{
    /// <summary>The resource of the cluster-wide broker defaults.</summary>
    public static readonly ConfigResource DefaultBroker = new(ConfigResourceType.Broker, "");
}

/// <summary>Every dynamic config value. Immutable.</summary>
public sealed class ConfigurationsImage
{
    /// <summary>The values of a resource without any.</summary>
    public static readonly ImmutableSortedDictionary<string, string> NoValues =
        ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>No configs.</summary>
    public static readonly ConfigurationsImage Empty =
        new(ImmutableDictionary<ConfigResource, ImmutableSortedDictionary<string, string>>.Empty);

    internal ConfigurationsImage(ImmutableDictionary<ConfigResource, ImmutableSortedDictionary<string,
        string>> resources) =>
        Resources = resources;

    /// <summary>Every resource with at least one value.</summary>
    public ImmutableDictionary<ConfigResource, ImmutableSortedDictionary<string, string>> Resources { get; }

    /// <summary>The values set on a resource; empty when there are none.</summary>
    public ImmutableSortedDictionary<string, string> Of(ConfigResource resource) =>
        Resources.GetValueOrDefault(resource) ?? NoValues;

    /// <summary>The values set on a topic.</summary>
    public ImmutableSortedDictionary<string, string> OfTopic(string name) => Of(new(ConfigResourceType.Topic, name));

    internal ConfigurationsImage With(ConfigResource resource, string name, string? value)
    {
        var values = Of(resource);
        values = value is null ? values.Remove(name) : values.SetItem(name, value);
        return new(values.IsEmpty ? Resources.Remove(resource) : Resources.SetItem(resource, values));
    }

    internal ConfigurationsImage Without(ConfigResource resource) => new(Resources.Remove(resource));
}
