using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Segments;

/// <summary>
/// Walks over the batch headers of a log file without reading what lies between them. It reads in chunks of its
/// buffer, so
/// small batches come many to a read, and a batch larger than the buffer costs one read.
/// </summary>
/// <param name="file">The log file.</param>
/// <param name="position">Where a batch starts, in bytes.</param>
/// <param name="end">Where to stop, in bytes.</param>
/// <param name="buffer">At least a header's size.</param>
internal ref struct BatchScanner(IStorageFile file, int position, int end, Span<byte> buffer)
{
    /// <summary>A good size of the buffer for a lookup: the distance of two index entries.</summary>
    public const int LookupBufferBytes = 4096;

    private readonly Span<byte> _buffer = buffer;
    private int _bufferStart;
    private int _bufferLength;
    private int _next = position;
    private RecordBatchHeader _header;

    /// <summary>Where the current batch starts.</summary>
    public int Position { get; private set; }

    /// <summary>Where the scan goes on: behind the current batch.</summary>
    public readonly int NextPosition => _next;

    /// <summary>What stopped the scan before the end; null when nothing did.</summary>
    public string? Problem { get; private set; }

    /// <summary>The current header.</summary>
    public readonly RecordBatchHeader Header => _header;

    /// <summary>Goes to the next batch.</summary>
    /// <returns>False at the end, or where no whole batch follows (<see cref="Problem"/> says why).</returns>
    public bool MoveNext()
    {
        if (Problem is not null || _next >= end)
            return false;
        if (end - _next < RecordBatchLayout.HeaderSize)
            return Stop($"{end - _next} bytes are too few for a batch header");
        if (_next < _bufferStart || _next + RecordBatchLayout.HeaderSize > _bufferStart + _bufferLength)
        {
            _bufferStart = _next;
            _bufferLength = file.Read(_buffer[..Math.Min(_buffer.Length, end - _next)], _next);
        }

        if (!RecordBatchHeader.TryParse(_buffer[(_next - _bufferStart).._bufferLength], out _header))
            return Stop("the file ends within a batch header");
        if (_header.Magic is not RecordBatchLayout.CurrentMagic)
            return Stop($"magic {_header.Magic} is not {RecordBatchLayout.CurrentMagic}");
        if (_header.BatchLength < RecordBatchLayout.HeaderSize - RecordBatchLayout.LogOverhead
            || _header.BatchLength > int.MaxValue - RecordBatchLayout.LogOverhead)
        {
            return Stop($"a batch length of {_header.BatchLength} is impossible");
        }

        if (_header.SizeInBytes > end - _next)
            return Stop($"a batch of {_header.SizeInBytes} bytes does not fit into the {end - _next} left");
        if (_header.LastOffsetDelta < 0 || _header.BaseOffset < 0)
            return Stop($"offsets {_header.BaseOffset} to {_header.LastOffset} are impossible");
        Position = _next;
        _next += _header.SizeInBytes;
        return true;
    }

    private bool Stop(string problem)
    {
        Problem = problem;
        return false;
    }
}
