using System.Runtime.CompilerServices;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Producers;

/// <summary>
/// Finds in the log the batches of a producer that a snapshot does not tell: it holds only the last one of each, and a
/// client may send again any of the last five.
/// </summary>
/// <remarks>
/// Example: a producer has five batches in flight; the broker has appended and flushed them all, rolled, and dies
/// before it has answered. The next start reads the snapshot of the roll. The client sends the first of the five again,
/// which is then neither the last one nor the next. Without a look into the log it would be out of order, and an
/// idempotent producer would fail for good. A start does not look: it would cost time for every log, and only a client
/// that really comes back this way needs it.
/// </remarks>
internal static class ProducerWindowSearch
{
    /// <summary>How far back a search goes, in bytes of log files whose headers are read.</summary>
    private const int MostBytes = 32 * 1024 * 1024;

    /// <summary>Batches that lie a little before the last one are found by a short search.</summary>
    private const int NearOffsets = 4096;

    /// <summary>Completes what is known of a producer; what cannot be read is not known.</summary>
    /// <param name="state">The producer, of which at least one batch is known.</param>
    /// <param name="segments">The log's segments.</param>
    public static void Complete(ProducerState state, LogSegment[] segments)
    {
        var before = state.First.FirstOffset;
        var needed = ProducerState.WindowBatches - state.Count;
        var found = new List<ProducedBatch>();
        var left = MostBytes;
        for (var i = SegmentList.Floor(segments, before - 1); i >= 0 && found.Count < needed && left > 0; i--)
        {
            var earlier = Search(state, segments[i], before, needed - found.Count, ref left);
            found.InsertRange(0, earlier);
        }

        state.AddOlder(found);
    }

    private static List<ProducedBatch> Search(
        ProducerState state, LogSegment segment, long before, int needed, ref int left)
    {
        try
        {
            var near = segment.OffsetIndex.Lookup(Math.Max(segment.BaseOffset, before - NearOffsets)).Position;
            var found = Scan(state, segment, near, before, needed, ref left);
            return found.Count == needed || near == 0 || segment.SizeInBytes > left
                ? found
                : Scan(state, segment, 0, before, needed, ref left);
        }
        catch (ObjectDisposedException) when (segment.IsClosed)
        {
            return [];
        }
    }

    [SkipLocalsInit]
    private static List<ProducedBatch> Scan(
        ProducerState state, LogSegment segment, int position, long before, int needed, ref int left)
    {
        var found = new List<ProducedBatch>(needed + 1);
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var scanner = new BatchScanner(segment.File.File, position, segment.SizeInBytes, buffer);
        while (scanner.MoveNext() && scanner.Header.BaseOffset < before)
        {
            var header = scanner.Header;
            if (header.ProducerId != state.ProducerId || header.ProducerEpoch != state.Epoch || header.IsControl)
                continue;
            if (found.Count == needed)
                found.RemoveAt(0);
            found.Add(new ProducedBatch(
                header.LastSequence, header.LastOffset, header.LastOffsetDelta, header.MaxTimestamp));
        }

        left -= scanner.NextPosition - position;
        return found;
    }
}
