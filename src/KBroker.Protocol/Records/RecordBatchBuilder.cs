using System.Buffers;

namespace KBroker.Protocol.Records;

/// <summary>Builds one batch after the other in pooled buffers. Not thread-safe.</summary>
/// <remarks>
/// <code>
/// using var builder = new RecordBatchBuilder(new RecordBatchOptions { BaseOffset = 7 }, codecs);
/// builder.Append(timestamp, key, value, RecordHeaders.Create(new RecordHeader("tag", tagBytes)));
/// ReadOnlyMemory&lt;byte&gt; batch = builder.Build();
/// </code>
/// Beware when passing a <c>byte[]</c> that is null: it converts to empty memory, not to null.
/// </remarks>
public sealed class RecordBatchBuilder : IDisposable
{
    private readonly CompressionCodecs? _codecs;
    private readonly PooledBuffer _plain = new();
    private PooledBuffer? _compressed;
    private RecordBatchOptions _options;
    private long _baseTimestamp;
    private long _maxTimestamp;
    private long _lastOffset;
    private bool _built;

    /// <summary>Starts an empty batch.</summary>
    /// <param name="options">What the batch says about itself.</param>
    /// <param name="codecs">Needed when a codec is asked for.</param>
    public RecordBatchBuilder(RecordBatchOptions options, CompressionCodecs? codecs = null)
    {
        _codecs = codecs;
        _options = options;
        Reset(options);
    }

    /// <summary>Number of records so far.</summary>
    public int RecordsCount { get; private set; }

    /// <summary>Bytes of header and records so far, before compression.</summary>
    public int UncompressedBytes => _plain.Length;

    /// <summary>The offset that <see cref="Append(long, ReadOnlyMemory{byte}?, ReadOnlyMemory{byte}?, RecordHeaders)"/>
    /// gives next.</summary>
    public long NextOffset => _lastOffset + 1;

    /// <summary>The most bytes that a record adds to a batch before compression.</summary>
    /// <param name="keyBytes">Length of the key.</param>
    /// <param name="valueBytes">Length of the value.</param>
    /// <param name="headers">Its headers.</param>
    /// <returns>An upper bound, at most 36 bytes too high.</returns>
    public static int MaxRecordBytes(int keyBytes, int valueBytes, RecordHeaders headers = default) =>
        checked(keyBytes + valueBytes + headers.Encoded.Length + (5 * VarInt.MaxInt32Bytes) + 1 + VarInt.MaxInt64Bytes);

    /// <summary>
    /// Forgets everything and starts anew, keeping the buffers. What <see cref="Build"/> gave is gone.
    /// </summary>
    /// <param name="options">What the new batch says about itself.</param>
    public void Reset(RecordBatchOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _plain.Clear();
        _compressed?.Clear();
        _plain.GetSpan(RecordBatchLayout.HeaderSize);
        _plain.Advance(RecordBatchLayout.HeaderSize);
        _baseTimestamp = options.DeleteHorizon ?? -1;
        _maxTimestamp = -1;
        _lastOffset = options.BaseOffset - 1;
        RecordsCount = 0;
        _built = false;
    }

    /// <summary>Adds a record at the next offset.</summary>
    /// <param name="timestamp">ms since the epoch, or -1.</param>
    /// <param name="key">The key, or null; copied.</param>
    /// <param name="value">The value, or null; copied.</param>
    /// <param name="headers">The headers; copied.</param>
    public void Append(
        long timestamp, ReadOnlyMemory<byte>? key, ReadOnlyMemory<byte>? value, RecordHeaders headers = default) =>
        AppendAt(NextOffset, timestamp, key, value, headers);

    /// <summary>
    /// Adds a record with its own offset, timestamp and headers; the sequence follows from the offset.
    /// </summary>
    /// <param name="record">Copied.</param>
    public void Append(in Record record) =>
        AppendAt(record.Offset, record.Timestamp, record.Key, record.Value, record.Headers);

