using System.Buffers;
using System.Runtime.CompilerServices;
using KBroker.Protocol.Records;
using KBroker.Storage.Indexes;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>Finds records by their timestamp, exact to the record, also inside compressed batches.</summary>
internal sealed class TimestampLookup(SegmentList segments, CompressionCodecs codecs, int maxDecompressedBytes)
{
    /// <summary>The first record at or behind the log start whose timestamp is at or above a time.</summary>
    public TimestampOffset? Find(long timestamp, long logStartOffset)
    {
        foreach (var segment in segments.All)
        {
            if (segment.MaxTimestamp.Timestamp < timestamp)
                continue;
            // Records up to this entry's offset are older, so the search starts there.
            var entry = segment.TimeIndex.Lookup(timestamp - 1);
            var from = IsTrue(segment, entry, timestamp)
                ? PositionOf(segment, Math.Max(entry.Offset, logStartOffset))
                : 0;
            if (FindInSegment(segment, from, timestamp, logStartOffset) is { } found)
                return found;
        }

        return null;
    }

    /// <summary>The first record that has the largest timestamp of the log.</summary>
    public TimestampOffset? FindMax(long logStartOffset)
    {
        LogSegment? latest = null;
        foreach (var segment in segments.All)
        {
            if (segment.MaxTimestamp.Timestamp >= 0
                && segment.MaxTimestamp.Timestamp > (latest?.MaxTimestamp.Timestamp ?? -1))
            {
                latest = segment;
            }
        }

        if (latest is null)
            return null;
        var max = latest.MaxTimestamp;
        var from = PositionOf(latest, max.Offset);
        return FindInSegment(latest, from, max.Timestamp, logStartOffset);
    }

    /// <summary>An index has no checksum, so the batch that an entry names must have the entry's timestamp.</summary>
    private static bool IsTrue(LogSegment segment, TimeIndexEntry entry, long timestamp) =>
        entry.Timestamp < 0
        || (entry.Timestamp < timestamp
            && segment.TryFindBatch(entry.Offset, segment.SizeInBytes, out _, out var header)
            && header.BaseOffset <= entry.Offset && header.MaxTimestamp == entry.Timestamp);

    private static int PositionOf(LogSegment segment, long offset) =>
        segment.TryFindBatch(offset, segment.SizeInBytes, out var position, out _) ? position : 0;

    [SkipLocalsInit]
    private TimestampOffset? FindInSegment(LogSegment segment, int from, long timestamp, long logStartOffset)
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var scanner = new BatchScanner(segment.File.File, from, segment.SizeInBytes, buffer);
        while (scanner.MoveNext())
        {
            var header = scanner.Header;
            if (header.MaxTimestamp < timestamp || header.LastOffset < logStartOffset)
                continue;
            if (FindInBatch(segment, scanner.Position, header, timestamp, logStartOffset) is { } found)
                return found;
        }

        if (scanner.Problem is not null)
        {
            throw new CorruptRecordException(
                $"{segment.File.Path} is damaged at {scanner.NextPosition}: {scanner.Problem}.");
        }

        return null;
    }

    private TimestampOffset? FindInBatch(
        LogSegment segment, int position, in RecordBatchHeader header, long timestamp, long logStartOffset)
    {
        var bytes = ArrayPool<byte>.Shared.Rent(header.SizeInBytes);
        try
        {
            var batch = bytes.AsMemory(0, header.SizeInBytes);
            if (segment.File.File.Read(batch.Span, position) != batch.Length)
                throw new EndOfStreamException($"{segment.File.Path} ends within the batch at {position}.");
            using var reader = new RecordBatchReader(batch, codecs, maxDecompressedBytes);
            while (reader.TryRead(out var record))
            {
                if (record.Timestamp >= timestamp && record.Offset >= logStartOffset)
                    return new TimestampOffset(record.Timestamp, record.Offset, header.PartitionLeaderEpoch);
            }

            return null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }
}
