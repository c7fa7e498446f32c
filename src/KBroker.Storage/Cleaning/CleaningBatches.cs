using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// Reads the batches of a finished segment one after the other through one buffer, which grows for a batch that is
/// larger and shrinks again with the next segment. Each batch is checked: damage must not be written anew under a good
/// checksum.
/// </summary>
internal sealed class CleaningBatches(int bufferBytes, CleaningThrottle throttle) : IDisposable
{
    private byte[] _buffer = [];
    private LogSegment? _segment;
    private int _end;
    private int _next;
    private int _bufferStart;
    private int _bufferLength;

    /// <summary>The current batch's header.</summary>
    public RecordBatchHeader Header { get; private set; }

    /// <summary>The current batch, valid until the next one.</summary>
    public ReadOnlyMemory<byte> Bytes { get; private set; }

    /// <summary>Bytes read from files.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Starts at a batch of a segment; the segment's file stays open until the next call or the end.</summary>
    /// <exception cref="OperationCanceledException">The segment is gone.</exception>
    public void Open(LogSegment segment, int position)
    {
        Close();
        if (!segment.File.TryAcquire())
            throw new OperationCanceledException($"{segment.File.Path} was deleted.");
        _segment = segment;
        _end = segment.SizeInBytes;
        _next = position;
        _bufferStart = _bufferLength = 0;
        Resize(bufferBytes);
    }

    /// <summary>Goes to the next batch.</summary>
    /// <returns>False at the end of the segment.</returns>
    /// <exception cref="CorruptLogException">No whole batch with a good checksum follows.</exception>
    public bool MoveNext(CancellationToken abort)
    {
        if (_next >= _end)
            return false;
        var at = Available(RecordBatchLayout.HeaderSize, abort);
        if (!RecordBatchHeader.TryParse(at.Span, out var header))
            throw Damaged("the file ends within a batch header");
        if (header.Magic != RecordBatchLayout.CurrentMagic
            || header.BatchLength < RecordBatchLayout.HeaderSize - RecordBatchLayout.LogOverhead
            || header.BatchLength > _end - _next - RecordBatchLayout.LogOverhead
            || header.LastOffsetDelta < 0)
        {
            throw Damaged($"no record batch starts here (magic {header.Magic}, length {header.BatchLength})");
        }

        if (header.SizeInBytes > at.Length)
            at = Available(header.SizeInBytes, abort);
        Bytes = at[..header.SizeInBytes];
        if (Crc32C.Compute(Bytes.Span[RecordBatchLayout.Attributes..]) != header.Crc)
            throw Damaged($"the checksum of the batch with offset {header.BaseOffset} does not hold");
        Header = header;
        _next += header.SizeInBytes;
        return true;
    }

    /// <summary>What to throw when the content of the current batch does not hold.</summary>
    public CorruptLogException Damaged(Exception exception)
    {
        _next -= Bytes.Length;
        return Damaged(exception.Message);
    }

    /// <summary>Lets go of the segment and of a buffer that had grown.</summary>
    public void Close()
    {
        Bytes = default;
        _segment?.File.Release();
        _segment = null;
    }

    public void Dispose()
    {
        Close();
        Resize(0);
    }

    /// <summary>The buffered bytes from the next batch on, at least as many as asked for if there are.</summary>
    private ReadOnlyMemory<byte> Available(int needed, CancellationToken abort)
    {
        var have = _bufferStart + _bufferLength - _next;
        if (have < needed && have < _end - _next)
        {
            abort.ThrowIfCancellationRequested();
            if (needed > _buffer.Length)
                Resize(needed);
            _bufferStart = _next;
            _bufferLength = _segment!.File.File.Read(
                _buffer.AsSpan(0, Math.Min(_buffer.Length, _end - _next)), _next);
            BytesRead += _bufferLength;
            throttle.Take(_bufferLength, abort);
            have = _bufferLength;
        }

        return have < Math.Min(needed, _end - _next)
            ? throw Damaged("the file is shorter than it was")
            : _buffer.AsMemory(_next - _bufferStart, have);
    }

    private void Resize(int bytes)
    {
        if (bytes > 0 && _buffer.Length >= bytes && _buffer.Length <= 2 * (long)bytes)
            return;
        if (_buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = bytes > 0 ? ArrayPool<byte>.Shared.Rent(bytes) : [];
    }

    private CorruptLogException Damaged(string reason) => new(_segment!.File.Path, _next, reason);
}
