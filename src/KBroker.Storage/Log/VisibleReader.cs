using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;
using KBroker.Storage.Indexes;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// Reads what consumers may see: batches without hidden records as they lie in the file, and those with some written
/// anew, as compaction does, without the hidden ones.
/// </summary>
/// <remarks>
/// Example: batches at offsets 0-4 (plain), 5-9 (7 is hidden), 10-14 (all hidden), 15-19 (plain). A read from 0 gives
/// the file up to 5, a copy of the batch 5-9 without 7, and the file from 15 on. If the log ended with 14, a read from
/// 10 would have nothing to give, and a client that gets nothing stays where it is: so it gets a filler, a control
/// batch at offset 14 whose type no client knows, and goes on at 15.
/// </remarks>
internal sealed class VisibleReader(LogState state, Func<long, int, long, bool, ReadResult> read)
{
    /// <summary>Type of the control record in a filler, which means nothing to any client.</summary>
    internal const ControlRecordType FillerType = (ControlRecordType)0x4b42;

    private const int PlacesAtOnce = 64;

    /// <summary>How many bytes of hidden batches one read looks at before it answers with what it has.</summary>
    private const int ScanBytesMax = 8 * 1024 * 1024;

    private const int RegionsMax = 1024;

    /// <summary>See <see cref="FlaggedBatches.ReadVisible"/>.</summary>
    public VisibleRead Read(long offset, long hiddenTo, int maxBytes, long maxOffset, bool minOneMessage)
    {
        var from = hiddenTo > offset && hiddenTo <= maxOffset ? hiddenTo : offset;
        var next = from;
        var scanned = 0L;
        for (var regions = 0; ; regions++)
        {
            var found = read(next, Math.Max(maxBytes, 1), maxOffset, minOneMessage);
            if (found.Region is not { } region)
                return next == offset ? new VisibleRead(found, offset, false) : Filler(found, next, isCut: false);
            if (region.Segments[region.Index].FlagIndex.IsEmpty)
                return new VisibleRead(found, next, false);
            var parts = new List<RecordsPart>();
            var place = new Region(region.Segments[region.Index], StartOf(found), region.EndPosition);
            var behind = Build(place, next, found, parts, ref scanned);
            if (parts.Count > 0 || behind is null)
                return new VisibleRead(found with { Records = new Records([.. parts]) }, next, false);
            next = behind.Value;
            if (scanned >= ScanBytesMax || regions >= RegionsMax)
                return Filler(found with { Records = default }, next, isCut: true);
        }
    }

    private static int StartOf(in ReadResult found) =>
        found.Records.TryGetRegion(out var slice) ? ((FileSlice)slice).Position : 0;

