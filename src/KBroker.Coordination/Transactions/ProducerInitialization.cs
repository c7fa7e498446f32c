using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Transactions;

/// <summary>The outcome of a step that may need a fresh producer id.</summary>
/// <param name="Error">The error to answer.</param>
/// <param name="ProducerId">The producer id, or -1.</param>
/// <param name="Epoch">Its epoch, or -1.</param>
/// <param name="NeedsProducerId">Nothing was done: the step is to be run again with a fresh producer id.</param>
internal readonly record struct ProducerOutcome(
    ErrorCode Error, long ProducerId, short Epoch, bool NeedsProducerId = false)
{
    /// <summary>Nothing was done but to find that a fresh producer id is needed.</summary>
    public static ProducerOutcome NeedsId => new(ErrorCode.None, -1, -1, true);

    /// <summary>A refusal.</summary>
    /// <param name="error">The error.</param>
    public static ProducerOutcome Failed(ErrorCode error) => new(error, -1, -1);
}

/// <summary>
/// InitProducerId with a transactional id: gives the producer its id and a higher epoch, which fences the incarnation
/// before. An open transaction of that one is aborted first; if that takes long, the client is told
/// CONCURRENT_TRANSACTIONS and asks again.
/// </summary>
/// <remarks>
/// A producer that names its id and epoch (KIP-360) wants the next epoch after an error of its own. It gets it if
/// nobody else has initialised meanwhile, and gets the same answer again when it repeats the request.
/// </remarks>
/// <param name="shard">The ids.</param>
internal sealed class ProducerInitialization(TransactionShard shard)
{
    /// <summary>Runs the step.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="reply">Who waits.</param>
    /// <param name="request">The request; its transactional id is not null.</param>
    /// <param name="freshProducerId">A producer id that nobody has, or -1 when none was needed so far.</param>
    public void Run(
        ICoordinatorTurn turn, Reply<ProducerOutcome> reply, InitProducerIdRequest request, long freshProducerId) =>
        Run(turn, reply, request, freshProducerId, mayWait: true);

    private void Run(
        ICoordinatorTurn turn,
        Reply<ProducerOutcome> reply,
        InitProducerIdRequest request,
        long freshProducerId,
        bool mayWait)
    {
        var outcome = Initialise(turn, request, freshProducerId);
        if (outcome.Error == ErrorCode.ConcurrentTransactions && mayWait
            && shard.Waiters.TryAdd(turn, request.TransactionalId!, reply, later =>
                Run(later, reply, request, freshProducerId, mayWait: false)))
            return;
        turn.Send(reply, outcome);
    }

    private ProducerOutcome Initialise(ICoordinatorTurn turn, InitProducerIdRequest request, long freshProducerId)
    {
        if (request.TransactionTimeoutMs <= 0 || request.TransactionTimeoutMs > shard.MaxTimeoutMs)
            return ProducerOutcome.Failed(ErrorCode.InvalidTransactionTimeout);
        var entry = shard.Find(request.TransactionalId!);
        if (entry is null)
        {
            if (freshProducerId < 0)
                return ProducerOutcome.NeedsId;
            entry = shard.Create(request.TransactionalId!);
            entry.ProducerId = freshProducerId;
        }

        var isContinued = request.ProducerId >= 0;
        if (isContinued && !IsKnown(entry, request))
            return ProducerOutcome.Failed(ErrorCode.ProducerFenced);
        if (entry.IsEnding)
            return ProducerOutcome.Failed(ErrorCode.ConcurrentTransactions);
        if (entry.State == TransactionState.Ongoing)
        {
            if (isContinued && request.ProducerEpoch != entry.Epoch)
                return ProducerOutcome.Failed(ErrorCode.ProducerFenced);
            CrashPoint.ReachedOnceAppended("txn.fence-appended", "init");
            shard.Ending.Fence(turn, entry);
            return ProducerOutcome.Failed(ErrorCode.ConcurrentTransactions);
        }

        // What the highest epoch has fenced goes on with another producer id: that epoch is no producer's.
        if (entry.IsEpochUsedUp && (!isContinued || request.ProducerEpoch == entry.Epoch
            || (entry.Epoch == short.MaxValue && request.ProducerEpoch == entry.LastEpoch)))
        {
            if (freshProducerId < 0)
                return ProducerOutcome.NeedsId;
            var last = isContinued ? request.ProducerEpoch : (short)-1;
            entry.Initialise(freshProducerId, 0, last, request.TransactionTimeoutMs, turn.NowMs);
        }
        else if (NextEpoch(entry, request, isContinued) is var (epoch, last))
        {
            entry.Initialise(entry.ProducerId, epoch, last, request.TransactionTimeoutMs, turn.NowMs);
        }
        else
        {
            return ProducerOutcome.Failed(ErrorCode.ProducerFenced);
        }

        CrashPoint.ReachedOnceAppended("txn.init-appended");
        shard.Write(turn, entry);
        return new ProducerOutcome(ErrorCode.None, entry.ProducerId, entry.Epoch);
    }

    /// <summary>
    /// Whether the producer id is this entry's: of a new entry any is, and so is the one before whose epochs were used
    /// up (a repeated request, whose answer was lost).
    /// </summary>
    private static bool IsKnown(TransactionEntry entry, InitProducerIdRequest request) =>
        entry.Epoch < 0
        || request.ProducerId == entry.ProducerId
        || (request.ProducerId == entry.PreviousProducerId && request.ProducerEpoch >= short.MaxValue - 1);

    private static (short Epoch, short Last)? NextEpoch(
        TransactionEntry entry, InitProducerIdRequest request, bool isContinued)
    {
        var next = (short)(entry.Epoch + 1);
        if (!isContinued)
            return (next, -1);
        if (entry.Epoch < 0 || request.ProducerEpoch == entry.Epoch)
            return (next, entry.Epoch);
        return request.ProducerEpoch == entry.LastEpoch ? (entry.Epoch, entry.LastEpoch) : null;
    }
}
