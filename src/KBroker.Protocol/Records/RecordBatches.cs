using System.Buffers;
using System.Buffers.Binary;

namespace KBroker.Protocol.Records;

/// <summary>What stands at a place where a batch should start.</summary>
public enum RecordBatchStatus
{
    /// <summary>A whole batch, as far as its header says; its CRC was not checked.</summary>
    Whole,

    /// <summary>Nothing: the bytes ended exactly behind the last batch.</summary>
    End,

    /// <summary>The start of a batch whose end is missing: a torn tail, or the reader's buffer is too small.</summary>
    Incomplete,

    /// <summary>A message of an old format (magic 0 or 1).</summary>
    OldFormat,

    /// <summary>No batch: an unknown format, or an impossible length.</summary>
    Corrupt,
}

/// <summary>One whole batch inside a larger run of bytes.</summary>
/// <param name="Header">The decoded header.</param>
/// <param name="Bytes">The whole batch, header included.</param>
/// <param name="Position">Where it starts in that run.</param>
public readonly record struct RecordBatch(RecordBatchHeader Header, ReadOnlySequence<byte> Bytes, long Position)
{
    /// <summary>The records behind the header, compressed or not.</summary>
    public ReadOnlySequence<byte> RecordBytes => Bytes.Slice(RecordBatchLayout.HeaderSize);

    /// <summary>Computes the checksum over the bytes and compares it with the header's.</summary>
    /// <returns>Whether they agree.</returns>
    public bool HasValidCrc() => RecordBatches.HasValidCrc(Bytes);
}

/// <summary>Cuts a run of bytes (a produce field, a piece of a segment) into its record batches.</summary>
public static class RecordBatches
{
    private const int MinBatchLength = RecordBatchLayout.HeaderSize - RecordBatchLayout.LogOverhead;
    private const int MagicEnd = RecordBatchLayout.Magic + 1;

    /// <summary>Enumerates whole batches with <c>foreach</c>; nothing is copied or allocated.</summary>
    /// <param name="records">Batches, one behind the other; an empty run has none.</param>
    /// <returns>An enumerable whose enumerator throws where no whole batch stands.</returns>
    /// <exception cref="CorruptRecordException">While enumerating: a truncated batch, or an impossible
    /// length.</exception>
    /// <exception cref="InvalidRecordException">While enumerating: a message of an old format.</exception>
    public static RecordBatchEnumerable Enumerate(in ReadOnlySequence<byte> records) => new(records);

    /// <summary>Looks for a whole batch at the start of a run of bytes, without judging its content.</summary>
    /// <param name="source">Starts where a batch should start.</param>
    /// <param name="header">The header where <see cref="RecordBatchStatus.Whole"/> or, when 61 bytes are there,
    /// <see cref="RecordBatchStatus.Incomplete"/>.</param>
    /// <returns>What stands there.</returns>
    public static RecordBatchStatus Inspect(in ReadOnlySequence<byte> source, out RecordBatchHeader header)
    {
        if (RecordBatchHeader.TryParse(source, out header))
        {
            var status = Judge(header.Magic, header.BatchLength);
            if (status != RecordBatchStatus.Whole)
                return status;
            return header.BatchLength > source.Length - RecordBatchLayout.LogOverhead
                ? RecordBatchStatus.Incomplete
                : RecordBatchStatus.Whole;
        }

        if (source.IsEmpty)
            return RecordBatchStatus.End;
        if (source.Length < MagicEnd)
            return RecordBatchStatus.Incomplete;
        Span<byte> start = stackalloc byte[MagicEnd];
        source.Slice(0, MagicEnd).CopyTo(start);
        var length = BinaryPrimitives.ReadInt32BigEndian(start[RecordBatchLayout.BatchLength..]);
        var shortStatus = Judge((sbyte)start[RecordBatchLayout.Magic], length);
        return shortStatus == RecordBatchStatus.Whole ? RecordBatchStatus.Incomplete : shortStatus;
    }

