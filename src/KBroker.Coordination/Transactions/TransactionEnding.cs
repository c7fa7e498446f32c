using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Transactions;

/// <summary>EndTxn in both protocols, and the abort that the coordinator decides itself.</summary>
/// <remarks>
/// In the classic protocol the epoch stays, so a repeated request looks like the first and is judged by the state
/// alone. In the newer one (KIP-890) each end raises the epoch: a repeated request has the epoch before, a request
/// with the current epoch means the next transaction, even one to which nothing was added yet.
/// </remarks>
/// <param name="shard">The ids.</param>
internal sealed class TransactionEnding(TransactionShard shard)
{
    private const short LastEpochOfClients = short.MaxValue - 1;

    /// <summary>Runs the step.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="reply">Who waits: gets the producer's id and epoch for the next transaction.</param>
    /// <param name="producer">The producer.</param>
    /// <param name="isCommit">Whether to commit.</param>
    /// <param name="clientProtocol">See <see cref="TransactionProtocol"/>.</param>
    /// <param name="freshProducerId">A producer id that nobody has, or -1 when none was needed so far.</param>
    public void Run(
        ICoordinatorTurn turn,
        Reply<ProducerOutcome> reply,
        TransactionalProducer producer,
        bool isCommit,
        short clientProtocol,
        long freshProducerId) =>
        Run(turn, reply, producer, isCommit, clientProtocol, freshProducerId, mayWait: true);

    private void Run(
        ICoordinatorTurn turn,
        Reply<ProducerOutcome> reply,
        TransactionalProducer producer,
        bool isCommit,
        short clientProtocol,
        long freshProducerId,
        bool mayWait)
    {
        var outcome = string.IsNullOrEmpty(producer.TransactionalId)
            ? ProducerOutcome.Failed(ErrorCode.InvalidRequest)
            : shard.Find(producer.TransactionalId) is not { } entry
                ? ProducerOutcome.Failed(ErrorCode.InvalidProducerIdMapping)
                : clientProtocol >= TransactionProtocol.EpochBump
                    ? EndWithBump(turn, entry, producer, isCommit, clientProtocol, freshProducerId)
                    : EndClassic(turn, entry, producer, isCommit, clientProtocol);
        if (outcome.Error == ErrorCode.ConcurrentTransactions && mayWait
            && shard.Waiters.TryAdd(turn, producer.TransactionalId, reply, later =>
                Run(later, reply, producer, isCommit, clientProtocol, freshProducerId, mayWait: false)))
            return;
        turn.Send(reply, outcome);
    }

    /// <summary>Aborts an ongoing transaction by a higher epoch: its producer is fenced.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="entry">The transaction.</param>
    public void Fence(ICoordinatorTurn turn, TransactionEntry entry)
    {
        entry.Fence(turn.NowMs);
        shard.Write(turn, entry);
        shard.Finish(turn, entry);
    }

    private ProducerOutcome EndClassic(
        ICoordinatorTurn turn,
        TransactionEntry entry,
        in TransactionalProducer producer,
        bool isCommit,
        short clientProtocol)
    {
        if (entry.ProducerId != producer.ProducerId)
            return ProducerOutcome.Failed(ErrorCode.InvalidProducerIdMapping);
        if (entry.Epoch != producer.Epoch)
            return ProducerOutcome.Failed(ErrorCode.ProducerFenced);
        switch (entry.State)
        {
            case TransactionState.Ongoing:
                return Decide(turn, entry, isCommit, clientProtocol, -1);
            case TransactionState.PrepareCommit or TransactionState.PrepareAbort:
                return ProducerOutcome.Failed(IsDecision(entry, isCommit)
                    ? ErrorCode.ConcurrentTransactions
                    : ErrorCode.InvalidTxnState);
            case TransactionState.CompleteCommit or TransactionState.CompleteAbort when IsDecision(entry, isCommit):
                return new ProducerOutcome(ErrorCode.None, entry.ProducerId, entry.Epoch);
            default:
                return ProducerOutcome.Failed(ErrorCode.InvalidTxnState);
        }
    }

    private ProducerOutcome EndWithBump(
        ICoordinatorTurn turn,
        TransactionEntry entry,
        in TransactionalProducer producer,
        bool isCommit,
        short clientProtocol,
        long freshProducerId)
    {
        var isRetryAfterChange = entry.PreviousProducerId == producer.ProducerId
            && producer.Epoch == LastEpochOfClients && entry.Epoch == 0;
        var isRetry = isRetryAfterChange || entry.Epoch == producer.Epoch + 1;
        if (entry.ProducerId != producer.ProducerId && !isRetryAfterChange)
            return ProducerOutcome.Failed(ErrorCode.InvalidProducerIdMapping);
        var isValid = entry.State switch
        {
            TransactionState.PrepareCommit or TransactionState.PrepareAbort => entry.Epoch == producer.Epoch + 1,
            TransactionState.CompleteCommit or TransactionState.CompleteAbort =>
                isRetry || entry.Epoch == producer.Epoch,
            _ => entry.Epoch == producer.Epoch,
        };
        if (!isValid)
            return ProducerOutcome.Failed(ErrorCode.ProducerFenced);
        switch (entry.State)
        {
            case TransactionState.Ongoing:
                break;
            case TransactionState.PrepareCommit or TransactionState.PrepareAbort:
                return ProducerOutcome.Failed(IsDecision(entry, isCommit)
                    ? ErrorCode.ConcurrentTransactions
                    : ErrorCode.InvalidTxnState);
            case TransactionState.CompleteCommit or TransactionState.CompleteAbort when isRetry:
                return IsDecision(entry, isCommit)
                    ? new ProducerOutcome(ErrorCode.None, entry.ProducerId, entry.Epoch)
                    : ProducerOutcome.Failed(ErrorCode.InvalidTxnState);
            default:
                // The client may have sent records that never arrived: an abort then ends a transaction of nothing.
                if (isCommit)
                    return ProducerOutcome.Failed(ErrorCode.InvalidTxnState);
                break;
        }

        if (entry.IsEpochUsedUp && freshProducerId < 0)
            return ProducerOutcome.NeedsId;
        return Decide(turn, entry, isCommit, clientProtocol, entry.IsEpochUsedUp ? freshProducerId : -1);
    }

    private ProducerOutcome Decide(
        ICoordinatorTurn turn, TransactionEntry entry, bool isCommit, short clientProtocol, long nextProducerId)
    {
        entry.Prepare(isCommit, clientProtocol, nextProducerId, turn.NowMs);
        var (producerId, epoch) = entry.NextIncarnation();
        CrashPoint.ReachedOnceAppended("txn.prepare-appended", isCommit ? "commit" : "abort");
        shard.Write(turn, entry);
        shard.Finish(turn, entry);
        return new ProducerOutcome(ErrorCode.None, producerId, epoch);
    }

    private static bool IsDecision(TransactionEntry entry, bool isCommit) =>
        (entry.State is TransactionState.PrepareCommit or TransactionState.CompleteCommit) == isCommit;
}
