namespace KBroker.Protocol.Records;

/// <summary>Where the fields of a record batch (magic 2) lie; all integers are big-endian.</summary>
/// <remarks>
/// <code>
///  0 int64 base offset            21 int16 attributes          51 int16 producer epoch
///  8 int32 batch length           23 int32 last offset delta   53 int32 base sequence
/// 12 int32 partition leader epoch 27 int64 base timestamp      57 int32 records count
/// 16 int8  magic                  35 int64 max timestamp       61 records
/// 17 uint32 CRC-32C of all behind 43 int64 producer id
/// </code>
/// Batch length counts the bytes behind itself. The CRC covers offset 21 to the end, so that a broker may set
/// base offset and leader epoch without computing it anew.
/// </remarks>
public static class RecordBatchLayout
{
    /// <summary>int64, the offset of the first record as first written.</summary>
    public const int BaseOffset = 0;

    /// <summary>int32, the number of bytes behind this field.</summary>
    public const int BatchLength = 8;

    /// <summary>int32, the epoch of the leader that appended the batch; set by the broker.</summary>
    public const int PartitionLeaderEpoch = 12;

    /// <summary>int8, the format: <see cref="CurrentMagic"/>.</summary>
    public const int Magic = 16;

    /// <summary>uint32, CRC-32C of all bytes from <see cref="Attributes"/> on.</summary>
    public const int Crc = 17;

    /// <summary>int16, see <see cref="RecordBatchAttributes"/>.</summary>
    public const int Attributes = 21;

    /// <summary>int32, last offset minus base offset; kept when compaction drops the last record.</summary>
    public const int LastOffsetDelta = 23;

    /// <summary>int64 ms, what the records' timestamp deltas count from, or the delete horizon.</summary>
    public const int BaseTimestamp = 27;

    /// <summary>int64 ms, the largest timestamp, or the append time.</summary>
    public const int MaxTimestamp = 35;

    /// <summary>int64, -1 without idempotence.</summary>
    public const int ProducerId = 43;

    /// <summary>int16, -1 without idempotence.</summary>
    public const int ProducerEpoch = 51;

    /// <summary>int32, -1 without idempotence.</summary>
    public const int BaseSequence = 53;

    /// <summary>int32, the number of records present.</summary>
    public const int RecordsCount = 57;

    /// <summary>Bytes of the header; the records, or their compressed form, follow.</summary>
    public const int HeaderSize = 61;

    /// <summary>Bytes of base offset and batch length: what <see cref="BatchLength"/> does not count.</summary>
    public const int LogOverhead = 12;

    /// <summary>The only format stored and served.</summary>
    public const sbyte CurrentMagic = 2;
}

/// <summary>The bits of a batch's attributes field (int16).</summary>
[Flags]
public enum RecordBatchAttributes : short
{
    /// <summary>Uncompressed, create time, not transactional, data.</summary>
    None = 0,

    /// <summary>Mask of the <see cref="CompressionType"/>.</summary>
    CompressionMask = 0x07,

    /// <summary><see cref="TimestampType.LogAppendTime"/>.</summary>
    LogAppendTime = 0x08,

    /// <summary>The batch belongs to a transaction.</summary>
    Transactional = 0x10,

    /// <summary>The records are control records (markers), not for applications.</summary>
    Control = 0x20,

    /// <summary>The base timestamp field holds the delete horizon (ms) set by the cleaner.</summary>
    DeleteHorizon = 0x40,

    /// <summary>KBroker: every record of the batch is hidden; only beside <see cref="Hiding"/>.</summary>
    AllHidden = 0x1000,

    /// <summary>KBroker: the batch holds commands (a cancel); only beside <see cref="Hiding"/>.</summary>
    Commanding = 0x2000,

    /// <summary>
    /// KBroker: the broker wrote the batch, and its records name the records that they are copies of. Without
    /// <see cref="Hiding"/> they are deliveries, with it they are pending records carried forward.
    /// </summary>
    Copying = 0x4000,

    /// <summary>KBroker: at least one record of the batch is hidden; its headers say which.</summary>
    Hiding = unchecked((short)0x8000),

    /// <summary>Mask of the bits that only the broker sets; clients' are cleared.</summary>
    PrivateMask = unchecked((short)0xF000),
}
