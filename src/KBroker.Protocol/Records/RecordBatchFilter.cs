using System.Buffers;
using System.Runtime.InteropServices;

namespace KBroker.Protocol.Records;

/// <summary>
/// Says which records of a batch stay. It is shown a few of them before it must judge the first, so that what it looks
/// up in memory for each can be on its way.
/// </summary>
public interface IRecordFilter
{
    /// <summary>Shows a record that is to be judged soon.</summary>
    /// <param name="slot">A number below <see cref="RecordBatchFilter.Window"/>, by which it will be named.</param>
    /// <param name="record">The record; valid during the call.</param>
    void Foresee(int slot, in RecordView record);

    /// <summary>Judges one record.</summary>
    /// <param name="slot">As which it was shown.</param>
    /// <param name="header">Its batch.</param>
    /// <param name="record">The record; valid during the call.</param>
    /// <returns>Whether it stays.</returns>
    bool Keep(int slot, in RecordBatchHeader header, in RecordView record);
}

/// <summary>What a filter sees of a record: nothing is copied.</summary>
public readonly ref struct RecordView
{
    /// <summary>Absolute offset in the partition.</summary>
    public required long Offset { get; init; }

    /// <summary>Whether there is a key.</summary>
    public required bool HasKey { get; init; }

    /// <summary>The key; empty also where there is none.</summary>
    public required ReadOnlySpan<byte> Key { get; init; }

    /// <summary>Whether there is a value; false is a tombstone where the topic is compacted.</summary>
    public required bool HasValue { get; init; }

    /// <summary>The value; empty also where there is none.</summary>
    public required ReadOnlySpan<byte> Value { get; init; }

    /// <summary>ms since the epoch, or -1; the append time where the batch says so.</summary>
    public required long Timestamp { get; init; }

    /// <summary>Number of headers.</summary>
    public required int HeadersCount { get; init; }

    /// <summary>The headers as they are encoded; see <see cref="RecordHeaders"/>.</summary>
    public required ReadOnlySpan<byte> Headers { get; init; }
}

/// <summary>What <see cref="RecordBatchFilter.Judge"/> found.</summary>
/// <param name="KeptCount">Records that stay.</param>
/// <param name="ReadCount">Records that were there.</param>
/// <param name="KeptTombstones">Whether one of those that stay has no value.</param>
public readonly record struct RecordBatchVerdict(int KeptCount, int ReadCount, bool KeptTombstones)
{
    /// <summary>Whether nothing goes.</summary>
    public bool KeepsAll => KeptCount == ReadCount;
}

/// <summary>
/// Takes records out of batches as compaction does: base offset, last offset delta, base sequence, producer and leader
/// epoch stay, so that positions and producer state are as before; a batch may end up empty. The old batch is never
/// touched. Used for one batch after the other; nothing is allocated per record, and buffers are kept. Not thread-safe.
/// </summary>
/// <remarks>
/// A record holds its offset and its time relative to the batch's first ones. Those stay, so the bytes of the records
/// that stay are copied in runs, as they are. Only a new delete horizon, which takes the place of the base timestamp,
/// makes them be written anew. Example: records 0 to 9, of which 3 and 4 go: the runs 0-2 and 5-9 are copied.
/// </remarks>
/// <param name="codecs">For compressed batches; a new batch has the codec of the old one, default level.</param>
/// <param name="maxDecompressedBytes">The bound on the records of a compressed batch.</param>
public sealed class RecordBatchFilter(CompressionCodecs codecs, int maxDecompressedBytes) : IDisposable
{
    /// <summary>The most records that are shown before the first of them is judged.</summary>
    public const int Window = 16;

    private readonly PooledBuffer _decompressed = new();
    private readonly PooledBuffer _plain = new();
    private readonly PooledBuffer _compressed = new();
    private readonly List<(int Start, int End)> _runs = [];
    private RecordBatchHeader _header;
    private ReadOnlyMemory<byte> _records;
    private RecordBatchVerdict _verdict;
    private long _maxTimestamp;

