using KBroker.Protocol.Records;
using KBroker.Storage.Indexes;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>Lists the flagged batches of a log, by the indexes of its segments alone.</summary>
internal sealed class FlaggedReader(LogState state)
{
    private const int PlacesAtOnce = 64;

    /// <summary>See <see cref="FlaggedBatches.List"/>.</summary>
    public long Read(
        long offset, long endOffset, int maxCount, bool withBatchAround, List<FlaggedBatch> batches)
    {
        Span<FlaggedPlace> places = stackalloc FlaggedPlace[PlacesAtOnce];
        var all = state.Segments.All;
        for (var i = Math.Max(0, SegmentList.Floor(all, offset)); i < all.Length; i++)
        {
            var index = all[i].FlagIndex;
            if (index.IsEmpty)
                continue;
            var at = index.FindOffset(offset);
            if (withBatchAround && at > 0 && Holds(all[i], at - 1, offset))
                at--;
            for (int count; (count = index.Read(at, places)) > 0; at += count)
            {
                foreach (ref readonly var place in places[..count])
                {
                    if (place.BaseOffset >= endOffset)
                        return endOffset;
                    if (batches.Count == maxCount)
                        return place.BaseOffset;
                    batches.Add(new FlaggedBatch(place.BaseOffset, place.Attributes, place.SizeInBytes));
                }
            }
        }

        return endOffset;
    }

    /// <summary>Whether a batch that begins before an offset holds it.</summary>
    private static bool Holds(LogSegment segment, int index, long offset)
    {
        Span<FlaggedPlace> place = stackalloc FlaggedPlace[1];
        Span<byte> bytes = stackalloc byte[RecordBatchLayout.HeaderSize];
        return segment.FlagIndex.Read(index, place) == 1
            && segment.File.File.Read(bytes, place[0].Position) == bytes.Length
            && RecordBatchHeader.TryParse(bytes, out var header)
            && header.LastOffset >= offset;
    }
}
