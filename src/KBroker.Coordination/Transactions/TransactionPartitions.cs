using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Storage;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Transactions;

/// <summary>Which partitions belong to a transaction: AddPartitionsToTxn, AddOffsetsToTxn, and brokers that
/// ask.</summary>
/// <param name="shard">The ids.</param>
internal sealed class TransactionPartitions(TransactionShard shard)
{
    /// <summary>Adds partitions to a transaction, which begins with the first.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="reply">Gets INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS when the last
    /// transaction is still being ended after a while, or none.</param>
    /// <param name="producer">Who adds them.</param>
    /// <param name="partitions">The partitions.</param>
    /// <param name="clientProtocol">See <see cref="TransactionProtocol"/>.</param>
    public void Add(
        ICoordinatorTurn turn,
        Reply<ErrorCode> reply,
        TransactionalProducer producer,
        IReadOnlyCollection<TopicPartition> partitions,
        short clientProtocol) => Add(turn, reply, producer, partitions, clientProtocol, mayWait: true);

    private void Add(
        ICoordinatorTurn turn,
        Reply<ErrorCode> reply,
        TransactionalProducer producer,
        IReadOnlyCollection<TopicPartition> partitions,
        short clientProtocol,
        bool mayWait)
    {
        var error = Check(producer, out var entry);
        if (error == ErrorCode.ConcurrentTransactions && mayWait
            && shard.Waiters.TryAdd(turn, producer.TransactionalId, reply, later =>
                Add(later, reply, producer, partitions, clientProtocol, mayWait: false)))
            return;
        if (error == ErrorCode.None)
        {
            var begins = entry!.State != TransactionState.Ongoing;
            if (begins || !entry.Partitions.IsSupersetOf(partitions))
            {
                CrashPoint.ReachedOnceAppended("txn.partitions-appended");
                entry.Add(partitions, clientProtocol, turn.NowMs);
                shard.Write(turn, entry);
                if (begins)
                    shard.SetTimeout(turn, entry);
            }
        }

        turn.Send(reply, error);
    }

    /// <summary>Says which partitions are in a producer's open transaction; changes nothing (KIP-890).</summary>
    /// <param name="turn">The step.</param>
    /// <param name="reply">Gets an error for all, or one for each partition: none, or TRANSACTION_ABORTABLE.</param>
    /// <param name="producer">The producer.</param>
    /// <param name="partitions">The partitions.</param>
    public void Verify(
        ICoordinatorTurn turn,
        Reply<IReadOnlyList<ErrorCode>> reply,
        in TransactionalProducer producer,
        IReadOnlyList<TopicPartition> partitions)
    {
        var error = Check(producer, out var entry);
        turn.Send<IReadOnlyList<ErrorCode>>(reply, [.. partitions.Select(partition => error != ErrorCode.None
            ? error
            : entry!.Partitions.Contains(partition) ? ErrorCode.None : ErrorCode.TransactionAbortable)]);
    }

    private ErrorCode Check(in TransactionalProducer producer, out TransactionEntry? entry)
    {
        entry = null;
        if (string.IsNullOrEmpty(producer.TransactionalId))
            return ErrorCode.InvalidRequest;
        entry = shard.Find(producer.TransactionalId);
        if (entry is null || entry.ProducerId != producer.ProducerId)
            return ErrorCode.InvalidProducerIdMapping;
        // The highest epoch is the coordinator's own: there is none above it by which to end a transaction.
        if (entry.Epoch != producer.Epoch || producer.Epoch == short.MaxValue)
            return ErrorCode.ProducerFenced;
        return entry.IsEnding ? ErrorCode.ConcurrentTransactions : ErrorCode.None;
    }
}

/// <summary>A transactional producer, as its requests name it.</summary>
/// <param name="TransactionalId">The transactional id.</param>
/// <param name="ProducerId">The producer id.</param>
/// <param name="Epoch">Its epoch.</param>
internal readonly record struct TransactionalProducer(string TransactionalId, long ProducerId, short Epoch);
