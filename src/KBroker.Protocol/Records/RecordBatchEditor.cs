using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace KBroker.Protocol.Records;

/// <summary>Changes header fields of a batch where it lies.</summary>
/// <remarks>
/// The sequences given to <see cref="AssignOffsets"/> are read-only views of buffers that the caller owns and nobody
/// else reads yet (a request's frame), which is why they may be written through.
/// </remarks>
public static class RecordBatchEditor
{
    /// <summary>Gives a batch its place in the log. Both fields lie outside the checksum.</summary>
    /// <param name="batch">Exactly one whole batch, in memory that the caller owns; it may be fragmented.</param>
    /// <param name="baseOffset">Offset of its first record.</param>
    /// <param name="partitionLeaderEpoch">Epoch of the leader that appends it.</param>
    public static void AssignOffsets(in ReadOnlySequence<byte> batch, long baseOffset, int partitionLeaderEpoch)
    {
        Span<byte> fields = stackalloc byte[8];
        BinaryPrimitives.WriteInt64BigEndian(fields, baseOffset);
        Overwrite(batch, RecordBatchLayout.BaseOffset, fields);
        BinaryPrimitives.WriteInt32BigEndian(fields, partitionLeaderEpoch);
        Overwrite(batch, RecordBatchLayout.PartitionLeaderEpoch, fields[..4]);
    }

    /// <summary>Sets who dates the records and the max timestamp field, and computes the checksum anew.</summary>
    /// <param name="batch">Exactly one whole batch, in memory that the caller owns; it may be fragmented.</param>
    /// <param name="type">Who sets the timestamps.</param>
    /// <param name="maxTimestamp">ms; the append time, or the largest timestamp.</param>
    public static void SetMaxTimestamp(in ReadOnlySequence<byte> batch, TimestampType type, long maxTimestamp)
    {
        if (!RecordBatchHeader.TryParse(batch, out var header))
            throw new ArgumentException("Shorter than the header of a batch.", nameof(batch));
        var attributes = header.Attributes & ~RecordBatchAttributes.LogAppendTime;
        if (type == TimestampType.LogAppendTime)
            attributes |= RecordBatchAttributes.LogAppendTime;
        if (attributes == header.Attributes && maxTimestamp == header.MaxTimestamp)
            return;
        Span<byte> fields = stackalloc byte[8];
        BinaryPrimitives.WriteInt64BigEndian(fields, maxTimestamp);
        Overwrite(batch, RecordBatchLayout.MaxTimestamp, fields);
        SetAttributes(batch, attributes);
    }

    /// <summary>Replaces the attribute bits and computes the checksum anew.</summary>
    /// <param name="batch">Exactly one whole batch, in memory that the caller owns; it may be fragmented.</param>
    /// <param name="attributes">All bits.</param>
    public static void SetAttributes(in ReadOnlySequence<byte> batch, RecordBatchAttributes attributes)
    {
        Span<byte> fields = stackalloc byte[4];
        BinaryPrimitives.WriteInt16BigEndian(fields, (short)attributes);
        Overwrite(batch, RecordBatchLayout.Attributes, fields[..2]);
        BinaryPrimitives.WriteUInt32BigEndian(fields, Crc32C.Compute(batch.Slice(RecordBatchLayout.Attributes)));
        Overwrite(batch, RecordBatchLayout.Crc, fields);
    }

    /// <summary>Computes the checksum of a batch and stores it in its header.</summary>
    /// <param name="batch">Exactly one whole batch.</param>
    public static void WriteCrc(Span<byte> batch) => BinaryPrimitives.WriteUInt32BigEndian(
        batch[RecordBatchLayout.Crc..], Crc32C.Compute(batch[RecordBatchLayout.Attributes..]));

    private static void Overwrite(in ReadOnlySequence<byte> batch, int position, ReadOnlySpan<byte> bytes)
    {
        foreach (var part in batch.Slice(position, bytes.Length))
        {
            bytes[..part.Length].CopyTo(MemoryMarshal.AsMemory(part).Span);
            bytes = bytes[part.Length..];
        }
    }
}
