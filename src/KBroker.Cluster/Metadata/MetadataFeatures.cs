using System.Collections.Immutable;

namespace KBroker.Cluster.Metadata;

/// <summary>The finalized feature levels. Immutable.</summary>
/// <param name="Levels">Finalized level by feature name, <c>metadata.version</c> included; a feature at level 0 is
/// absent.</param>
public sealed record FeaturesImage(ImmutableSortedDictionary<string, short> Levels)
{
    /// <summary>No feature finalized.</summary>
    public static readonly FeaturesImage Empty =
        new(ImmutableSortedDictionary.Create<string, short>(StringComparer.Ordinal));

    /// <summary>The finalized <c>metadata.version</c>; 0 before the bootstrap records.</summary>
    public short MetadataVersion => Level(SupportedFeatures.MetadataVersion);

    /// <summary>The finalized level of a feature; 0 when it is not in use.</summary>
    public short Level(string feature) => Levels.GetValueOrDefault(feature);
}

/// <summary>The features KBroker supports: those of Apache Kafka 4.3, with their ranges and names.</summary>
public static class SupportedFeatures
{
    /// <summary>Name of the feature that versions the metadata records.</summary>
    public const string MetadataVersion = "metadata.version";

    /// <summary>Name of the feature that brings eligible leader replicas (KIP-966).</summary>
    public const string EligibleLeaderReplicas = "eligible.leader.replicas.version";

    /// <summary>Name of the feature that versions the quorum (dynamic voters); kept by the quorum itself, not by a
    /// record.</summary>
    public const string KRaftVersion = "kraft.version";

    /// <summary>Name of the feature that brings the consumer group protocol (KIP-848).</summary>
    public const string GroupVersion = "group.version";

    /// <summary>Name of the feature that versions transactions (2: KIP-890).</summary>
    public const string TransactionVersion = "transaction.version";

    /// <summary>Name of the feature that brings share groups (KIP-932).</summary>
    public const string ShareVersion = "share.version";

    /// <summary>Name of the feature that brings streams groups (KIP-1071).</summary>
    public const string StreamsVersion = "streams.version";

    /// <summary>Oldest metadata.version that can be read (3.3-IV3).</summary>
    public const short MinMetadataVersion = 7;

    /// <summary>Newest metadata.version that can be read and written (4.3-IV0).</summary>
    public const short MaxMetadataVersion = 30;

    /// <summary>
    /// The level after it (4.4-IV0), which Apache Kafka 4.3 knows as unstable: its records are those of 4.3-IV0.
    /// </summary>
    public const short UnstableMetadataVersion = 31;

    /// <summary>The supported range of every feature.</summary>
    public static readonly ImmutableSortedDictionary<string, FeatureRange> Ranges =
        ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, new KeyValuePair<string, FeatureRange>[]
        {
            new(MetadataVersion, new(MinMetadataVersion, MaxMetadataVersion)),
            new(EligibleLeaderReplicas, new(0, 1)),
            new(KRaftVersion, new(0, 1)),
            new(GroupVersion, new(0, 1)),
            new(TransactionVersion, new(0, 2)),
            new(ShareVersion, new(0, 1)),
            new(StreamsVersion, new(0, 1)),
        });

    private static readonly ImmutableSortedDictionary<string, FeatureRange> RangesWithUnstable =
        Ranges.SetItem(MetadataVersion, new(MinMetadataVersion, UnstableMetadataVersion));

    /// <summary>The levels a new directory is formatted with: the newest of each feature that is kept in
    /// records.</summary>
    public static readonly ImmutableSortedDictionary<string, short> DefaultLevels =
        Ranges.Where(r => r.Key != KRaftVersion).ToImmutableSortedDictionary(
            r => r.Key, r => r.Value.Max, StringComparer.Ordinal);

    // metadata.version levels by name, oldest first, from level 7 on (KIP-584, KIP-778).
    private static readonly string[] VersionNames =
    [
        "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1",
        "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0",
        "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0", "4.4-IV0",
    ];

    /// <summary>
    /// The supported range of every feature, with the levels Apache Kafka calls unstable or without them.
    /// </summary>
    /// <param name="withUnstable">The value of <c>unstable.feature.versions.enable</c>.</param>
    public static ImmutableSortedDictionary<string, FeatureRange> RangesFor(bool withUnstable) =>
        withUnstable ? RangesWithUnstable : Ranges;

    /// <summary>The release name of a metadata.version level, for example 4.3-IV0; the bare number when it is
    /// unknown.</summary>
    public static string MetadataVersionName(short level)
    {
        var index = level - MinMetadataVersion;
        return index >= 0 && index < VersionNames.Length
            ? VersionNames[index] : level.ToString(System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>
    /// Reads a list such as <c>group.version=1,transaction.version=2</c> over the defaults. A metadata.version may also
    /// be
    /// given by its release name (<c>4.3-IV0</c>).
    /// </summary>
    /// <param name="text">The list, or null for the defaults.</param>
    /// <param name="withUnstable">The value of <c>unstable.feature.versions.enable</c>.</param>
    /// <exception cref="ArgumentException">An unknown feature, or a level that is not supported; the message names
    /// it.</exception>
    public static ImmutableSortedDictionary<string, short> ParseLevels(string? text, bool withUnstable = false)
    {
        var levels = DefaultLevels.ToBuilder();
        foreach (var part in (text ?? "").Split(',',
            StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var split = part.Split('=', 2, StringSplitOptions.TrimEntries);
            if (split.Length != 2)
                throw new ArgumentException($"'{part}' is not of the form feature=level.");
            if (split[0] == KRaftVersion || !RangesFor(withUnstable).TryGetValue(split[0], out var range))
                throw new ArgumentException($"Unknown feature '{split[0]}'.");
            var named = split[0] == MetadataVersion ? Array.IndexOf(VersionNames, split[1]) : -1;
            if (named >= 0 && MinMetadataVersion + named <= range.Max)
                levels[split[0]] = (short)(MinMetadataVersion + named);
            else if (short.TryParse(split[1], out var level) && level >= 0 && (level >= range.Min || level == 0)
                     && level <= range.Max && (level > 0 || split[0] != MetadataVersion))
                levels[split[0]] = level;
            else
                throw new ArgumentException($"Level '{split[1]}' of feature {split[0]} is not in the range {range}.");
        }

        return levels.Where(l => l.Value > 0).ToImmutableSortedDictionary(StringComparer.Ordinal);
    }
}