    /// <summary>Computes a batch's checksum and compares it with the one in its header.</summary>
    /// <param name="batch">Exactly one whole batch.</param>
    /// <returns>Whether they agree.</returns>
    public static bool HasValidCrc(in ReadOnlySequence<byte> batch) =>
        RecordBatchHeader.TryParse(batch, out var header)
        && Crc32C.Compute(batch.Slice(RecordBatchLayout.Attributes)) == header.Crc;

    /// <summary>Refuses a batch with a wrong checksum.</summary>
    /// <param name="batch">Exactly one whole batch.</param>
    /// <exception cref="CorruptRecordException">The checksums differ.</exception>
    public static void EnsureValidCrc(in ReadOnlySequence<byte> batch)
    {
        if (!RecordBatchHeader.TryParse(batch, out var header))
            throw new CorruptRecordException($"A batch of {batch.Length} bytes is shorter than its header.");
        var computed = Crc32C.Compute(batch.Slice(RecordBatchLayout.Attributes));
        if (computed != header.Crc)
            throw new CorruptRecordException(
                $"Record batch is corrupt: its checksum is {computed}, its header says {header.Crc}.");
    }

    internal static Exception Error(RecordBatchStatus status, in ReadOnlySequence<byte> source, long position)
    {
        Span<byte> start = stackalloc byte[MagicEnd];
        start.Clear();
        source.Slice(0, Math.Min(MagicEnd, source.Length)).CopyTo(start);
        var length = BinaryPrimitives.ReadInt32BigEndian(start[RecordBatchLayout.BatchLength..]);
        var magic = (sbyte)start[RecordBatchLayout.Magic];
        return status switch
        {
            RecordBatchStatus.OldFormat => new InvalidRecordException(
                $"Message format {magic} at byte {position} is not supported: only record batches with magic 2 are.",
                RecordErrorKind.UnsupportedForMessageFormat),
            RecordBatchStatus.Incomplete => new CorruptRecordException(
                $"The record batch at byte {position} ends early: {source.Length} bytes are there"
                + (source.Length < RecordBatchLayout.LogOverhead
                    ? "."
                    : $", its length field says {length} more than 12.")),
            _ => new CorruptRecordException(
                $"No record batch at byte {position}: magic {magic}, length {length} (at least {MinBatchLength})."),
        };
    }

    private static RecordBatchStatus Judge(sbyte magic, int batchLength)
    {
        if (magic is 0 or 1)
            return RecordBatchStatus.OldFormat;
        return magic != RecordBatchLayout.CurrentMagic
            || batchLength is < MinBatchLength or > int.MaxValue - RecordBatchLayout.LogOverhead
            ? RecordBatchStatus.Corrupt
            : RecordBatchStatus.Whole;
    }
}

/// <summary>The batches of a run of bytes; made by <see cref="RecordBatches.Enumerate"/>.</summary>
public readonly struct RecordBatchEnumerable
{
    private readonly ReadOnlySequence<byte> _records;

    internal RecordBatchEnumerable(in ReadOnlySequence<byte> records) => _records = records;

    /// <summary>Starts at the first batch.</summary>
    /// <returns>The enumerator.</returns>
    public Enumerator GetEnumerator() => new(_records);

    /// <summary>Walks from batch to batch.</summary>
    public struct Enumerator
    {
        private ReadOnlySequence<byte> _rest;
        private RecordBatch _current;
        private long _position;

        internal Enumerator(in ReadOnlySequence<byte> records) => _rest = records;

        /// <summary>The batch last moved to.</summary>
        public readonly RecordBatch Current => _current;

        /// <summary>Moves to the next whole batch.</summary>
        /// <returns>False exactly at the end of the bytes.</returns>
        public bool MoveNext()
        {
            var status = RecordBatches.Inspect(_rest, out var header);
            if (status == RecordBatchStatus.End)
                return false;
            if (status != RecordBatchStatus.Whole)
                throw RecordBatches.Error(status, _rest, _position);
            _current = new RecordBatch(header, _rest.Slice(0, header.SizeInBytes), _position);
            _rest = _rest.Slice(header.SizeInBytes);
            _position += header.SizeInBytes;
            return true;
        }
    }
}
