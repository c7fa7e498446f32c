using System.Buffers;

namespace KBroker.Protocol.Records;

/// <summary>Reads the records of one batch, one by one; strict about every length and count. Not thread-safe.</summary>
/// <remarks>
/// <code>
/// using var reader = new RecordBatchReader(batch, codecs, maxDecompressedBytes);
/// while (reader.TryRead(out var record)) { ... }
/// </code>
/// The records of an uncompressed batch point into the caller's memory (a record that spans segments is copied
/// first). Those of a compressed batch point into a pooled buffer and must not be used once the reader is disposed.
/// </remarks>
public sealed class RecordBatchReader : IDisposable
{
    private readonly RecordBatchHeader _header;
    private readonly PooledBuffer? _decompressed;
    private readonly ReadOnlySequence<byte> _records;
    private ReadOnlySequence<byte> _rest;
    private ReadOnlyMemory<byte> _segment;
    private int _position;
    private int _read;
    private long _passedDelta = -1;
    private bool _disposed;

    /// <summary>Opens a batch, decompressing it where needed. The CRC is not looked at.</summary>
    /// <param name="batch">Exactly one whole batch.</param>
    /// <param name="codecs">For compressed batches.</param>
    /// <param name="maxDecompressedBytes">The bound on the records of a compressed batch.</param>
    /// <exception cref="CorruptRecordException">The bytes are not exactly one batch.</exception>
    /// <exception cref="InvalidRecordException">Its content does not hold, or the bound does not.</exception>
    /// <exception cref="CompressionCodecUnavailableException">The codec's library is missing.</exception>
    public RecordBatchReader(in ReadOnlySequence<byte> batch, CompressionCodecs codecs, int maxDecompressedBytes)
    {
        ArgumentNullException.ThrowIfNull(codecs);
        _header = RecordBatchValidator.ParseWhole(batch);
        _rest = batch.Slice(RecordBatchLayout.HeaderSize);
        if (_header.Compression != CompressionType.None && !_rest.IsEmpty)
        {
            var decompressed = new PooledBuffer();
            try
            {
                RecordBatchValidator.CheckCount(_header.RecordsCount, maxDecompressedBytes);
                codecs.Get(_header.Compression).Decompress(_rest, decompressed, maxDecompressedBytes);
            }
            catch
            {
                decompressed.Dispose();
                throw;
            }

            _decompressed = decompressed;
            _rest = new ReadOnlySequence<byte>(decompressed.Memory);
        }

        RecordBatchValidator.CheckCount(_header.RecordsCount, (int)Math.Min(int.MaxValue, _rest.Length));
        _records = _rest;
        _segment = _rest.First;
    }

    /// <summary>Opens a batch in one piece of memory.</summary>
    /// <param name="batch">Exactly one whole batch.</param>
    /// <param name="codecs">For compressed batches.</param>
    /// <param name="maxDecompressedBytes">The bound on the records of a compressed batch.</param>
    public RecordBatchReader(ReadOnlyMemory<byte> batch, CompressionCodecs codecs, int maxDecompressedBytes)
        : this(new ReadOnlySequence<byte>(batch), codecs, maxDecompressedBytes)
    {
    }

    /// <summary>The batch's header.</summary>
    public ref readonly RecordBatchHeader Header => ref _header;

    /// <summary>Reads the next record.</summary>
    /// <param name="record">The record.</param>
    /// <returns>False behind the last one.</returns>
    /// <exception cref="InvalidRecordException">A length or a count does not hold.</exception>
    public bool TryRead(out Record record)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_read == _header.RecordsCount)
        {
            if (_position != _segment.Length || _rest.Length != _segment.Length)
                throw new InvalidRecordException(
                    $"The batch counts {_read} records, but {_rest.Length - _position} bytes are left behind them.");
            record = default;
            return false;
        }

        record = Parse(NextBody());
        _read++;
        return true;
    }

    /// <summary>Lets <see cref="TryRead"/> begin with the first record again.</summary>
    public void Rewind()
    {
        _rest = _records;
        _segment = _rest.First;
        (_position, _read, _passedDelta) = (0, 0, -1);
    }

    /// <summary>Reads the record with an offset. Others are skipped, not looked at; only who asks for offsets in
    /// descending order makes it begin anew each time.</summary>
    /// <param name="offset">The offset.</param>
    /// <param name="record">The record.</param>
    /// <returns>Whether there is one.</returns>
    /// <exception cref="InvalidRecordException">A length does not hold.</exception>
    public bool TryFind(long offset, out Record record)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var wanted = offset - _header.BaseOffset;
        if (wanted <= _passedDelta)
            Rewind();
        while (_read < _header.RecordsCount)
        {
            var (rest, segment, start) = (_rest, _segment, _position);
            var body = NextBody();
            var position = 1;
            if (!VarInt.TryRead(body.Span, ref position, out long _)
                || !VarInt.TryRead(body.Span, ref position, out int delta))
                throw new InvalidRecordException($"A record of {body.Length} bytes ends before its offset.");
            if (delta > wanted)
            {
                (_rest, _segment, _position) = (rest, segment, start);
                break;
            }

            _read++;
            _passedDelta = delta;
            if (delta < wanted)
                continue;
            record = Parse(body);
            return true;
        }

        record = default;
        return false;
    }

    /// <summary>Gives the buffer of a compressed batch back; records read from it die with it.</summary>
    public void Dispose()
    {
        _disposed = true;
        _decompressed?.Dispose();
    }

    // Not "length < 0 ? null : ...": that null would be a null array, and so empty memory.
    private static ReadOnlyMemory<byte>? Slice(ReadOnlyMemory<byte> body, int start, int length)
    {
        if (length < 0)
            return null;
        return body.Slice(start, length);
    }

    private Record Parse(ReadOnlyMemory<byte> body)
    {
        RecordFields.Parse(body.Span, out var fields);
        _passedDelta = fields.OffsetDelta;
        return new Record
        {
            Offset = _header.BaseOffset + fields.OffsetDelta,
            Timestamp = _header.TimestampType == TimestampType.LogAppendTime
                ? _header.MaxTimestamp
                : _header.BaseTimestamp + fields.TimestampDelta,
            Sequence = _header.BaseSequence < 0 || fields.OffsetDelta < 0
                ? -1
                : RecordBatchHeader.IncrementSequence(_header.BaseSequence, fields.OffsetDelta),
            Key = Slice(body, fields.KeyStart, fields.KeyLength),
            Value = Slice(body, fields.ValueStart, fields.ValueLength),
            Headers = new RecordHeaders(body[fields.HeadersStart..], fields.HeadersCount),
        };
    }

    /// <summary>The bytes of the next record behind its length, joined where they span segments.</summary>
    private ReadOnlyMemory<byte> NextBody()
    {
        var start = _position;
        if (VarInt.TryRead(_segment.Span, ref start, out int length) && length >= 0
            && length <= _segment.Length - start)
        {
            _position = start + length;
            return _segment.Slice(start, length);
        }

        var reader = new SequenceReader<byte>(_rest);
        reader.Advance(_position);
        if (!VarInt.TryRead(ref reader, out length) || length < 0 || length > reader.Remaining)
            RecordFields.ThrowLength(length, reader.Remaining);
        var body = reader.UnreadSequence.Slice(0, length);
        _rest = reader.UnreadSequence.Slice(length);
        _segment = _rest.First;
        _position = 0;
        return body.IsSingleSegment ? body.First : body.ToArray();
    }
}