    /// <summary>A batch that carries a client on to an offset behind hidden records.</summary>
    private static VisibleRead Filler(in ReadResult found, long next, bool isCut)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions { BaseOffset = next - 1, IsControl = true });
        builder.Append(-1, ControlRecord.Key(FillerType), ReadOnlyMemory<byte>.Empty);
        var records = new Records(builder.Build().ToArray());
        return new VisibleRead(found with { Records = records }, next, isCut) { IsFiller = true };
    }

    /// <summary>Takes a region apart for a reader at an offset; disposes the slice that was read.</summary>
    /// <returns>Where to go on behind the region; null when nothing was hidden.</returns>
    private long? Build(
        in Region region, long offset, in ReadResult found, List<RecordsPart> parts, ref long scanned)
    {
        var isTaken = false;
        try
        {
            var cursor = region.Start;
            long? behind = null;
            var index = region.Segment.FlagIndex;
            Span<FlaggedPlace> places = stackalloc FlaggedPlace[PlacesAtOnce];
            var at = index.FindPosition(region.Start);
            for (int count; (count = index.Read(at, places)) > 0; at += count)
            {
                foreach (ref readonly var place in places[..count])
                {
                    if (place.Position >= region.End)
                        return Finish(region, found, parts, cursor, behind, ref isTaken);
                    if (!place.IsHiding)
                        continue;
                    AddSlice(region, parts, cursor, place.Position);
                    // A batch of which the region has the beginning only comes with the next read.
                    if (place.EndPosition > region.End)
                        return behind;
                    scanned += place.IsAllHidden ? RecordBatchLayout.HeaderSize : place.SizeInBytes;
                    behind = AddVisible(region.Segment, place, offset, parts);
                    cursor = place.EndPosition;
                }
            }

            return Finish(region, found, parts, cursor, behind, ref isTaken);
        }
        catch
        {
            foreach (var part in parts)
                part.Region?.Dispose();
            throw;
        }
        finally
        {
            if (!isTaken)
                found.Records.Dispose();
        }
    }

    /// <summary>Adds what lies behind the last hidden batch; the slice that was read serves where it is all.</summary>
    private static long? Finish(
        in Region region, in ReadResult found, List<RecordsPart> parts, int cursor, long? behind, ref bool isTaken)
    {
        if (cursor == region.Start && found.Records.TryGetRegion(out var whole))
        {
            isTaken = true;
            parts.Add(new RecordsPart(whole));
            return null;
        }

        AddSlice(region, parts, cursor, region.End);
        return behind;
    }

    private static void AddSlice(in Region region, List<RecordsPart> parts, int start, int end)
    {
        if (start >= end)
            return;
        ObjectDisposedException.ThrowIf(!region.Segment.File.TryAcquire(), region.Segment);
        parts.Add(new RecordsPart(new FileSlice(region.Segment.File, start, end - start)));
    }

    /// <summary>
    /// Adds the visible records of a batch, if it has any from an offset on. A reader behind the last of them would get
    /// the same batch again with each fetch, and some clients then go on by one offset only.
    /// </summary>
    /// <returns>The offset behind the batch.</returns>
    private long AddVisible(LogSegment segment, in FlaggedPlace place, long offset, List<RecordsPart> parts)
    {
        if (place.IsAllHidden)
        {
            Span<byte> bytes = stackalloc byte[RecordBatchLayout.HeaderSize];
            segment.File.File.Read(bytes, place.Position);
            return Check(segment, place, bytes).NextOffset;
        }

        var batch = ArrayPool<byte>.Shared.Rent(place.SizeInBytes);
        try
        {
            var length = segment.File.File.Read(batch.AsSpan(0, place.SizeInBytes), place.Position);
            var header = Check(segment, place, batch.AsSpan(0, length));
            using var filter = new RecordBatchFilter(state.Context.Codecs, state.Context.MaxDecompressedBytes);
            var judge = new Visible { LastVisible = -1 };
            filter.Judge(batch.AsMemory(0, place.SizeInBytes), ref judge);
            if (judge.LastVisible >= offset)
            {
                // Snappy has two framings, and some clients read only the one that they write.
                var cleared = header.Compression == CompressionType.Snappy
                    ? RecordBatchAttributes.PrivateMask | RecordBatchAttributes.CompressionMask
                    : RecordBatchAttributes.PrivateMask;
                var visible = filter.Build(null, cleared).ToArray();
                parts.Add(new RecordsPart(new ReadOnlySequence<byte>(visible)));
            }

            return header.NextOffset;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(batch);
        }
    }

    private RecordBatchHeader Check(LogSegment segment, in FlaggedPlace place, ReadOnlySpan<byte> bytes)
    {
        if (RecordBatchHeader.TryParse(bytes, out var header) && header.BaseOffset == place.BaseOffset
            && header.SizeInBytes == place.SizeInBytes && header.Attributes == place.Attributes)
        {
            return header;
        }

        // The file has no checksum, and may come from a directory that Kafka has worked on meanwhile.
        lock (state.Lock)
            segment.RebuildFlagIndex(segment.SizeInBytes);
        throw new StaleIndexException();
    }

    private readonly record struct Region(LogSegment Segment, int Start, int End);

    private struct Visible : IRecordFilter
    {
        /// <summary>Offset of the last record that is visible; -1 without one.</summary>
        public required long LastVisible { get; set; }

        public readonly void Foresee(int slot, in RecordView record)
        {
        }

        public bool Keep(int slot, in RecordBatchHeader header, in RecordView record)
        {
            if (record.HeadersCount > 0
                && DeliveryRequest.Parse(record.Headers, record.HeadersCount).Hides(record.Timestamp))
            {
                return false;
            }

            LastVisible = record.Offset;
            return true;
        }
    }
}

/// <summary>An index of flagged batches did not fit its log and was made anew; who went by it begins again.</summary>
internal sealed class StaleIndexException : Exception;
