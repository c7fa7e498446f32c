namespace KBroker.Cluster.Metadata;

/// <summary>One step of the metadata: the image before, the image after, and what changed between them.</summary>
/// <param name="Previous">The image before; <see cref="MetadataImage.Empty"/> for a subscriber's first step.</param>
/// <param name="Current">The image after.</param>
/// <param name="Delta">What changed; null for a subscriber's first step, in which everything is new.</param>
public sealed record MetadataUpdate(MetadataImage Previous, MetadataImage Current, MetadataDelta? Delta)
{
    /// <summary>The topics that were created or changed.</summary>
    public IEnumerable<TopicImage> ChangedTopics => Delta is null
        ? Current.Topics.ByName.Values
        : Delta.ChangedTopicIds.Select(id => Current.Topics.Find(id)!);

    /// <summary>The topics that were deleted, as they were before.</summary>
    public IEnumerable<TopicImage> DeletedTopics => Delta is null ? [] : Delta.DeletedTopics;

    /// <summary>The resources whose configs changed.</summary>
    public IEnumerable<ConfigResource> ChangedConfigs => Delta is null
        ? Current.Configs.Resources.Keys
        : Delta.ChangedConfigs;

    /// <summary>Whether the node registrations changed.</summary>
    public bool NodesChanged => Delta?.NodesChanged ?? true;

    /// <summary>Whether the finalized features changed.</summary>
    public bool FeaturesChanged => Delta?.FeaturesChanged ?? true;
}

/// <summary>Is told of every new image.</summary>
public interface IMetadataSubscriber
{
    /// <summary>
    /// Called once for every new image, in order, never concurrently. What the subscriber does here is done before the
    /// change is acknowledged to whoever asked for it, so a created topic is served when its creator learns of it.
    /// </summary>
    /// <remarks>An exception is logged and does not stop the others; the image is published all the same.</remarks>
    void OnMetadata(MetadataUpdate update);
}

/// <summary>One voter or observer of the metadata log, as DescribeQuorum shows it.</summary>
/// <param name="NodeId">Node id.</param>
/// <param name="DirectoryId">Directory id of its metadata log; zero with static voters.</param>
/// <param name="LogEndOffset">Its log end offset.</param>
/// <param name="LastFetchTimestampMs">When it last fetched; for the leader, now.</param>
/// <param name="LastCaughtUpTimestampMs">When it last had everything; for the leader, now.</param>
public sealed record QuorumReplica(
    int NodeId, KBroker.Protocol.Uuid DirectoryId, long LogEndOffset, long LastFetchTimestampMs,
        long LastCaughtUpTimestampMs);

/// <summary>The state of the quorum that writes the metadata log.</summary>
/// <param name="LeaderId">Node id of the leader; -1 when there is none.</param>
/// <param name="LeaderEpoch">The leader's epoch.</param>
/// <param name="HighWatermark">The offset behind the last committed record.</param>
/// <param name="Voters">The voters.</param>
/// <param name="Observers">The observers.</param>
/// <param name="KRaftVersion">0 with voters from the configuration, 1 with voters in the log (KIP-853).</param>
public sealed record QuorumDescription(
    int LeaderId,
    int LeaderEpoch,
    long HighWatermark,
    IReadOnlyList<QuorumReplica> Voters,
    IReadOnlyList<QuorumReplica> Observers,
    short KRaftVersion);

/// <summary>
/// The ordered stream of metadata records and snapshots, applied to an immutable image. There may be one in the own
/// directory (<c>LocalMetadataLog</c>) or one that is fetched from a quorum; readers cannot tell.
/// </summary>
public interface IMetadataLog
{
    /// <summary>The newest committed image. Never null, never half applied; take it once per request.</summary>
    MetadataImage Image { get; }

    /// <summary>Adds a subscriber: it is called at once with everything as new, then with every change.</summary>
    void Subscribe(IMetadataSubscriber subscriber);

    /// <summary>The state of the quorum.</summary>
    QuorumDescription DescribeQuorum();
}