    /// <summary>Asks about every record of a batch, in order.</summary>
    /// <typeparam name="TFilter">A struct, so that the calls are direct.</typeparam>
    /// <param name="batch">Exactly one whole batch; <see cref="Build"/> reads it again. The CRC is not checked.</param>
    /// <param name="filter">Asked once a record.</param>
    /// <returns>What it said.</returns>
    /// <exception cref="CorruptRecordException">The bytes are not exactly one batch.</exception>
    /// <exception cref="InvalidRecordException">Its content does not hold, or the bound does not.</exception>
    /// <exception cref="CompressionCodecUnavailableException">The codec's library is missing.</exception>
    public RecordBatchVerdict Judge<TFilter>(ReadOnlyMemory<byte> batch, ref TFilter filter)
        where TFilter : IRecordFilter
    {
        Open(batch);
        _runs.Clear();
        _maxTimestamp = -1;
        var records = _records.Span;
        var kept = 0;
        var tombstones = false;
        var position = 0;
        Span<ParsedRecord> window = stackalloc ParsedRecord[Window];
        for (var left = _header.RecordsCount; left > 0; left -= window.Length)
        {
            window = window[..Math.Min(left, window.Length)];
            for (var slot = 0; slot < window.Length; slot++)
            {
                Parse(records, ref position, out window[slot]);
                filter.Foresee(slot, View(records, window[slot]));
            }

            for (var slot = 0; slot < window.Length; slot++)
            {
                ref readonly var parsed = ref window[slot];
                if (!filter.Keep(slot, _header, View(records, parsed)))
                    continue;
                Keep(parsed.Start, parsed.End);
                tombstones |= parsed.Fields.ValueLength < 0;
                _maxTimestamp = Math.Max(_maxTimestamp, _header.BaseTimestamp + parsed.Fields.TimestampDelta);
                kept++;
            }
        }

        if (position != records.Length)
        {
            throw new InvalidRecordException(
                $"The batch counts {_header.RecordsCount} records, but {records.Length - position} bytes are left "
                + "behind them.");
        }

        return _verdict = new RecordBatchVerdict(kept, _header.RecordsCount, tombstones);
    }

    /// <summary>Makes the batch of the records that stay, as <see cref="Judge"/> was told last.</summary>
    /// <param name="deleteHorizon">ms; set on the new batch, null keeps what the batch has.</param>
    /// <param name="cleared">Attribute bits that the new batch does not have; without those of the codec it is not
    /// compressed.</param>
    /// <returns>
    /// The batch, checksum computed, valid until the next call. Without records it is a header alone: uncompressed,
    /// without delete horizon, and with the max timestamp it had, by which retention judges it.
    /// </returns>
    public ReadOnlyMemory<byte> Build(
        long? deleteHorizon, RecordBatchAttributes cleared = RecordBatchAttributes.None)
    {
        var isEmpty = _verdict.KeptCount == 0;
        _plain.Clear();
        Reserve(_plain);
        if (deleteHorizon is { } horizon && !isEmpty)
            WriteAnew(horizon);
        else
            CopyRuns();
        var output = _plain;
        var isPlain = (cleared & RecordBatchAttributes.CompressionMask) != 0;
        if (!isEmpty && !isPlain && _header.Compression != CompressionType.None)
        {
            output = _compressed;
            output.Clear();
            Reserve(output);
            codecs.Get(_header.Compression).Compress(_plain.Span[RecordBatchLayout.HeaderSize..], output);
        }

        Header(output.Length, isEmpty ? null : deleteHorizon, cleared).Write(output.Span);
        RecordBatchEditor.WriteCrc(output.Span);
        return output.Memory;
    }

    /// <summary>Gives the buffers back.</summary>
    public void Dispose()
    {
        _decompressed.Dispose();
        _plain.Dispose();
        _compressed.Dispose();
    }

    private static void Reserve(PooledBuffer buffer)
    {
        buffer.GetSpan(RecordBatchLayout.HeaderSize);
        buffer.Advance(RecordBatchLayout.HeaderSize);
    }

    private static ReadOnlySpan<byte> NextBody(ReadOnlySpan<byte> records, ref int position)
    {
        if (!VarInt.TryRead(records, ref position, out int length) || length < 0 || length > records.Length - position)
            RecordFields.ThrowLength(length, records.Length - position);
        var body = records.Slice(position, length);
        position += length;
        return body;
    }

    private static void Parse(ReadOnlySpan<byte> records, ref int position, out ParsedRecord parsed)
    {
        parsed.Start = position;
        var body = NextBody(records, ref position);
        parsed.Body = position - body.Length;
        parsed.End = position;
        RecordFields.Parse(body, out parsed.Fields);
    }

