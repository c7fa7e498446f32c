namespace KBroker.Storage.Segments;

/// <summary>
/// The segments of a log, by base offset. A change makes a new array, so readers need no lock and see one state;
/// changes are made under the log's lock.
/// </summary>
internal sealed class SegmentList(LogSegment[] segments)
{
    private LogSegment[] _segments = segments;

    /// <summary>All segments, oldest first; never empty once the log is open.</summary>
    public LogSegment[] All => Volatile.Read(ref _segments);

    /// <summary>The one appended to.</summary>
    public LogSegment Active => All[^1];

    /// <summary>The index of the last segment that starts at or below an offset; -1 for none.</summary>
    public static int Floor(LogSegment[] segments, long offset)
    {
        int low = -1, high = segments.Length - 1;
        while (low < high)
        {
            var middle = (low + high + 1) >> 1;
            if (segments[middle].BaseOffset <= offset)
                low = middle;
            else
                high = middle - 1;
        }

        return low;
    }

    public void Add(LogSegment segment) => Volatile.Write(ref _segments, [.. _segments, segment]);

    public void Replace(LogSegment[] replacement) => Volatile.Write(ref _segments, replacement);
}
