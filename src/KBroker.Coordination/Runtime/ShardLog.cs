using System.Buffers;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Runtime;

/// <summary>Why a shard's records could not be appended; the shard's state is ahead of its log then.</summary>
/// <param name="Error">What clients are answered.</param>
/// <param name="Message">What happened, for the log.</param>
internal sealed record ShardFailure(ErrorCode Error, string Message);

/// <summary>The producer of a transactional batch; none for all others.</summary>
/// <param name="Id">Its id, or -1.</param>
/// <param name="Epoch">Its epoch, or -1.</param>
/// <param name="Verification">The transaction coordinator's consent to the transaction's first records here; null
/// where it has some already.</param>
internal readonly record struct TransactionProducer(
    long Id, short Epoch, TransactionVerification? Verification = null)
{
    /// <summary>No transaction.</summary>
    public static TransactionProducer None => new(-1, -1);

    /// <summary>Whether there is one.</summary>
    public bool IsTransactional => Id >= 0;
}

/// <summary>
/// The writing half of a shard: gathers the records of several turns in one batch, appends it, and queues the answers.
/// The records of a turn stand in one batch where they fit. Used by the shard's steps only.
/// </summary>
/// <remarks>
/// The state has the records already when they get here, with the offsets that they are going to have. So an append
/// that fails, or gives other offsets, leaves a state that its log does not know: every method then returns the
/// failure, and the shard has to be loaded anew.
/// </remarks>
internal sealed class ShardLog : IDisposable
{
    private const int KeepBytes = 64 * 1024;
    private readonly Partition _partition;
    private readonly CompressionCodecs _codecs;
    private readonly Func<CompressionType> _compression;
    private readonly AnswerQueue _queue;
    private RecordBatchBuilder? _builder;
    private List<IHeldReply> _answers = [];
    private TransactionProducer _producer = TransactionProducer.None;

    /// <summary>Starts behind what was loaded.</summary>
    /// <param name="partition">The log.</param>
    /// <param name="codecs">For compressed batches.</param>
    /// <param name="compression"><c>offsets.topic.compression.codec</c>.</param>
    /// <param name="queue">Where answers wait.</param>
    /// <param name="endOffset">The log's end.</param>
    public ShardLog(
        Partition partition,
        CompressionCodecs codecs,
        Func<CompressionType> compression,
        AnswerQueue queue,
        long endOffset)
    {
        _partition = partition;
        _codecs = codecs;
        _compression = compression;
        _queue = queue;
        AppendedOffset = endOffset;
    }

    /// <summary>The offset behind the last record that was appended.</summary>
    public long AppendedOffset { get; private set; }

    /// <summary>The offset that the next record gets.</summary>
    public long NextOffset => AppendedOffset + (_builder?.RecordsCount ?? 0);

    /// <summary>Whether nobody else has written to the log.</summary>
    public bool IsInStep => _partition.Log.LogEndOffset == AppendedOffset;

    /// <summary>Whether enough was gathered for one drain.</summary>
    public bool IsFull => _builder?.UncompressedBytes >= MaxBatchBytes / 2;

    private int MaxBatchBytes => Math.Min(_partition.Log.Config.MaxMessageBytes, _partition.Log.Config.SegmentBytes);

    /// <summary>Takes over the records and answers of a turn.</summary>
    /// <param name="records">The records.</param>
    /// <param name="producer">The transaction they belong to.</param>
    /// <param name="answers">The answers of the turn.</param>
    /// <param name="nowMs">Timestamp of the records.</param>
    /// <returns>Null, or why the shard cannot go on.</returns>
    public ShardFailure? Take(
        TurnRecords records, TransactionProducer producer, List<IHeldReply> answers, long nowMs)
    {
        if (records.Count > 0 && Gather(records, producer, nowMs) is { } failure)
        {
            Fail(answers, failure);
            return failure;
        }

        _answers.AddRange(answers);
        // A read that rests on nothing new need not wait for the end of the drain.
        if (_builder is not { RecordsCount: > 0 })
            Queue(ValueTask.CompletedTask);
        return null;
    }

    /// <summary>Appends what was gathered.</summary>
    /// <returns>Null, or why the shard cannot go on.</returns>
    public ShardFailure? Flush()
    {
        if (_builder is not { RecordsCount: > 0 } builder)
            return null;
        var bytes = new ReadOnlySequence<byte>(builder.Build());
        var failure = Append(bytes, builder.RecordsCount, AppendOptions.Coordinator);
        if (builder.UncompressedBytes > KeepBytes)
            ReleaseBuilder();
        else
            builder.Reset(RecordBatchOptions.Default);
        return failure;
    }

