namespace KBroker.Protocol;

/// <summary>The kinds of listeners that serve an API.</summary>
[Flags]
public enum ApiListeners
{
    /// <summary>Listeners for clients and brokers.</summary>
    Broker = 1,

    /// <summary>Listeners of the metadata quorum.</summary>
    Controller = 2,
}

/// <summary>What is fixed about an API: its number, name, versions and headers.</summary>
/// <param name="Key">Its number.</param>
/// <param name="Name">Its name, e.g. <c>Fetch</c>.</param>
/// <param name="LowestVersion">The first version this build reads and writes.</param>
/// <param name="HighestVersion">The last version this build reads and writes, unstable or not.</param>
public sealed record ApiInfo(ApiKey Key, string Name, short LowestVersion, short HighestVersion)
{
    /// <summary>The last version that is offered unless unstable versions are switched on.</summary>
    public short LatestStableVersion { get; init; }

    /// <summary>
    /// The first version to advertise. Below <see cref="LowestVersion"/> only for Produce: old clients read something
    /// into its absence; such a version is still refused.
    /// </summary>
    public short AdvertisedLowest { get; init; }

    /// <summary>The first version with compact lengths and tagged fields; short.MaxValue when there is none.</summary>
    public short FirstFlexibleVersion { get; init; }

    /// <summary>The listeners that serve it.</summary>
    public ApiListeners Listeners { get; init; }

    /// <summary>Whether it is meant for brokers and controllers, and needs the cluster's own permission.</summary>
    public bool IsClusterAction { get; init; }

    /// <summary>Whether a broker passes it on to the active controller.</summary>
    public bool IsForwardable { get; init; }

    /// <summary>
    /// Whether it is KBroker's own: served, but not announced in ApiVersions answers, so that clients see Kafka's list.
    /// </summary>
    public bool IsPrivate { get; init; }

    /// <summary>The response header version whatever the version, or -1 to follow the version.</summary>
    internal short FixedResponseHeader { get; init; } = -1;

    /// <summary>Whether this build reads and writes a version.</summary>
    public bool Supports(short version) => LowestVersion <= version && version <= HighestVersion;

    /// <summary>The version of RequestHeader before a request of a version: 2 when flexible, else 1.</summary>
    public short RequestHeaderVersion(short version) => version >= FirstFlexibleVersion ? (short)2 : (short)1;

    /// <summary>
    /// The version of ResponseHeader before a response of a version: 1 when flexible, else 0; always 0 for
    /// ApiVersions, whose client does not know yet what the broker speaks.
    /// </summary>
    public short ResponseHeaderVersion(short version) =>
        FixedResponseHeader >= 0 ? FixedResponseHeader
        : version >= FirstFlexibleVersion ? (short)1
        : (short)0;
}
