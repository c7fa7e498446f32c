using KBroker.Protocol.Messages;
using KBroker.Storage;

namespace KBroker.Coordination.Transactions;

/// <summary>What the coordinator knows of one transactional id: producer id and epoch, and the transaction.</summary>
/// <remarks>
/// Producer id and epoch together name one incarnation of the producer. An epoch is used up from
/// <c>short.MaxValue - 1</c> on: the highest is kept for fencing, so that there is always one more. With the newer
/// protocol (KIP-890) every end of a transaction raises the epoch; when it is used up, the id of the next incarnation
/// is chosen before the transaction ends (<see cref="NextProducerId"/>) and takes its place, with epoch 0, afterwards.
/// </remarks>
/// <param name="transactionalId">The id that the application chose.</param>
internal sealed class TransactionEntry(string transactionalId)
{
    /// <summary>The id that the application chose.</summary>
    public string TransactionalId { get; } = transactionalId;

    /// <summary>The producer id.</summary>
    public long ProducerId { get; set; } = -1;

    /// <summary>
    /// The producer id before the last step: another one if that step changed it, which a repeated request shows.
    /// </summary>
    public long PreviousProducerId { get; set; } = -1;

    /// <summary>The producer id after this transaction; -1 when it stays.</summary>
    public long NextProducerId { get; set; } = -1;

    /// <summary>The epoch; -1 before the first initialisation.</summary>
    public short Epoch { get; set; } = -1;

    /// <summary>
    /// The epoch before the last one, when the same producer asked for the new one: repeating that request is answered
    /// with the epoch of then. Or the epoch that the coordinator has fenced: unless somebody else initialises, its
    /// producer may go on with the next one (KIP-588). -1 otherwise; not in the log, as in Kafka.
    /// </summary>
    public short LastEpoch { get; set; } = -1;

    /// <summary>Milliseconds after which the coordinator aborts a transaction.</summary>
    public int TimeoutMs { get; set; }

    /// <summary>Where it stands.</summary>
    public TransactionState State { get; set; }

    /// <summary>The partitions of the transaction.</summary>
    public HashSet<TopicPartition> Partitions { get; } = [];

    /// <summary>When the transaction began, epoch milliseconds; -1 without one.</summary>
    public long StartMs { get; set; } = -1;

    /// <summary>When the entry last changed, epoch milliseconds.</summary>
    public long LastUpdateMs { get; set; } = -1;

    /// <summary>The protocol of the transaction's client, see <see cref="TransactionProtocol"/>.</summary>
    public short ClientProtocol { get; set; }

    /// <summary>Whether only the epoch for fencing is left.</summary>
    public bool IsEpochUsedUp => Epoch >= short.MaxValue - 1;

    /// <summary>Whether the outcome is decided and markers are being written.</summary>
    public bool IsEnding => State is TransactionState.PrepareCommit or TransactionState.PrepareAbort;

    /// <summary>Whether no transaction is open.</summary>
    public bool IsIdle =>
        State is TransactionState.Empty or TransactionState.CompleteCommit or TransactionState.CompleteAbort;

    /// <summary>Begins an incarnation without a transaction.</summary>
    /// <param name="producerId">Its producer id.</param>
    /// <param name="epoch">Its epoch.</param>
    /// <param name="lastEpoch">See <see cref="LastEpoch"/>.</param>
    /// <param name="timeoutMs">Its transaction timeout.</param>
    /// <param name="nowMs">The time.</param>
    public void Initialise(long producerId, short epoch, short lastEpoch, int timeoutMs, long nowMs)
    {
        PreviousProducerId = ProducerId;
        (ProducerId, Epoch, LastEpoch, NextProducerId) = (producerId, epoch, lastEpoch, -1);
        State = TransactionState.Empty;
        TimeoutMs = timeoutMs;
        Partitions.Clear();
        StartMs = -1;
        LastUpdateMs = nowMs;
    }

    /// <summary>Adds partitions; begins a transaction if there is none.</summary>
    /// <param name="partitions">The partitions.</param>
    /// <param name="clientProtocol">The client's protocol.</param>
    /// <param name="nowMs">The time.</param>
    public void Add(IEnumerable<TopicPartition> partitions, short clientProtocol, long nowMs)
    {
        if (State != TransactionState.Ongoing)
        {
            State = TransactionState.Ongoing;
            StartMs = nowMs;
            Partitions.Clear();
        }

        Partitions.UnionWith(partitions);
        PreviousProducerId = ProducerId;
        ClientProtocol = clientProtocol;
        LastUpdateMs = nowMs;
    }

