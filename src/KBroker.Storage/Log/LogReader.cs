using KBroker.Protocol.Records;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>Plans reads of a log: from an offset to a region of a file, without reading records.</summary>
internal sealed class LogReader(TopicPartition partition, SegmentList segments, LogEnd end)
{
    private const int MaxAttempts = 16;

    /// <summary>See <see cref="PartitionLog.Read"/>.</summary>
    public ReadResult Read(long offset, int maxBytes, long maxOffset, bool minOneMessage, Func<long> logStartOffset)
    {
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                return TryRead(offset, maxBytes, maxOffset, minOneMessage, logStartOffset());
            }
            catch (ObjectDisposedException) when (attempt < MaxAttempts)
            {
                // The segment was deleted between finding and opening it; the list has changed by now.
                Thread.Yield();
            }
        }
    }

    /// <summary>The place of an offset: where the batch that holds it starts, or the end.</summary>
    public LogEnd.Boundary Translate(long offset)
    {
        return end.TryFind(offset, out var boundary, out _) && boundary.Offset == offset
            ? boundary
            : Locate(segments.All, offset);
    }

    private static bool IsIn(LogSegment[] all, LogSegment segment)
    {
        var index = SegmentList.Floor(all, segment.BaseOffset);
        return index >= 0 && ReferenceEquals(all[index], segment);
    }

    private static LogEnd.Boundary Locate(LogSegment[] all, long offset)
    {
        var index = Math.Max(0, SegmentList.Floor(all, offset));
        for (; index < all.Length; index++)
        {
            var segment = all[index];
            if (segment.TryFindBatch(offset, segment.SizeInBytes, out var position, out _))
                return new LogEnd.Boundary(offset, segment, position);
        }

        return new LogEnd.Boundary(offset, all[^1], all[^1].SizeInBytes);
    }

    private ReadResult TryRead(long offset, int maxBytes, long maxOffset, bool minOneMessage, long logStartOffset)
    {
        var known = end.TryFind(maxOffset, out var bound, out var endOffset);
        if (offset < logStartOffset || offset > endOffset)
        {
            throw new OffsetOutOfRangeException(
                $"Offset {offset} of {partition} is outside {logStartOffset} to {endOffset}.");
        }

        var empty = new ReadResult
        {
            FirstBatchOffset = offset,
            LogStartOffset = logStartOffset,
            LogEndOffset = endOffset,
        };
        if (offset >= Math.Min(maxOffset, endOffset))
            return empty;
        var all = segments.All;
        // A bound within a segment that compaction has just replaced says nothing of the new one.
        if (!known || !IsIn(all, bound.Segment))
            bound = Locate(all, maxOffset);
        for (var i = Math.Max(0, SegmentList.Floor(all, offset)); i < all.Length; i++)
        {
            var segment = all[i];
            if (segment.BaseOffset > bound.Segment.BaseOffset)
                break;
            var limit = ReferenceEquals(segment, bound.Segment) ? bound.Position : segment.SizeInBytes;
            ObjectDisposedException.ThrowIf(!segment.File.TryAcquire(), segment);
            var slice = Plan(segment, offset, limit, maxBytes, minOneMessage, out var header, out var isTooLarge);
            if (slice is not null)
            {
                return empty with
                {
                    Records = new Records(slice),
                    FirstBatchOffset = header.BaseOffset,
                    Region = new ReadRegion(all, i, (int)slice.Position + slice.Length),
                };
            }

            if (isTooLarge)
                return empty with { FirstBatchOffset = header.BaseOffset, FirstBatchTooLarge = true };
        }

        return empty;
    }

    /// <summary>Plans within one segment. Gives the file's reference to the slice, or back.</summary>
    private static FileSlice? Plan(
        LogSegment segment,
        long offset,
        int limit,
        int maxBytes,
        bool minOneMessage,
        out RecordBatchHeader header,
        out bool isTooLarge)
    {
        FileSlice? slice = null;
        isTooLarge = false;
        try
        {
            if (!segment.TryFindBatch(offset, limit, out var position, out header))
                return null;
            isTooLarge = !minOneMessage && header.SizeInBytes > maxBytes;
            if (!isTooLarge)
            {
                var length = Math.Min(limit - position, Math.Max(maxBytes, header.SizeInBytes));
                slice = new FileSlice(segment.File, position, length);
            }

            return slice;
        }
        finally
        {
            if (slice is null)
                segment.File.Release();
        }
    }
}
