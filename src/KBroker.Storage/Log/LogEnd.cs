using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// The end of a log: its offset, and the segment and position where it lies, changed and read as one. It remembers the
/// last few ends too, because a reader's bound (the high watermark) is nearly always one of them, and so needs no
/// look into an index.
/// </summary>
internal sealed class LogEnd
{
    private const int Remembered = 16;
    private readonly Lock _lock = new();
    private readonly Boundary[] _recent = new Boundary[Remembered];
    private int _next;
    private long _offset;

    /// <summary>The offset that the next record gets.</summary>
    public long Offset => Volatile.Read(ref _offset);

    /// <summary>Moves the end.</summary>
    public void Set(long offset, LogSegment segment, int position)
    {
        lock (_lock)
        {
            _recent[_next] = new Boundary(offset, segment, position);
            _next = (_next + 1) % Remembered;
            Volatile.Write(ref _offset, offset);
        }
    }

    /// <summary>Moves the end back, or to a new place: what was remembered does not hold any more.</summary>
    public void Reset(long offset, LogSegment segment, int position)
    {
        lock (_lock)
        {
            Array.Clear(_recent);
            Set(offset, segment, position);
        }
    }

    /// <summary>Where the records below an offset end.</summary>
    /// <param name="maxOffset">The offset; the end itself when it lies behind it.</param>
    /// <param name="boundary">The place, when it is remembered.</param>
    /// <param name="endOffset">The log's end at this moment.</param>
    /// <returns>Whether the place is remembered.</returns>
    public bool TryFind(long maxOffset, out Boundary boundary, out long endOffset)
    {
        lock (_lock)
        {
            endOffset = _offset;
            var offset = Math.Min(maxOffset, endOffset);
            for (var i = 1; i <= Remembered; i++)
            {
                boundary = _recent[(_next - i + Remembered) % Remembered];
                if (boundary.Segment is null)
                    break;
                if (boundary.Offset == offset)
                    return true;
            }

            boundary = default;
            return false;
        }
    }

    /// <summary>A place between two batches.</summary>
    /// <param name="Offset">Offset of the first record behind it.</param>
    /// <param name="Segment">The segment.</param>
    /// <param name="Position">Where in the segment, in bytes.</param>
    internal readonly record struct Boundary(long Offset, LogSegment Segment, int Position);
}
