using System.Runtime.CompilerServices;
using KBroker.Protocol.Records;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// Compares the leader epochs of <c>leader-epoch-checkpoint</c>, which has no checksum, with those in the batches, and
/// makes them anew from the batches.
/// </summary>
/// <remarks>
/// Looked at are the last batch, and for each entry the batch where it begins and the one before. So it costs a few
/// reads a log, and a wrong epoch or a wrong start of one is found where there are records to show it.
/// </remarks>
internal static class EpochCheck
{
    /// <summary>Whether the epochs agree with the batches.</summary>
    public static bool IsSound(
        EpochCache epochs, List<LogSegment> segments, in RecordBatchHeader? last, long startOffset)
    {
        // Where everything was deleted, the epoch of what is to come stands alone.
        if (last is not { } header || header.PartitionLeaderEpoch < 0 || header.NextOffset <= startOffset)
            return true;
        var entries = epochs.Entries;
        if (epochs.EpochOf(Math.Max(header.BaseOffset, startOffset)) != header.PartitionLeaderEpoch)
            return false;
        for (var i = 0; i < entries.Count; i++)
        {
            var (epoch, start) = entries[i];
            if (i > 0 && (epoch <= entries[i - 1].Epoch || start <= entries[i - 1].StartOffset))
                return false;
            if (start >= header.NextOffset || start < startOffset)
                continue;
            // Compaction may have removed the batch where the epoch began; then the next one may be of a later epoch.
            if (EpochAt(segments, start) is { } there && there < epoch)
                return false;
            if (start > startOffset && EpochAt(segments, start - 1, atOnce: true) is { } before
                && (before >= epoch || (i == 0 && before >= 0)))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether a batch of a new epoch begins at an offset.</summary>
    public static bool BeginsAt(List<LogSegment> segments, long offset) =>
        EpochAt(segments, offset) is not { } there || EpochAt(segments, offset - 1, atOnce: true) != there;

    /// <summary>Takes the epochs from the headers of all batches.</summary>
    [SkipLocalsInit]
    public static void Rebuild(EpochCache epochs, List<LogSegment> segments)
    {
        epochs.Clear();
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        foreach (var segment in segments)
        {
            var scanner = new BatchScanner(segment.File.File, 0, segment.SizeInBytes, buffer);
            while (scanner.MoveNext())
                epochs.Assign(scanner.Header.PartitionLeaderEpoch, scanner.Header.BaseOffset);
        }
    }

    /// <summary>Epoch of the first batch that reaches an offset; null when there is none, or not at once.</summary>
    private static int? EpochAt(List<LogSegment> segments, long offset, bool atOnce = false)
    {
        for (var i = Math.Max(0, segments.FindLastIndex(s => s.BaseOffset <= offset)); i < segments.Count; i++)
        {
            if (!segments[i].TryFindBatch(offset, segments[i].SizeInBytes, out _, out var header))
                continue;
            return !atOnce || header.BaseOffset <= offset ? header.PartitionLeaderEpoch : null;
        }

        return null;
    }
}