    /// <summary>Appends a transaction's marker, behind everything gathered.</summary>
    /// <param name="end">What it says.</param>
    /// <param name="nowMs">Timestamp of the marker.</param>
    /// <returns>Null, or why it was not appended: INVALID_PRODUCER_EPOCH and TRANSACTION_COORDINATOR_FENCED concern
    /// the marker alone, behind all others the shard cannot go on.</returns>
    public ShardFailure? AppendMarker(in TransactionEnd end, long nowMs)
    {
        if (Flush() is { } failure)
            return failure;
        return Append(
            new ReadOnlySequence<byte>(end.ToMarker(nowMs)),
            1,
            AppendOptions.Coordinator with { IsEpochBumped = end.IsEpochBumped });
    }

    /// <summary>Fails the answers that rest on what was not appended.</summary>
    /// <param name="failure">Why.</param>
    public void Abandon(ShardFailure failure)
    {
        Fail(_answers, failure);
        _answers = [];
        ReleaseBuilder();
    }

    /// <inheritdoc/>
    public void Dispose() => ReleaseBuilder();

    private static void Fail(List<IHeldReply> answers, ShardFailure failure)
    {
        foreach (var answer in answers)
            answer.Fail(failure.Error, null);
    }

    private ShardFailure? Gather(TurnRecords records, TransactionProducer producer, long nowMs)
    {
        var limit = MaxBatchBytes;
        var turnBytes = 0L;
        for (var i = 0; i < records.Count; i++)
        {
            var (key, value) = records[i];
            var bytes = RecordBatchBuilder.MaxRecordBytes(key.Length, value?.Length ?? 0);
            if (bytes + RecordBatchLayout.HeaderSize > limit)
                return TooLarge(bytes, limit);
            turnBytes += bytes;
        }

        var mustBegin = _builder is not { RecordsCount: > 0 };
        var isOther = (_producer.Id, _producer.Epoch) != (producer.Id, producer.Epoch);
        if (!mustBegin && (isOther || _builder!.UncompressedBytes + turnBytes > limit))
        {
            if (Flush() is { } failure)
                return failure;
            mustBegin = true;
        }

        for (var i = 0; i < records.Count; i++)
        {
            var (key, value) = records[i];
            var bytes = RecordBatchBuilder.MaxRecordBytes(key.Length, value?.Length ?? 0);
            if (!mustBegin && _builder!.UncompressedBytes + bytes > limit)
            {
                if (Flush() is { } failure)
                    return failure;
                mustBegin = true;
            }

            if (mustBegin)
                Begin(producer);
            mustBegin = false;
            _builder!.Append(nowMs, key, value);
        }

        return null;
    }

    private ShardFailure TooLarge(int bytes, int limit) => new(
        ErrorCode.UnknownServerError,
        $"A record of {bytes} bytes for {_partition.TopicPartition} exceeds the maximum configured size of {limit}.");

    private void Begin(TransactionProducer producer)
    {
        _producer = producer;
        var options = new RecordBatchOptions
        {
            Compression = _compression(),
            ProducerId = producer.Id,
            ProducerEpoch = producer.Epoch,
            // As Kafka writes it, with and without a producer; nobody looks at it in batches of a coordinator.
            BaseSequence = 0,
            IsTransactional = producer.IsTransactional,
        };
        if (_builder is null)
            _builder = new RecordBatchBuilder(options, _codecs);
        else
            _builder.Reset(options);
    }

    private ShardFailure? Append(ReadOnlySequence<byte> bytes, int recordsCount, in AppendOptions options)
    {
        var appended = _partition.AppendAsLeader(bytes, requiredAcks: -1, options);
        if (appended.Error != ErrorCode.None)
        {
            return new ShardFailure(
                CoordinatorErrors.OfAppend(appended.Error),
                $"appending failed with {ErrorCodes.Name(appended.Error)}: {appended.Message}");
        }

        var result = appended.Append;
        if (result.FirstOffset != AppendedOffset || result.NextOffset != AppendedOffset + recordsCount)
        {
            return new ShardFailure(
                ErrorCode.NotCoordinator,
                $"offsets {result.FirstOffset} to {result.LastOffset} were given where {AppendedOffset} was expected: "
                + "somebody else wrote to the log");
        }

        AppendedOffset = result.NextOffset;
        CrashPoint.Appended();
        try
        {
            Queue(_partition.WaitDurableAsync(AppendedOffset));
            return null;
        }
        catch (StorageException failure)
        {
            return new ShardFailure(CoordinatorErrors.OfAppend(ErrorCode.KafkaStorageError), failure.Message);
        }
    }

    private void Queue(ValueTask durable)
    {
        var answers = _answers;
        if (answers.Count == 0 && durable.IsCompletedSuccessfully)
            return;
        _answers = [];
        _queue.Add(AppendedOffset, durable, answers);
    }

    private void ReleaseBuilder()
    {
        _builder?.Dispose();
        _builder = null;
    }
}
