using System.Runtime.CompilerServices;
using KBroker.Protocol.Records;
using KBroker.Storage.Log;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Producers;

/// <summary>
/// Makes producer state from disk: the newest snapshot that holds, then the batches behind it, by their headers.
/// </summary>
internal sealed class ProducerReplay(LogContext context, string path, ProducerStates producers)
{
    /// <summary>Aborted transactions whose markers lie in segments from this base offset on are indexed anew.</summary>
    public long IndexTransactionsFrom { get; init; } = long.MaxValue;

    /// <summary>The last base offset of those segments.</summary>
    public long IndexTransactionsTo { get; init; } = long.MaxValue;

    /// <summary>Names of the files in the directory, where they are known already.</summary>
    public IReadOnlyCollection<string>? FileNames { get; init; }

    /// <summary>Snapshots that cannot be used are left alone, instead of deleted.</summary>
    public bool KeepsSnapshots { get; init; }

    /// <summary>
    /// Whether a snapshot is written where a segment begins, as a roll does: the segments before it may be deleted, and
    /// what they tell of producers must not be lost with the next crash.
    /// </summary>
    public bool WritesSnapshots { get; init; }

    /// <summary>Drops what is known and reads it again.</summary>
    /// <param name="segments">The log's segments.</param>
    /// <param name="endOffset">The log's end.</param>
    /// <param name="maxSnapshotOffset">Newer snapshots are deleted: they may know of batches that are gone.</param>
    /// <returns>The offset of the snapshot used, or -1.</returns>
    public long Run(LogSegment[] segments, long endOffset, long maxSnapshotOffset)
    {
        producers.Clear();
        var snapshot = LoadSnapshot(segments, maxSnapshotOffset);
        var from = Math.Max(snapshot, segments[0].BaseOffset);
        if (from >= endOffset)
            return snapshot;
        for (var i = Math.Max(0, SegmentList.Floor(segments, from)); i < segments.Length; i++)
        {
            if (WritesSnapshots && segments[i].BaseOffset > from)
                WriteSnapshot(segments[i].BaseOffset);
            Replay(segments[i], from);
        }

        return snapshot;
    }

    private long LoadSnapshot(LogSegment[] segments, long maxOffset)
    {
        var minOffset = segments[0].BaseOffset;
        var snapshots = new List<long>();
        foreach (var name in FileNames ?? [.. context.Files.ListFiles(path).Select(static f => f.Name)])
        {
            if (SegmentPaths.TryParse(name, SegmentPaths.Snapshot, out var offset))
                snapshots.Add(offset);
        }

        snapshots.Sort();
        for (var i = snapshots.Count - 1; i >= 0; i--)
        {
            var file = SegmentPaths.Of(path, snapshots[i], SegmentPaths.Snapshot);
            if (snapshots[i] <= maxOffset && snapshots[i] >= minOffset
                && ProducerSnapshotFile.Decode(context.Files.ReadAllBytes(file)) is { } entries)
            {
                producers.Load(entries);
                DeleteStrays(snapshots[..i], segments);
                return snapshots[i];
            }

            if (!KeepsSnapshots)
                context.Files.DeleteFile(file);
        }

        return -1;
    }

    /// <summary>
    /// Deletes what earlier clean closes left, in the midst of segments: as long as a newer one holds, nobody reads
    /// those. A finished segment's stays, for when the log is truncated.
    /// </summary>
    private void DeleteStrays(List<long> older, LogSegment[] segments)
    {
        if (KeepsSnapshots)
            return;
        foreach (var offset in older)
        {
            var floor = SegmentList.Floor(segments, offset);
            if (floor < 0 || segments[floor].BaseOffset != offset)
                context.Files.DeleteFile(SegmentPaths.Of(path, offset, SegmentPaths.Snapshot));
        }
    }

    private void WriteSnapshot(long offset)
    {
        var file = SegmentPaths.Of(path, offset, SegmentPaths.Snapshot);
        ProducerSnapshotFile.Write(context.Files, file, producers.ToSnapshot());
        ProducerSnapshotFile.Flush(context.Files, file);
    }

    [SkipLocalsInit]
    private void Replay(LogSegment segment, long fromOffset)
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var start = fromOffset <= segment.BaseOffset ? 0 : segment.OffsetIndex.Lookup(fromOffset).Position;
        var scanner = new BatchScanner(segment.File.File, start, segment.SizeInBytes, buffer);
        while (scanner.MoveNext())
        {
            if (scanner.Header.LastOffset >= fromOffset && scanner.Header.HasProducerId)
                Follow(segment, scanner.Header, scanner.Position);
        }

        if (scanner.Problem is not null)
            throw new CorruptLogException(segment.File.Path, scanner.NextPosition, scanner.Problem);
    }

    private void Follow(LogSegment segment, in RecordBatchHeader header, int position)
    {
        if (!header.IsControl)
        {
            producers.Append(header);
            return;
        }

        if (FollowMarker(segment, header, position) is { } aborted
            && segment.BaseOffset >= IndexTransactionsFrom && segment.BaseOffset <= IndexTransactionsTo)
        {
            segment.TransactionIndex.Append(aborted);
        }
    }

    private AbortedTransaction? FollowMarker(LogSegment segment, in RecordBatchHeader header, int position)
    {
        var bytes = new byte[header.SizeInBytes];
        if (segment.File.File.Read(bytes, position) != bytes.Length)
            throw new CorruptLogException(segment.File.Path, position, "the file ends within a batch");
        try
        {
            return Markers.Follow(producers, header, new(bytes), context);
        }
        catch (RecordException exception)
        {
            throw new CorruptLogException(segment.File.Path, position, exception.Message);
        }
    }
}
