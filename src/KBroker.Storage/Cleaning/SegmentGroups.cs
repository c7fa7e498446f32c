using KBroker.Storage.Indexes;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// Puts segments that were made small by compaction together, so that a log does not end as many tiny files.
/// </summary>
internal static class SegmentGroups
{
    /// <summary>Forms groups; each becomes one segment.</summary>
    /// <param name="segments">The segments to clean, in order.</param>
    /// <param name="endOffset">The offset behind the last of them.</param>
    /// <param name="config">The log's configs, which bound size and indexes of a segment.</param>
    /// <returns>The groups, in order.</returns>
    public static List<List<LogSegment>> Of(IReadOnlyList<LogSegment> segments, long endOffset, LogConfig config)
    {
        var groups = new List<List<LogSegment>>();
        long size = 0, offsetIndex = 0, timeIndex = 0;
        for (var i = 0; i < segments.Count; i++)
        {
            var segment = segments[i];
            var end = i + 1 < segments.Count ? segments[i + 1].BaseOffset : endOffset;
            var offsetBytes = (long)segment.OffsetIndex.Count * OffsetIndex.EntrySize;
            var timeBytes = (long)segment.TimeIndex.Count * TimeIndex.EntrySize;
            var fits = groups.Count > 0
                && size + segment.SizeInBytes <= config.SegmentBytes
                && offsetIndex + offsetBytes <= config.SegmentIndexBytes
                && timeIndex + timeBytes <= config.SegmentIndexBytes
                && (segment.SizeInBytes == 0 || end - 1 - groups[^1][0].BaseOffset <= int.MaxValue);
            if (!fits)
            {
                groups.Add([]);
                size = offsetIndex = timeIndex = 0;
            }

            groups[^1].Add(segment);
            size += segment.SizeInBytes;
            offsetIndex += offsetBytes;
            timeIndex += timeBytes;
        }

        return groups;
    }
}
