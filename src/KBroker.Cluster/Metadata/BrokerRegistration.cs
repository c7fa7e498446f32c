using System.Collections.Immutable;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata;

/// <summary>One advertised listener of a node.</summary>
/// <param name="Name">Listener name, for example PLAINTEXT.</param>
/// <param name="Host">Host that clients are told to connect to.</param>
/// <param name="Port">Port that clients are told to connect to.</param>
/// <param name="SecurityProtocol">Kafka's id: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.</param>
public sealed record NodeEndpoint(string Name, string Host, int Port, short SecurityProtocol);

/// <summary>An inclusive range of feature levels.</summary>
/// <param name="Min">Lowest level.</param>
/// <param name="Max">Highest level.</param>
public sealed record FeatureRange(short Min, short Max)
{
    /// <summary>Whether the level lies in the range; level 0 means "not in use" and is always contained.</summary>
    public bool Contains(short level) => level == 0 || (level >= Min && level <= Max);

    /// <inheritdoc/>
    public override string ToString() => $"{Min}-{Max}";
}

/// <summary>A broker as the metadata knows it: <c>RegisterBrokerRecord</c> with all later changes applied.
/// Immutable.</summary>
public sealed record BrokerRegistration
{
    /// <summary>The broker's node id.</summary>
    public required int Id { get; init; }

    /// <summary>The broker epoch: the offset of its registration record.</summary>
    public required long Epoch { get; init; }

    /// <summary>Random id of the broker's process.</summary>
    public required Uuid IncarnationId { get; init; }

    /// <summary>The advertised listeners.</summary>
    public required ImmutableArray<NodeEndpoint> Endpoints { get; init; }

    /// <summary>Feature levels the broker supports.</summary>
    public required ImmutableSortedDictionary<string, FeatureRange> Features { get; init; }

    /// <summary>The broker's rack (<c>broker.rack</c>).</summary>
    public string? Rack { get; init; }

    /// <summary>A fenced broker is registered, but takes no part in the cluster.</summary>
    public bool Fenced { get; init; }

    /// <summary>Whether the broker asked to be shut down in an orderly way.</summary>
    public bool InControlledShutdown { get; init; }

    /// <summary>Directory ids of the broker's log directories.</summary>
    public ImmutableArray<Uuid> LogDirs { get; init; } = [];

    /// <summary>Log directories that take no new replicas (KIP-1066); null when never reported.</summary>
    public ImmutableArray<Uuid>? CordonedLogDirs { get; init; }

    /// <summary>The registration of a node that was migrated from ZooKeeper; only kept.</summary>
    public bool IsMigratingZkBroker { get; init; }

    /// <summary>The endpoint of a listener, or null.</summary>
    public NodeEndpoint? Endpoint(string listenerName)
    {
        foreach (var endpoint in Endpoints)
            if (endpoint.Name == listenerName)
                return endpoint;
        return null;
    }

    internal static BrokerRegistration From(RegisterBrokerRecord record) => new()
    {
        Id = record.BrokerId,
        Epoch = record.BrokerEpoch,
        IncarnationId = record.IncarnationId,
        Endpoints = [.. record.EndPoints.Select(e => new NodeEndpoint(e.Name, e.Host, e.Port, e.SecurityProtocol))],
        Features = record.Features.ToImmutableSortedDictionary(
            f => f.Name, f => new FeatureRange(f.MinSupportedVersion, f.MaxSupportedVersion), StringComparer.Ordinal),
        Rack = record.Rack,
        Fenced = record.Fenced,
        InControlledShutdown = record.InControlledShutdown,
        LogDirs = [.. record.LogDirs],
        CordonedLogDirs = record.CordonedLogDirs is { } cordoned ? [.. cordoned] : null,
        IsMigratingZkBroker = record.IsMigratingZkBroker,
    };

    internal RegisterBrokerRecord ToRecord() => new()
    {
        BrokerId = Id,
        BrokerEpoch = Epoch,
        IncarnationId = IncarnationId,
        EndPoints = [.. Endpoints.Select(e => new RegisterBrokerRecord.BrokerEndpoint
        {
            Name = e.Name, Host = e.Host, Port = (ushort)e.Port, SecurityProtocol = e.SecurityProtocol,
        })],
        Features = [.. Features.Select(f => new RegisterBrokerRecord.BrokerFeature
        {
            Name = f.Key, MinSupportedVersion = f.Value.Min, MaxSupportedVersion = f.Value.Max,
        })],
        Rack = Rack,
        Fenced = Fenced,
        InControlledShutdown = InControlledShutdown,
        LogDirs = [.. LogDirs],
        CordonedLogDirs = CordonedLogDirs is { } cordoned ? [.. cordoned] : null,
        IsMigratingZkBroker = IsMigratingZkBroker,
    };

    internal BrokerRegistration With(BrokerRegistrationChangeRecord change) => this with
    {
        Fenced = change.Fenced switch { 1 => true, -1 => false, _ => Fenced },
        InControlledShutdown = change.InControlledShutdown switch { 1 => true, _ => InControlledShutdown },
        LogDirs = change.LogDirs is { Count: > 0 } dirs ? [.. dirs] : LogDirs,
        CordonedLogDirs = change.CordonedLogDirs is { } cordoned ? [.. cordoned] : CordonedLogDirs,
    };
}

/// <summary>A controller as the metadata knows it (<c>RegisterControllerRecord</c>). Immutable.</summary>
public sealed record ControllerRegistration
{
    /// <summary>The controller's node id.</summary>
    public required int Id { get; init; }

    /// <summary>Random id of the controller's process.</summary>
    public required Uuid IncarnationId { get; init; }

    /// <summary>A left-over of the ZooKeeper migration; only kept.</summary>
    public bool ZkMigrationReady { get; init; }

    /// <summary>The controller listeners.</summary>
    public required ImmutableArray<NodeEndpoint> Endpoints { get; init; }

    /// <summary>Feature levels the controller supports.</summary>
    public required ImmutableSortedDictionary<string, FeatureRange> Features { get; init; }

    internal static ControllerRegistration From(RegisterControllerRecord record) => new()
    {
        Id = record.ControllerId,
        IncarnationId = record.IncarnationId,
        ZkMigrationReady = record.ZkMigrationReady,
        Endpoints = [.. record.EndPoints.Select(e => new NodeEndpoint(e.Name, e.Host, e.Port, e.SecurityProtocol))],
        Features = record.Features.ToImmutableSortedDictionary(
            f => f.Name, f => new FeatureRange(f.MinSupportedVersion, f.MaxSupportedVersion), StringComparer.Ordinal),
    };

    internal RegisterControllerRecord ToRecord() => new()
    {
        ControllerId = Id,
        IncarnationId = IncarnationId,
        ZkMigrationReady = ZkMigrationReady,
        EndPoints = [.. Endpoints.Select(e => new RegisterControllerRecord.ControllerEndpoint
        {
            Name = e.Name, Host = e.Host, Port = (ushort)e.Port, SecurityProtocol = e.SecurityProtocol,
        })],
        Features = [.. Features.Select(f => new RegisterControllerRecord.ControllerFeature
        {
            Name = f.Key, MinSupportedVersion = f.Value.Min, MaxSupportedVersion = f.Value.Max,
        })],
    };
}
