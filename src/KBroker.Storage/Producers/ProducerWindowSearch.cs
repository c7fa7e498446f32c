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

    /// <summary>
    /// Where the last five batches of producers begin, of which not all are remembered. One look at the end of the log
    /// serves all of them.
    /// </summary>
    /// <param name="states">The producers, of each of which at least one batch is known; nobody changes them.</param>
    /// <param name="segments">The log's segments.</param>
    /// <returns>For each producer the last offset of the oldest of these batches.</returns>
    public static Dictionary<long, long> FindOldest(IReadOnlyCollection<ProducerState> states, LogSegment[] segments)
    {
        var found = states.ToDictionary(static s => s.ProducerId, static s => (State: s, Older: new Queue<long>()));
        var left = MostBytes;
        var first = segments.Length;
        while (first > 0 && left > 0)
            left -= segments[--first].SizeInBytes;
        for (var i = first; i < segments.Length && found.Count > 0; i++)
        {
            try
            {
                // Of a segment that is too large the end alone is looked at.
                var from = i == first && left < 0 ? segments[i].OffsetIndex.Lookup(NearEnd(segments, i)).Position : 0;
                Follow(segments[i], from, found);
            }
            catch (ObjectDisposedException) when (segments[i].IsClosed)
            {
                // Deleted meanwhile.
            }
        }

        return found.ToDictionary(
            static f => f.Key,
            static f => f.Value.Older.TryPeek(out var oldest) ? oldest : f.Value.State.First.LastOffset);
    }

    private static long NearEnd(LogSegment[] segments, int index)
    {
        var next = index + 1 < segments.Length ? segments[index + 1].BaseOffset : long.MaxValue;
        return Math.Max(
            segments[index].BaseOffset, Math.Min(next, segments[index].OffsetIndex.Last.Offset) - NearOffsets);
    }

    [SkipLocalsInit]
    private static void Follow(
        LogSegment segment, int position, Dictionary<long, (ProducerState State, Queue<long> Older)> found)
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var scanner = new BatchScanner(segment.File.File, position, segment.SizeInBytes, buffer);
        while (scanner.MoveNext())
        {
            var header = scanner.Header;
            if (!header.HasProducerId || header.IsControl
                || !found.TryGetValue(header.ProducerId, out var producer)
                || header.ProducerEpoch != producer.State.Epoch
                || header.BaseOffset >= producer.State.First.FirstOffset)
            {
                continue;
            }

            producer.Older.Enqueue(header.LastOffset);
            if (producer.Older.Count > ProducerState.WindowBatches - producer.State.Count)
                producer.Older.Dequeue();
        }
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
