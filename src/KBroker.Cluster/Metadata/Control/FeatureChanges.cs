using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>UpdateFeatures.</summary>
internal static class FeatureChanges
{
    private const string Failed =
        "The update failed for all features since the following feature had an error: ";

    // The levels of metadata.version at which a record changed: a downgrade across one would lose what only it can say.
    private static readonly short[] LevelsWithNewRecords = [7, 8, 11, 13, 14, 15, 17, 23, 30];

    /// <summary>How a level may be changed; the numbers are on the wire.</summary>
    private enum UpgradeType : sbyte
    {
        Upgrade = 1,
        SafeDowngrade = 2,
        UnsafeDowngrade = 3,
    }

    public static Change<UpdateFeaturesResponse> Update(ControlState state, UpdateFeaturesRequest request,
        short kraftVersion)
    {
        var records = new List<MetadataRecord>();
        foreach (var update in request.FeatureUpdates)
        {
            var problem = Check(state, request, update, kraftVersion);
            if (problem is not null)
                return Change<UpdateFeaturesResponse>.Nothing(new()
                {
                    ErrorCode = ErrorCode.InvalidUpdateVersion,
                    ErrorMessage = Failed + problem,
                });
            if (update.Feature != SupportedFeatures.KRaftVersion
                && update.MaxVersionLevel != state.Image.Features.Level(update.Feature))
                records.AddRange(Records(state, update.Feature, update.MaxVersionLevel));
        }

        return new(
            new()
            {
                ErrorMessage = null,
                Results = [.. request.FeatureUpdates.Select(u => new UpdateFeaturesResponse.UpdatableFeatureResult
                {
                    Feature = u.Feature, ErrorCode = ErrorCode.None, ErrorMessage = "NONE",
                })],
            },
            request.ValidateOnly ? [] : records);
    }

    private static string? Check(
        ControlState state, UpdateFeaturesRequest request, UpdateFeaturesRequest.FeatureUpdateKey update,
            short kraftVersion)
    {
        var (feature, level) = (update.Feature, update.MaxVersionLevel);
        var invalid = $"Invalid update version {level} for feature {feature}. ";
        if (level < 0)
            return invalid + "A feature version cannot be less than 0.";
        if (!Enum.IsDefined((UpgradeType)update.UpgradeType))
            return invalid + "The controller does not support the given upgrade type.";
        if (!state.Features.TryGetValue(feature, out var range))
            return invalid + $"Local controller {state.NodeId} does not support this feature.";
        if (level < range.Min || level > range.Max)
            return invalid + $"Local controller {state.NodeId} only supports versions {range}";
        foreach (var broker in state.Image.Brokers.Values)
            if (broker.Features.TryGetValue(feature, out var supported) ? !supported.Contains(level) : level != 0)
                return invalid + $"Broker {broker.Id} does not support this version.";
        var current = feature == SupportedFeatures.KRaftVersion ? kraftVersion : state.Image.Features.Level(feature);
        if (level < current && (UpgradeType)update.UpgradeType == UpgradeType.Upgrade)
            return invalid
                + "Can't downgrade the version of this feature without setting the upgrade type to either safe or "
                + "unsafe downgrade.";
        return feature switch
        {
            SupportedFeatures.MetadataVersion when level < current =>
                CheckMetadataDowngrade(current, level, (UpgradeType)update.UpgradeType),
            SupportedFeatures.KRaftVersion when level != current && !request.ValidateOnly =>
                invalid + "The voters of this quorum are set by its configuration; they cannot be moved into the log.",
            SupportedFeatures.EligibleLeaderReplicas when level > 0 && !state.Versions.HasElr =>
                invalid + "metadata.version must be at least 23 (4.0-IV1) for it.",
            _ => null,
        };
    }

    private static string? CheckMetadataDowngrade(short current, short level, UpgradeType type)
    {
        if (!LevelsWithNewRecords.Any(l => l > level && l <= current))
            return null;
        var unsupported = $"Unsupported metadata.version downgrade from {current} to {level}. ";
        return unsupported + (type == UpgradeType.UnsafeDowngrade
            ? "Unsafe metadata downgrade is not supported in this version."
            : "Refusing to perform the requested downgrade because it might delete metadata information.");
    }

    private static IEnumerable<MetadataRecord> Records(ControlState state, string feature, short level)
    {
        const string minInsyncReplicas = "min.insync.replicas";
        yield return new(new FeatureLevelRecord { Name = feature, FeatureLevel = level }, 0);
        if (feature != SupportedFeatures.EligibleLeaderReplicas)
            yield break;
        if (level == 0)
        {
            yield return new(new ClearElrRecord { TopicName = "" }, 0);
            yield break;
        }

        // From now on the cluster-wide minimum is a stored value, and no broker has one of its own.
        var configs = state.Image.Configs;
        if (!configs.Of(ConfigResource.DefaultBroker).ContainsKey(minInsyncReplicas))
            yield return Config("", state.Broker.GetInt(minInsyncReplicas).ToString(
                System.Globalization.CultureInfo.InvariantCulture));
        foreach (var (resource, values) in configs.Resources)
            if (resource is { Type: ConfigResourceType.Broker, Name.Length: > 0 }
                && values.ContainsKey(minInsyncReplicas))
                yield return Config(resource.Name, null);

        static MetadataRecord Config(string broker, string? value) => new(
            new ConfigRecord
            {
                ResourceType = (sbyte)ConfigResourceType.Broker,
                ResourceName = broker,
                Name = minInsyncReplicas,
                Value = value,
            },
            0);
    }
}
