using KBroker.Protocol.Records;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// Compares the entries of a transaction index, which has no checksum, with the log: each must name the marker at its
/// last offset, and begin with a transactional batch of the same producer unless that was compacted away.
/// </summary>
internal static class TransactionIndexCheck
{
    /// <summary>Whether every entry holds.</summary>
    /// <param name="index">Which segment of the log has the index.</param>
    /// <param name="segments">All segments.</param>
    public static bool IsSound(int index, IReadOnlyList<LogSegment> segments)
    {
        var segment = segments[index];
        if (!segment.TransactionIndex.TryReadWhole(out var entries))
            return false;
        long lastOffset = segment.BaseOffset - 1;
        long stable = -1;
        foreach (var entry in entries)
        {
            if (entry.LastOffset <= lastOffset || entry.LastStableOffset < stable
                || entry.FirstOffset >= entry.LastOffset || entry.LastStableOffset > entry.LastOffset + 1
                || !IsMarker(segment, entry) || !Begins(segments, entry) || !IsStable(segments, entry))
            {
                return false;
            }

            (lastOffset, stable) = (entry.LastOffset, entry.LastStableOffset);
        }

        return true;
    }

    private static bool IsMarker(LogSegment segment, in AbortedTransaction entry) =>
        segment.TryFindBatch(entry.LastOffset, segment.SizeInBytes, out _, out var header)
        && header.BaseOffset == entry.LastOffset && header.IsControl && header.ProducerId == entry.ProducerId;

    private static bool Begins(IReadOnlyList<LogSegment> segments, in AbortedTransaction entry) =>
        entry.FirstOffset >= 0 && (!TryFind(segments, entry.FirstOffset, out var header)
            || header.BaseOffset > entry.FirstOffset
            || (header.BaseOffset == entry.FirstOffset && header.IsTransactional && !header.IsControl
                && header.ProducerId == entry.ProducerId));

    /// <summary>The last stable offset lies behind the marker, or where an open transaction began.</summary>
    private static bool IsStable(IReadOnlyList<LogSegment> segments, in AbortedTransaction entry) =>
        entry.LastStableOffset == entry.LastOffset + 1
        || !TryFind(segments, entry.LastStableOffset, out var header)
        || header.BaseOffset > entry.LastStableOffset
        || (header.BaseOffset == entry.LastStableOffset && header.IsTransactional && !header.IsControl);

    private static bool TryFind(IReadOnlyList<LogSegment> segments, long offset, out RecordBatchHeader header)
    {
        header = default;
        for (var i = segments.Count - 1; i >= 0; i--)
        {
            if (segments[i].BaseOffset <= offset)
                return segments[i].TryFindBatch(offset, segments[i].SizeInBytes, out _, out header);
        }

        return false;
    }
}
