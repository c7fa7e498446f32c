using KBroker.Protocol.Records;

namespace KBroker.Storage;

/// <summary>
/// What a read found: a region of a file, not bytes. Dispose <see cref="Records"/> once, sent or not.
/// </summary>
public readonly record struct ReadResult
{
    /// <summary>
    /// From the start of the batch that holds the offset asked for, which may begin before it; may end within a batch,
    /// as Kafka's does. Empty when nothing is to be read.
    /// </summary>
    public Records Records { get; init; }

    /// <summary>Base offset of the first batch, or the offset asked for when there is none.</summary>
    public long FirstBatchOffset { get; init; }

    /// <summary>There is a batch, but it is larger than the bytes allowed, so nothing is given.</summary>
    public bool FirstBatchTooLarge { get; init; }

    /// <summary>The segments of the log at that moment, of which the region lies in one, and where it ends.</summary>
    internal ReadRegion? Region { get; init; }

    /// <summary>The log's first offset at that moment.</summary>
    public long LogStartOffset { get; init; }

    /// <summary>The log's end offset at that moment.</summary>
    public long LogEndOffset { get; init; }
}

/// <summary>Where a read found its region.</summary>
/// <param name="Segments">The segments of the log.</param>
/// <param name="Index">The one that holds the region.</param>
/// <param name="EndPosition">The first byte behind the region.</param>
internal readonly record struct ReadRegion(Segments.LogSegment[] Segments, int Index, int EndPosition)
{
    /// <summary>An offset above all that the region holds.</summary>
    public long OffsetBound => Segments[Index].OffsetIndex.OffsetBehind(EndPosition)
        ?? (Index + 1 < Segments.Length ? Segments[Index + 1].BaseOffset : long.MaxValue);
}

/// <summary>A record found by its timestamp.</summary>
/// <param name="Timestamp">ms since 1970.</param>
/// <param name="Offset">Its offset.</param>
/// <param name="LeaderEpoch">Leader epoch of its batch, or -1.</param>
public readonly record struct TimestampOffset(long Timestamp, long Offset, int LeaderEpoch);

/// <summary>Where a leader epoch ends.</summary>
/// <param name="Epoch">The largest known epoch not above the one asked for; -1 when unknown.</param>
/// <param name="EndOffset">The first offset behind it; -1 when unknown.</param>
public readonly record struct EpochEndOffset(int Epoch, long EndOffset)
{
    /// <summary>Nothing is known.</summary>
    public static EpochEndOffset Unknown => new(-1, -1);
}

/// <summary>What a consumer may see of a log: see <see cref="FlaggedBatches.ReadVisible"/>.</summary>
/// <param name="Read">The records and where they come from.</param>
/// <param name="HiddenTo">All records from the offset asked for up to this one are hidden; the offset itself where the
/// first one is not.</param>
/// <param name="IsCut">There may be more behind that, but enough was looked at for once.</param>
public readonly record struct VisibleRead(ReadResult Read, long HiddenTo, bool IsCut)
{
    /// <summary>The records are a filler alone, which carries a client behind hidden ones.</summary>
    public bool IsFiller { get; init; }
}

/// <summary>A batch that has one of the broker's private attribute bits.</summary>
/// <param name="BaseOffset">Offset of its first record.</param>
/// <param name="Attributes">Its attributes.</param>
/// <param name="SizeInBytes">Its bytes.</param>
public readonly record struct FlaggedBatch(long BaseOffset, RecordBatchAttributes Attributes, int SizeInBytes);

/// <summary>What became of the transaction that a record was written in.</summary>
public enum TransactionFate
{
    /// <summary>No marker came yet.</summary>
    Open,

    /// <summary>It was committed.</summary>
    Committed,

    /// <summary>It was aborted.</summary>
    Aborted,
}
