namespace KBroker.Protocol.Records;

/// <summary>What a new batch is to say about itself, beside its records.</summary>
public sealed record RecordBatchOptions
{
    /// <summary>Offset 0, uncompressed, create time, no producer: what a client sends.</summary>
    public static RecordBatchOptions Default { get; } = new();

    /// <summary>Offset that the deltas count from; the first record may lie behind it.</summary>
    public long BaseOffset { get; init; }

    /// <summary>Leader epoch, -1 for none.</summary>
    public int PartitionLeaderEpoch { get; init; } = -1;

    /// <summary>The codec.</summary>
    public CompressionType Compression { get; init; }

    /// <summary>The codec's level, null for its default.</summary>
    public int? CompressionLevel { get; init; }

    /// <summary>Who sets the timestamps.</summary>
    public TimestampType TimestampType { get; init; }

    /// <summary>
    /// ms; the max timestamp field where it is not the largest timestamp of the records: the append time of a
    /// <see cref="TimestampType.LogAppendTime"/> batch, or what an emptied batch once held.
    /// </summary>
    public long? MaxTimestamp { get; init; }

    /// <summary>
    /// ms; when the cleaner may drop the batch's tombstones; it takes the place of the base timestamp.
    /// </summary>
    public long? DeleteHorizon { get; init; }

    /// <summary>Id of the idempotent producer, or -1.</summary>
    public long ProducerId { get; init; } = -1;

    /// <summary>Its epoch, or -1.</summary>
    public short ProducerEpoch { get; init; } = -1;

    /// <summary>Sequence that belongs to the base offset, or -1.</summary>
    public int BaseSequence { get; init; } = -1;

    /// <summary>Whether the batch belongs to a transaction.</summary>
    public bool IsTransactional { get; init; }

    /// <summary>Whether the records are control records.</summary>
    public bool IsControl { get; init; }

    /// <summary>
    /// Last offset delta where the last record of the original batch is gone; null: that of the last record.
    /// </summary>
    public int? LastOffsetDelta { get; init; }

    /// <summary>Further attribute bits (the broker's private ones).</summary>
    public RecordBatchAttributes ExtraAttributes { get; init; }

    /// <summary>Everything that rewriting the records of a batch keeps.</summary>
    /// <param name="header">The original.</param>
    /// <returns>Options whose max timestamp is set only for log append time.</returns>
    public static RecordBatchOptions Like(in RecordBatchHeader header) => new()
    {
        BaseOffset = header.BaseOffset,
        PartitionLeaderEpoch = header.PartitionLeaderEpoch,
        Compression = header.Compression,
        TimestampType = header.TimestampType,
        MaxTimestamp = header.TimestampType == TimestampType.LogAppendTime ? header.MaxTimestamp : null,
        DeleteHorizon = header.HasDeleteHorizon ? header.BaseTimestamp : null,
        ProducerId = header.ProducerId,
        ProducerEpoch = header.ProducerEpoch,
        BaseSequence = header.BaseSequence,
        IsTransactional = header.IsTransactional,
        IsControl = header.IsControl,
        LastOffsetDelta = header.LastOffsetDelta,
        ExtraAttributes = header.Attributes & ~(RecordBatchAttributes)0x7f,
    };

    internal RecordBatchAttributes Attributes =>
        (RecordBatchAttributes)Compression
        | (TimestampType == TimestampType.LogAppendTime ? RecordBatchAttributes.LogAppendTime : 0)
        | (IsTransactional ? RecordBatchAttributes.Transactional : 0)
        | (IsControl ? RecordBatchAttributes.Control : 0)
        | (DeleteHorizon is null ? 0 : RecordBatchAttributes.DeleteHorizon)
        | ExtraAttributes;
}
