using System.Collections.Immutable;
using KBroker.Cluster.Configuration;
using KBroker.Protocol;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>What a request comes to: the answer, and the records that make it true.</summary>
internal readonly record struct Change<TResponse>(TResponse Response, IReadOnlyList<MetadataRecord> Records)
{
    public static Change<TResponse> Nothing(TResponse response) => new(response, []);
}

/// <summary>What a change builds on: the metadata with everything appended before, and the configs in force with
/// it.</summary>
internal sealed class ControlState(MetadataImage image, BrokerConfigValues staticConfigs, int nodeId,
    Func<Uuid> newUuid)
{
    public MetadataImage Image { get; } = image;

    public int NodeId { get; } = nodeId;

    public Func<Uuid> NewUuid { get; } = newUuid;

    public RecordVersions Versions { get; } = new(image.Features.MetadataVersion);

    public BrokerConfigValues Broker { get; } = staticConfigs.WithDynamic(
        image.Configs.Of(ConfigResource.DefaultBroker),
        image.Configs.Of(new(ConfigResourceType.Broker,
            nodeId.ToString(System.Globalization.CultureInfo.InvariantCulture))));

    public ImmutableSortedDictionary<string, FeatureRange> Features { get; } =
        SupportedFeatures.RangesFor(staticConfigs.GetBoolean("unstable.feature.versions.enable"));

    public bool IsElrEnabled => Image.Features.Level(SupportedFeatures.EligibleLeaderReplicas) > 0;
}

/// <summary>One item of a request is refused; caught where the item's answer is made.</summary>
internal sealed class RefusedException(ErrorCode error, string? message) : Exception(message)
{
    public ErrorCode Error { get; } = error;

    public string? Text { get; } = message;
}

/// <summary>Texts that many answers share. Kafka's tools and tests match them.</summary>
internal static class Texts
{
    public const string DuplicateTopic = "Duplicate topic name.";
    public const string UnknownTopicOrPartition = "This server does not host this topic-partition.";
    public const string UnknownTopicId = "This server does not host this topic ID.";
    public const string TooManyPartitions = "Excessively large number of partitions per request.";
    public const int MaxPartitionsPerRequest = 10_000;
}
