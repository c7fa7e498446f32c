using System.Collections.Immutable;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata;

/// <summary>
/// The whole metadata of the cluster at one offset of the metadata log. Immutable: a reader takes one image and works
/// on it,
/// whatever is appended meanwhile. Successive images share the parts that did not change.
/// </summary>
public sealed record MetadataImage
{
    /// <summary>The image of an empty log.</summary>
    public static readonly MetadataImage Empty = new();

    /// <summary>The id of the cluster, from <c>meta.properties</c>; empty in an image that is not attached to a
    /// log.</summary>
    public string ClusterId { get; init; } = "";

    /// <summary>Node id of the active controller; -1 when there is none.</summary>
    public int ControllerId { get; init; } = -1;

    /// <summary>Epoch of the active controller: the leader epoch of the metadata log.</summary>
    public int ControllerEpoch { get; init; } = -1;

    /// <summary>Where in the log the image stands.</summary>
    public MetadataProvenance Provenance { get; init; } = MetadataProvenance.Empty;

    /// <summary>The finalized features. Their epoch, as clients see it, is <see cref="FeaturesEpoch"/>.</summary>
    public FeaturesImage Features { get; init; } = FeaturesImage.Empty;

    /// <summary>The epoch that ApiVersions reports with the finalized features: the offset of the image.</summary>
    public long FeaturesEpoch => Provenance.LastContainedOffset;

    /// <summary>The registered brokers by node id.</summary>
    public ImmutableSortedDictionary<int, BrokerRegistration> Brokers { get; init; } =
        ImmutableSortedDictionary<int, BrokerRegistration>.Empty;

    /// <summary>The registered controllers by node id.</summary>
    public ImmutableSortedDictionary<int, ControllerRegistration> Controllers { get; init; } =
        ImmutableSortedDictionary<int, ControllerRegistration>.Empty;

    /// <summary>The topics.</summary>
    public TopicsImage Topics { get; init; } = TopicsImage.Empty;

    /// <summary>The dynamic configs.</summary>
    public ConfigurationsImage Configs { get; init; } = ConfigurationsImage.Empty;

    /// <summary>The first producer id that is not given out yet.</summary>
    public long NextProducerId { get; init; }

    /// <summary>Client quotas, by entity and quota name. Kept and written to snapshots; nothing enforces them
    /// yet.</summary>
    public ImmutableSortedDictionary<string,
        ClientQuotaRecord> ClientQuotas
    { get; init; } = EmptyMap<ClientQuotaRecord>();

    /// <summary>ACLs by their id. Kept and written to snapshots; nothing enforces them yet.</summary>
    public ImmutableSortedDictionary<string, AccessControlEntryRecord> Acls { get; init; } =
        EmptyMap<AccessControlEntryRecord>();

    /// <summary>SCRAM credentials by mechanism and user. Kept and written to snapshots; nothing uses them
    /// yet.</summary>
    public ImmutableSortedDictionary<string, UserScramCredentialRecord> ScramCredentials { get; init; } =
        EmptyMap<UserScramCredentialRecord>();

    /// <summary>Delegation tokens by their id. Kept and written to snapshots; nothing uses them yet.</summary>
    public ImmutableSortedDictionary<string, DelegationTokenRecord> DelegationTokens { get; init; } =
        EmptyMap<DelegationTokenRecord>();

    /// <summary>Whether the image holds nothing at all.</summary>
    public bool IsEmpty => Features.Levels.IsEmpty && Brokers.IsEmpty && Topics.Count == 0 && Configs.Resources.IsEmpty;

    private static ImmutableSortedDictionary<string, T> EmptyMap<T>() =>
        ImmutableSortedDictionary.Create<string, T>(StringComparer.Ordinal);
}