    private RecordView View(ReadOnlySpan<byte> records, in ParsedRecord parsed)
    {
        ref readonly var fields = ref parsed.Fields;
        return new RecordView
        {
            Offset = _header.BaseOffset + fields.OffsetDelta,
            HasKey = fields.KeyLength >= 0,
            Key = records.Slice(parsed.Body + fields.KeyStart, Math.Max(0, fields.KeyLength)),
            HasValue = fields.ValueLength >= 0,
            Value = records.Slice(parsed.Body + fields.ValueStart, Math.Max(0, fields.ValueLength)),
            Timestamp = _header.TimestampType == TimestampType.LogAppendTime
                ? _header.MaxTimestamp
                : _header.BaseTimestamp + fields.TimestampDelta,
            HeadersCount = fields.HeadersCount,
            Headers = records[(parsed.Body + fields.HeadersStart)..parsed.End],
        };
    }

    private void Open(ReadOnlyMemory<byte> batch)
    {
        _header = RecordBatchValidator.ParseWhole(new ReadOnlySequence<byte>(batch));
        _records = batch[RecordBatchLayout.HeaderSize..];
        if (_header.Compression != CompressionType.None && !_records.IsEmpty)
        {
            RecordBatchValidator.CheckCount(_header.RecordsCount, maxDecompressedBytes);
            _decompressed.Clear();
            codecs.Get(_header.Compression).Decompress(_records.Span, _decompressed, maxDecompressedBytes);
            _records = _decompressed.Memory;
        }

        RecordBatchValidator.CheckCount(_header.RecordsCount, _records.Length);
    }

    private void Keep(int start, int end)
    {
        var runs = CollectionsMarshal.AsSpan(_runs);
        if (!runs.IsEmpty && runs[^1].End == start)
            runs[^1].End = end;
        else
            _runs.Add((start, end));
    }

    private void CopyRuns()
    {
        var records = _records.Span;
        foreach (var (start, end) in _runs)
            _plain.Write(records[start..end]);
    }

    /// <summary>Writes the records with times relative to another base.</summary>
    private void WriteAnew(long baseTimestamp)
    {
        var records = _records.Span;
        foreach (var (start, end) in _runs)
        {
            for (var position = start; position < end;)
            {
                var body = NextBody(records, ref position);
                var at = 1;
                if (!VarInt.TryRead(body, ref at, out long delta))
                    throw new InvalidRecordException("A record ends within its timestamp.");
                WriteRecord(body[0], _header.BaseTimestamp + delta - baseTimestamp, body[at..]);
            }
        }
    }

    private void WriteRecord(byte attributes, long timestampDelta, ReadOnlySpan<byte> rest)
    {
        var length = 1 + VarInt.SizeOf(timestampDelta) + rest.Length;
        var output = _plain.GetSpan(VarInt.MaxInt32Bytes + length);
        var at = VarInt.Write(output, length);
        output[at++] = attributes;
        at += VarInt.Write(output[at..], timestampDelta);
        rest.CopyTo(output[at..]);
        _plain.Advance(at + rest.Length);
    }

    private RecordBatchHeader Header(int sizeInBytes, long? deleteHorizon, RecordBatchAttributes cleared)
    {
        var isEmpty = _verdict.KeptCount == 0;
        var attributes = _header.Attributes & ~cleared;
        if (isEmpty)
            attributes &= ~(RecordBatchAttributes.CompressionMask | RecordBatchAttributes.DeleteHorizon);
        else if (deleteHorizon is not null)
            attributes |= RecordBatchAttributes.DeleteHorizon;
        var keepsMaxTimestamp = isEmpty || _header.TimestampType == TimestampType.LogAppendTime;
        return new RecordBatchHeader
        {
            BaseOffset = _header.BaseOffset,
            BatchLength = sizeInBytes - RecordBatchLayout.LogOverhead,
            PartitionLeaderEpoch = _header.PartitionLeaderEpoch,
            Magic = _header.Magic,
            Attributes = attributes,
            LastOffsetDelta = _header.LastOffsetDelta,
            BaseTimestamp = isEmpty ? -1 : deleteHorizon ?? _header.BaseTimestamp,
            MaxTimestamp = keepsMaxTimestamp ? _header.MaxTimestamp : _maxTimestamp,
            ProducerId = _header.ProducerId,
            ProducerEpoch = _header.ProducerEpoch,
            BaseSequence = _header.BaseSequence,
            RecordsCount = _verdict.KeptCount,
        };
    }

    /// <summary>Where a record and its fields lie.</summary>
    private struct ParsedRecord
    {
        public int Start;
        public int Body;
        public int End;
        public RecordFields Fields;
    }
}