    /// <summary>Decides the transaction.</summary>
    /// <param name="isCommit">How.</param>
    /// <param name="clientProtocol">The protocol in which it ends: it says whether the epoch rises.</param>
    /// <param name="nextProducerId">The producer id from then on; -1 when it stays.</param>
    /// <param name="nowMs">The time.</param>
    public void Prepare(bool isCommit, short clientProtocol, long nextProducerId, long nowMs)
    {
        if (State != TransactionState.Ongoing)
        {
            // Nothing was written: such a transaction began when it ends.
            Partitions.Clear();
            StartMs = nowMs;
        }

        if (clientProtocol >= TransactionProtocol.EpochBump)
        {
            LastEpoch = Epoch;
            Epoch++;
        }

        PreviousProducerId = ProducerId;
        NextProducerId = nextProducerId;
        ClientProtocol = clientProtocol;
        State = isCommit ? TransactionState.PrepareCommit : TransactionState.PrepareAbort;
        LastUpdateMs = nowMs;
    }

    /// <summary>Aborts on the coordinator's own account; the producer is fenced by a higher epoch.</summary>
    /// <param name="nowMs">The time.</param>
    public void Fence(long nowMs)
    {
        LastEpoch = Epoch;
        Epoch++;
        PreviousProducerId = ProducerId;
        NextProducerId = -1;
        State = TransactionState.PrepareAbort;
        LastUpdateMs = nowMs;
    }

    /// <summary>Every marker is durable.</summary>
    /// <param name="nowMs">The time.</param>
    public void Complete(long nowMs)
    {
        State = State == TransactionState.PrepareCommit
            ? TransactionState.CompleteCommit
            : TransactionState.CompleteAbort;
        (PreviousProducerId, NextProducerId, ProducerId, Epoch) = AfterCompletion();
        Partitions.Clear();
        LastUpdateMs = nowMs;
    }

    /// <summary>Producer id and epoch that hold once the transaction is complete.</summary>
    public (long ProducerId, short Epoch) NextIncarnation()
    {
        var (_, _, producerId, epoch) = AfterCompletion();
        return (producerId, epoch);
    }

    /// <summary>What the log keeps of the entry.</summary>
    public TransactionLogValue ToValue()
    {
        var value = new TransactionLogValue
        {
            ProducerId = ProducerId,
            PreviousProducerId = PreviousProducerId,
            NextProducerId = NextProducerId,
            ProducerEpoch = Epoch,
            TransactionTimeoutMs = TimeoutMs,
            TransactionStatus = (sbyte)State,
            TransactionPartitions = null,
            TransactionLastUpdateTimestampMs = LastUpdateMs,
            TransactionStartTimestampMs = StartMs,
            ClientTransactionVersion = ClientProtocol,
        };
        if (State == TransactionState.Empty)
            return value;
        value.TransactionPartitions = [];
        foreach (var topic in Partitions.GroupBy(static p => p.Topic))
        {
            value.TransactionPartitions.Add(new TransactionLogValue.PartitionsSchema
            {
                Topic = topic.Key,
                PartitionIds = [.. topic.Select(static p => p.Partition)],
            });
        }

        return value;
    }

    /// <summary>The entry that a record says.</summary>
    /// <param name="transactionalId">The id, from the key.</param>
    /// <param name="value">The value.</param>
    public static TransactionEntry FromValue(string transactionalId, TransactionLogValue value)
    {
        var entry = new TransactionEntry(transactionalId)
        {
            ProducerId = value.ProducerId,
            PreviousProducerId = value.PreviousProducerId,
            NextProducerId = value.NextProducerId,
            Epoch = value.ProducerEpoch,
            TimeoutMs = value.TransactionTimeoutMs,
            State = (TransactionState)value.TransactionStatus,
            StartMs = value.TransactionStartTimestampMs,
            LastUpdateMs = value.TransactionLastUpdateTimestampMs,
            ClientProtocol = value.ClientTransactionVersion,
        };
        foreach (var topic in value.TransactionPartitions ?? [])
            entry.Partitions.UnionWith(topic.PartitionIds.Select(id => new TopicPartition(topic.Topic, id)));
        return entry;
    }

    private (long Previous, long Next, long ProducerId, short Epoch) AfterCompletion() =>
        ClientProtocol >= TransactionProtocol.EpochBump && NextProducerId >= 0
            ? (ProducerId, -1, NextProducerId, (short)0)
            : (ProducerId, -1, ProducerId, Epoch);
}
