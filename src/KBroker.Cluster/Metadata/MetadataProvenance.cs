namespace KBroker.Cluster.Metadata;

/// <summary>Where in the metadata log an image stands.</summary>
/// <param name="LastContainedOffset">Offset of the last record the image contains; -1 for the empty image.</param>
/// <param name="LastContainedEpoch">Leader epoch of that record; -1 for the empty image.</param>
/// <param name="LastContainedTimestampMs">Append time of that record in milliseconds since the Unix epoch; -1 when
/// unknown.</param>
public readonly record struct MetadataProvenance(
    long LastContainedOffset, int LastContainedEpoch, long LastContainedTimestampMs)
{
    /// <summary>The provenance of the empty image.</summary>
    public static readonly MetadataProvenance Empty = new(-1, -1, -1);
}
