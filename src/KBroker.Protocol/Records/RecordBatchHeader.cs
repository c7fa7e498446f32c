using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace KBroker.Protocol.Records;

/// <summary>The header of one record batch, decoded. See <see cref="RecordBatchLayout"/> for the bytes.</summary>
public readonly struct RecordBatchHeader
{
    /// <summary>Offset of the first record as first written.</summary>
    public long BaseOffset { get; init; }

    /// <summary>Bytes behind the length field.</summary>
    public int BatchLength { get; init; }

    /// <summary>Epoch of the leader that appended the batch, -1 from a producer.</summary>
    public int PartitionLeaderEpoch { get; init; }

    /// <summary>Format; the other fields mean what they say only when it is 2.</summary>
    public sbyte Magic { get; init; }

    /// <summary>CRC-32C of everything from the attributes on.</summary>
    public uint Crc { get; init; }

    /// <summary>The raw attribute bits.</summary>
    public RecordBatchAttributes Attributes { get; init; }

    /// <summary>Last offset minus base offset.</summary>
    public int LastOffsetDelta { get; init; }

    /// <summary>ms; the raw field, so the delete horizon where <see cref="HasDeleteHorizon"/>.</summary>
    public long BaseTimestamp { get; init; }

    /// <summary>ms; the largest timestamp, or the append time of all records; -1 for none.</summary>
    public long MaxTimestamp { get; init; }

    /// <summary>Id of the idempotent producer, or -1.</summary>
    public long ProducerId { get; init; }

    /// <summary>Epoch of that producer, or -1.</summary>
    public short ProducerEpoch { get; init; }

    /// <summary>Sequence of the first record, or -1; the following ones wrap from int32 max to 0.</summary>
    public int BaseSequence { get; init; }

    /// <summary>Number of records present.</summary>
    public int RecordsCount { get; init; }

    /// <summary>Bytes of the whole batch.</summary>
    public int SizeInBytes => BatchLength + RecordBatchLayout.LogOverhead;

    /// <summary>Offset of the last record as first written.</summary>
    public long LastOffset => BaseOffset + LastOffsetDelta;

    /// <summary>The offset behind the batch.</summary>
    public long NextOffset => LastOffset + 1;

    /// <summary>The codec; may be an unassigned number (5 to 7) in hostile input.</summary>
    public CompressionType Compression => (CompressionType)(Attributes & RecordBatchAttributes.CompressionMask);

    /// <summary>Who set the timestamps.</summary>
    public TimestampType TimestampType => (Attributes & RecordBatchAttributes.LogAppendTime) != 0
        ? TimestampType.LogAppendTime
        : TimestampType.CreateTime;

    /// <summary>Whether the batch belongs to a transaction.</summary>
    public bool IsTransactional => (Attributes & RecordBatchAttributes.Transactional) != 0;

    /// <summary>Whether the records are markers.</summary>
    public bool IsControl => (Attributes & RecordBatchAttributes.Control) != 0;

    /// <summary>Whether the base timestamp field holds the delete horizon.</summary>
    public bool HasDeleteHorizon => (Attributes & RecordBatchAttributes.DeleteHorizon) != 0;

    /// <summary>Whether records of the batch are hidden from consumers.</summary>
    public bool IsHiding => (Attributes & RecordBatchAttributes.Hiding) != 0;

    /// <summary>Whether the broker has set any of its private bits.</summary>
    public bool IsFlagged => (Attributes & RecordBatchAttributes.PrivateMask) != 0;

    /// <summary>Whether an idempotent producer wrote the batch.</summary>
    public bool HasProducerId => ProducerId >= 0;

    /// <summary>Sequence of the last record, wrapped as Kafka does, or -1.</summary>
    public int LastSequence => BaseSequence < 0 ? -1 : IncrementSequence(BaseSequence, LastOffsetDelta);

    /// <summary>Adds to a sequence number, which wraps from int32 max to 0.</summary>
    /// <param name="sequence">Not negative.</param>
    /// <param name="increment">Not negative.</param>
    /// <returns>The wrapped sum.</returns>
    public static int IncrementSequence(int sequence, int increment) =>
        sequence > int.MaxValue - increment ? increment - (int.MaxValue - sequence) - 1 : sequence + increment;

    /// <summary>Decodes the 61 header bytes without judging them.</summary>
    /// <param name="source">Starts at a batch.</param>
    /// <param name="header">The fields.</param>
    /// <returns>False when fewer than 61 bytes are there.</returns>
    public static bool TryParse(ReadOnlySpan<byte> source, out RecordBatchHeader header)
    {
        if (source.Length < RecordBatchLayout.HeaderSize)
        {
            header = default;
            return false;
        }

        header = new RecordBatchHeader
        {
            BaseOffset = BinaryPrimitives.ReadInt64BigEndian(source),
            BatchLength = BinaryPrimitives.ReadInt32BigEndian(source[RecordBatchLayout.BatchLength..]),
            PartitionLeaderEpoch =
                BinaryPrimitives.ReadInt32BigEndian(source[RecordBatchLayout.PartitionLeaderEpoch..]),
            Magic = (sbyte)source[RecordBatchLayout.Magic],
            Crc = BinaryPrimitives.ReadUInt32BigEndian(source[RecordBatchLayout.Crc..]),
            Attributes = (RecordBatchAttributes)BinaryPrimitives.ReadInt16BigEndian(
                source[RecordBatchLayout.Attributes..]),
            LastOffsetDelta = BinaryPrimitives.ReadInt32BigEndian(source[RecordBatchLayout.LastOffsetDelta..]),
            BaseTimestamp = BinaryPrimitives.ReadInt64BigEndian(source[RecordBatchLayout.BaseTimestamp..]),
            MaxTimestamp = BinaryPrimitives.ReadInt64BigEndian(source[RecordBatchLayout.MaxTimestamp..]),
            ProducerId = BinaryPrimitives.ReadInt64BigEndian(source[RecordBatchLayout.ProducerId..]),
            ProducerEpoch = BinaryPrimitives.ReadInt16BigEndian(source[RecordBatchLayout.ProducerEpoch..]),
            BaseSequence = BinaryPrimitives.ReadInt32BigEndian(source[RecordBatchLayout.BaseSequence..]),
            RecordsCount = BinaryPrimitives.ReadInt32BigEndian(source[RecordBatchLayout.RecordsCount..]),
        };
        return true;
    }

    /// <summary>Decodes the header bytes at the start of a sequence, which may be fragmented.</summary>
    /// <param name="source">Starts at a batch.</param>
    /// <param name="header">The fields.</param>
    /// <returns>False when fewer than 61 bytes are there.</returns>
    [SkipLocalsInit]
    public static bool TryParse(in ReadOnlySequence<byte> source, out RecordBatchHeader header)
    {
        var first = source.FirstSpan;
        if (first.Length >= RecordBatchLayout.HeaderSize || source.IsSingleSegment)
            return TryParse(first, out header);
        Span<byte> joined = stackalloc byte[RecordBatchLayout.HeaderSize];
        if (source.Length < joined.Length)
        {
            header = default;
            return false;
        }

        source.Slice(0, joined.Length).CopyTo(joined);
        return TryParse(joined, out header);
    }

    /// <summary>Encodes the header, CRC included as it stands.</summary>
    /// <param name="destination">At least 61 bytes.</param>
    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteInt32BigEndian(destination[RecordBatchLayout.RecordsCount..], RecordsCount);
        BinaryPrimitives.WriteInt64BigEndian(destination, BaseOffset);
        BinaryPrimitives.WriteInt32BigEndian(destination[RecordBatchLayout.BatchLength..], BatchLength);
        BinaryPrimitives.WriteInt32BigEndian(
            destination[RecordBatchLayout.PartitionLeaderEpoch..], PartitionLeaderEpoch);
        destination[RecordBatchLayout.Magic] = (byte)Magic;
        BinaryPrimitives.WriteUInt32BigEndian(destination[RecordBatchLayout.Crc..], Crc);
        BinaryPrimitives.WriteInt16BigEndian(destination[RecordBatchLayout.Attributes..], (short)Attributes);
        BinaryPrimitives.WriteInt32BigEndian(destination[RecordBatchLayout.LastOffsetDelta..], LastOffsetDelta);
        BinaryPrimitives.WriteInt64BigEndian(destination[RecordBatchLayout.BaseTimestamp..], BaseTimestamp);
        BinaryPrimitives.WriteInt64BigEndian(destination[RecordBatchLayout.MaxTimestamp..], MaxTimestamp);
        BinaryPrimitives.WriteInt64BigEndian(destination[RecordBatchLayout.ProducerId..], ProducerId);
        BinaryPrimitives.WriteInt16BigEndian(destination[RecordBatchLayout.ProducerEpoch..], ProducerEpoch);
        BinaryPrimitives.WriteInt32BigEndian(destination[RecordBatchLayout.BaseSequence..], BaseSequence);
    }
}
