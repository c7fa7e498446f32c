namespace KBroker.Storage;

/// <summary>Why an append was refused; each value is the Kafka error code that the client is to see.</summary>
public enum AppendError : short
{
    /// <summary>It was not.</summary>
    None = 0,

    /// <summary>CORRUPT_MESSAGE: a CRC or a length does not hold.</summary>
    CorruptMessage = 2,

    /// <summary>MESSAGE_TOO_LARGE: a batch is larger than <c>max.message.bytes</c>.</summary>
    MessageTooLarge = 10,

    /// <summary>RECORD_LIST_TOO_LARGE: the batches are larger than a segment.</summary>
    RecordListTooLarge = 18,

    /// <summary>INVALID_TIMESTAMP: timestamps out of the topic's bounds.</summary>
    InvalidTimestamp = 32,

    /// <summary>UNSUPPORTED_FOR_MESSAGE_FORMAT: a feature that an old format lacks.</summary>
    UnsupportedForMessageFormat = 43,

    /// <summary>OUT_OF_ORDER_SEQUENCE_NUMBER: a batch of an idempotent producer is missing before this one.</summary>
    OutOfOrderSequenceNumber = 45,

    /// <summary>INVALID_PRODUCER_EPOCH: a newer instance of the producer has written already.</summary>
    InvalidProducerEpoch = 47,

    /// <summary>INVALID_TXN_STATE: the producer's transaction does not allow it.</summary>
    InvalidTransactionState = 48,

    /// <summary>TRANSACTION_COORDINATOR_FENCED: a marker of an old coordinator.</summary>
    TransactionCoordinatorFenced = 52,

    /// <summary>OPERATION_NOT_ATTEMPTED: what <see cref="AppendOptions.CommandEnd"/> says did not hold.</summary>
    OperationNotAttempted = 55,

    /// <summary>UNSUPPORTED_COMPRESSION_TYPE: an unknown codec, or one this machine lacks.</summary>
    UnsupportedCompressionType = 76,

    /// <summary>INVALID_RECORD: a batch or records that break a rule.</summary>
    InvalidRecord = 87,
}

/// <summary>Who appends, which decides what is allowed.</summary>
public enum AppendOrigin
{
    /// <summary>A producer: exactly one batch, no control records, sequences checked.</summary>
    Client,

    /// <summary>A coordinator or another part of the broker: data or markers, any number of batches.</summary>
    Coordinator,

    /// <summary>The metadata log's leader: as <see cref="Coordinator"/>; sizes are not limited by the topic.</summary>
    MetadataLog,

    /// <summary>
    /// The delivery of records that are in the log already: as <see cref="Coordinator"/>; sizes are not limited by the
    /// topic, because a copy may be larger than its original.
    /// </summary>
    Delivery,
}

/// <summary>The circumstances of an append.</summary>
public readonly record struct AppendOptions
{
    /// <summary>Who appends.</summary>
    public AppendOrigin Origin { get; init; }

    /// <summary>The CRC of every batch was checked, or computed, by the caller, on these very bytes.</summary>
    public bool CrcIsChecked { get; init; }

    /// <summary>
    /// The coordinator's consent to the first batch of a transaction: see
    /// <see cref="PartitionLog.BeginVerification"/>.
    /// </summary>
    public TransactionVerification? Verification { get; init; }

    /// <summary>
    /// The first batch of a transaction needs a <see cref="Verification"/>
    /// (<c>transaction.partition.verification.enable</c>).
    /// </summary>
    public bool RequiresVerification { get; init; }

    /// <summary>
    /// The epoch of markers is above that of the records they end: the client's epoch rises with each transaction.
    /// </summary>
    public bool IsEpochBumped { get; init; }

    /// <summary>
    /// Appends only if the log's <see cref="FlaggedBatches.CommandEnd"/> is this: so nothing is delivered behind a
    /// command that forbids it. Null asks for nothing.
    /// </summary>
    public long? CommandEnd { get; init; }

    /// <summary>Whether the topic's limits of sizes hold.</summary>
    internal bool HasSizeLimit => Origin is AppendOrigin.Client or AppendOrigin.Coordinator;

    /// <summary>A producer's append.</summary>
    public static AppendOptions Client => default;

    /// <summary>An append of the broker's own.</summary>
    public static AppendOptions Coordinator => new() { Origin = AppendOrigin.Coordinator, CrcIsChecked = true };
}

/// <summary>What is wrong with one record of a refused batch.</summary>
/// <param name="BatchIndex">Index of the record in the batch, from 0.</param>
/// <param name="Message">Names the value and the rule.</param>
public sealed record RecordError(int BatchIndex, string Message);

/// <summary>What became of an append.</summary>
public readonly record struct AppendResult
{
    /// <summary><see cref="AppendError.None"/>, or why nothing was stored.</summary>
    public AppendError Error { get; init; }

    /// <summary>The text for the client, null without an error.</summary>
    public string? ErrorMessage { get; init; }

    /// <summary>The records at fault, where the error has such; else empty.</summary>
    public IReadOnlyList<RecordError> RecordErrors { get => field ?? []; init; }

    /// <summary>Offset of the first record; -1 with an error.</summary>
    public long FirstOffset { get; init; }

    /// <summary>Offset of the last record; -1 with an error.</summary>
    public long LastOffset { get; init; }

    /// <summary>
    /// The timestamp given to all records (ms), or -1 when they keep their producer's; of a duplicate the largest
    /// timestamp of the batch, whoever gave it.
    /// </summary>
    public long LogAppendTimeMs { get; init; }

    /// <summary>The log's first offset.</summary>
    public long LogStartOffset { get; init; }

    /// <summary>The batch was appended before; the offsets are those of then.</summary>
    public bool IsDuplicate { get; init; }

    /// <summary>Records appended.</summary>
    public int RecordsCount { get; init; }

    /// <summary>Bytes appended, after recompression.</summary>
    public int SizeInBytes { get; init; }

    /// <summary>The offset behind what was appended: what to wait for before an acknowledgement.</summary>
    public long NextOffset => LastOffset + 1;

    /// <summary>Whether it is stored.</summary>
    public bool IsSuccess => Error == AppendError.None;

    internal static AppendResult Refused(
        AppendError error,
        string message,
        long logStartOffset,
        IReadOnlyList<RecordError>? recordErrors = null) => new()
        {
            Error = error,
            ErrorMessage = message,
            RecordErrors = recordErrors ?? [],
            FirstOffset = -1,
            LastOffset = -1,
            LogAppendTimeMs = -1,
            LogStartOffset = logStartOffset,
        };
}