    /// <summary>Adds a record at an offset that may leave a gap.</summary>
    /// <param name="offset">Behind the last one, less than 2^31 behind the base offset.</param>
    /// <param name="timestamp">ms since the epoch, or -1.</param>
    /// <param name="key">The key, or null; copied.</param>
    /// <param name="value">The value, or null; copied.</param>
    /// <param name="headers">The headers; copied.</param>
    public void AppendAt(
        long offset,
        long timestamp,
        ReadOnlyMemory<byte>? key,
        ReadOnlyMemory<byte>? value,
        RecordHeaders headers = default)
    {
        ObjectDisposedException.ThrowIf(_plain.Length == 0, this);
        if (_built)
            throw new InvalidOperationException("The batch is built: reset the builder first.");
        ArgumentOutOfRangeException.ThrowIfLessThan(offset, NextOffset);
        var offsetDelta = checked((int)(offset - _options.BaseOffset));
        if (RecordsCount == 0 && _options.DeleteHorizon is null)
            _baseTimestamp = timestamp;
        var timestampDelta = timestamp - _baseTimestamp;
        var bodySize = checked(1 + VarInt.SizeOf(timestampDelta) + VarInt.SizeOf(offsetDelta)
            + SizeOf(key) + SizeOf(value) + VarInt.SizeOf(headers.Count) + headers.Encoded.Length);

        var output = _plain.GetSpan(checked(VarInt.MaxInt32Bytes + bodySize));
        var at = VarInt.Write(output, bodySize);
        output[at++] = 0;
        at += VarInt.Write(output[at..], timestampDelta);
        at += VarInt.Write(output[at..], offsetDelta);
        at += RecordFields.WriteBytes(output[at..], key);
        at += RecordFields.WriteBytes(output[at..], value);
        at += VarInt.Write(output[at..], headers.Count);
        headers.Encoded.Span.CopyTo(output[at..]);
        _plain.Advance(at + headers.Encoded.Length);
        _maxTimestamp = Math.Max(_maxTimestamp, timestamp);
        _lastOffset = offset;
        RecordsCount++;
    }

    /// <summary>Completes the batch: compresses it, writes its header and checksum. A batch may be empty.</summary>
    /// <returns>The bytes, valid until <see cref="Reset"/> or <see cref="Dispose"/>.</returns>
    /// <exception cref="CompressionCodecUnavailableException">The codec's library is missing.</exception>
    public Memory<byte> Build()
    {
        ObjectDisposedException.ThrowIf(_plain.Length == 0, this);
        // An emptied batch has no compressed form: there is nothing behind its header.
        var plain = _options.Compression == CompressionType.None || RecordsCount == 0;
        var output = plain ? _plain : _compressed ??= new PooledBuffer();
        if (_built)
            return output.Memory;
        if (!plain)
        {
            var codecs = _codecs
                ?? throw new InvalidOperationException("A builder without codecs cannot compress a batch.");
            output.Clear();
            output.GetSpan(RecordBatchLayout.HeaderSize);
            output.Advance(RecordBatchLayout.HeaderSize);
            codecs.Get(_options.Compression).Compress(
                _plain.Span[RecordBatchLayout.HeaderSize..], output, _options.CompressionLevel);
        }

        Header(output.Length).Write(output.Span);
        RecordBatchEditor.WriteCrc(output.Span);
        _built = true;
        return output.Memory;
    }

    /// <summary>Completes the batch and copies it.</summary>
    /// <param name="destination">Receives the batch.</param>
    public void BuildTo(IBufferWriter<byte> destination)
    {
        ArgumentNullException.ThrowIfNull(destination);
        destination.Write(Build().Span);
    }

    /// <summary>Gives the buffers back. What <see cref="Build"/> gave is gone.</summary>
    public void Dispose()
    {
        _plain.Dispose();
        _compressed?.Dispose();
    }

    private static int SizeOf(ReadOnlyMemory<byte>? field) =>
        field is { } bytes ? VarInt.SizeOf(bytes.Length) + bytes.Length : 1;

    private RecordBatchHeader Header(int sizeInBytes) => new()
    {
        BaseOffset = _options.BaseOffset,
        BatchLength = sizeInBytes - RecordBatchLayout.LogOverhead,
        PartitionLeaderEpoch = _options.PartitionLeaderEpoch,
        Magic = RecordBatchLayout.CurrentMagic,
        Attributes = RecordsCount == 0
            ? _options.Attributes & ~RecordBatchAttributes.CompressionMask
            : _options.Attributes,
        LastOffsetDelta = _options.LastOffsetDelta ?? (int)(_lastOffset - _options.BaseOffset),
        BaseTimestamp = _baseTimestamp,
        MaxTimestamp = _options.MaxTimestamp ?? _maxTimestamp,
        ProducerId = _options.ProducerId,
        ProducerEpoch = _options.ProducerEpoch,
        BaseSequence = _options.BaseSequence,
        RecordsCount = RecordsCount,
    };
}
