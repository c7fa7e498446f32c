using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Cluster.Replication;

/// <summary>The outcome of an append to a partition.</summary>
/// <param name="Error">The error to answer, or <see cref="ErrorCode.None"/>.</param>
/// <param name="Append">What the log did; its offsets are -1 when it was not asked.</param>
/// <param name="Message">Why it was refused, for the client; null when it was not.</param>
public readonly record struct PartitionAppend(ErrorCode Error, AppendResult Append, string? Message = null)
{
    /// <summary>An append that was refused before it reached the log.</summary>
    /// <param name="error">The error.</param>
    /// <param name="message">Why.</param>
    /// <returns>The outcome.</returns>
    public static PartitionAppend Refused(ErrorCode error, string? message = null) =>
        new(
            error,
            new AppendResult { FirstOffset = -1, LastOffset = -1, LogAppendTimeMs = -1, LogStartOffset = -1 },
            message);
}

/// <summary>The outcome of a read of a partition, with the offsets that every fetch answer carries.</summary>
public readonly record struct PartitionRead
{
    /// <summary>The error to answer, or <see cref="ErrorCode.None"/>.</summary>
    public ErrorCode Error { get; init; }

    /// <summary>The records; whoever takes them disposes them.</summary>
    public Records Records { get; init; }

    /// <summary>
    /// The aborted transactions of which records may be among <see cref="Records"/>; of a read up to the last stable
    /// offset only.
    /// </summary>
    public IReadOnlyList<AbortedTransaction> AbortedTransactions { get; init; }

    /// <summary>The high watermark at the time of the read, or -1 after an error.</summary>
    public long HighWatermark { get; init; }

    /// <summary>The last stable offset, or -1 after an error.</summary>
    public long LastStableOffset { get; init; }

    /// <summary>The log start offset, or -1 after an error.</summary>
    public long LogStartOffset { get; init; }

    /// <summary>All records from the offset read up to this one are hidden from consumers.</summary>
    public long HiddenTo { get; init; }

    /// <summary>There may be visible records behind the hidden ones, but enough was looked at for once.</summary>
    public bool IsCut { get; init; }

    /// <summary>
    /// <see cref="Records"/> are a filler alone: it carries a consumer behind hidden records, and is not worth an
    /// answer before its time.
    /// </summary>
    public bool IsFiller { get; init; }

    /// <summary>Where the follower's log parts from this one (KIP-595), or null.</summary>
    public EpochEndOffset? Diverging { get; init; }

    /// <summary>A read that failed.</summary>
    /// <param name="error">The error.</param>
    /// <returns>The outcome, without offsets.</returns>
    public static PartitionRead Failed(ErrorCode error) =>
        new() { Error = error, HighWatermark = -1, LastStableOffset = -1, LogStartOffset = -1 };
}

/// <summary>The outcome of a lookup of an offset.</summary>
/// <param name="Error">The error to answer, or <see cref="ErrorCode.None"/>.</param>
/// <param name="Timestamp">The record's timestamp in epoch milliseconds, or -1 where the lookup was not for
/// one.</param>
/// <param name="Offset">The offset, or -1 when no record fits.</param>
/// <param name="LeaderEpoch">The leader epoch of the offset, or -1.</param>
public readonly record struct PartitionOffset(ErrorCode Error, long Timestamp, long Offset, int LeaderEpoch)
{
    /// <summary>A lookup that failed.</summary>
    /// <param name="error">The error.</param>
    /// <returns>The outcome.</returns>
    public static PartitionOffset Failed(ErrorCode error) => new(error, -1, -1, -1);
}

/// <summary>The timestamps of ListOffsets that ask for a place in the log instead of a time.</summary>
public static class SpecialTimestamps
{
    /// <summary>The end of what the reader may see.</summary>
    public const long Latest = -1;

    /// <summary>The log start offset.</summary>
    public const long Earliest = -2;

    /// <summary>The record with the highest timestamp (KIP-734).</summary>
    public const long MaxTimestamp = -3;

    /// <summary>
    /// The first offset on the broker's own disk (KIP-405); nothing is tiered here, so the log start offset.
    /// </summary>
    public const long EarliestLocal = -4;

    /// <summary>The last offset in tiered storage (KIP-1005); nothing is tiered here, so none.</summary>
    public const long LatestTiered = -5;

    /// <summary>The first offset not yet uploaded to tiered storage (KIP-1023); nothing is tiered here.</summary>
    public const long EarliestPendingUpload = -6;
}
