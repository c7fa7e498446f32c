using KBroker.Coordination.Runtime;
using KBroker.Protocol;

namespace KBroker.Coordination.Transactions;

/// <summary>
/// Requests that came while their transaction before was still being ended. They wait a little for its completion, and
/// are then judged again; so most clients get an answer in place of CONCURRENT_TRANSACTIONS, after which they would
/// wait for longer than that, and ask once more.
/// </summary>
/// <remarks>See docs/decisions/0008. The wait is bounded by <c>add.partitions.to.txn.retry.backoff.max.ms</c>; 0 ends
/// it.</remarks>
/// <param name="limitMs">The longest wait, milliseconds.</param>
internal sealed class CompletionWaiters(Func<int> limitMs)
{
    private readonly Dictionary<string, List<Waiter>> _waiters = [];
    private long _last;

    /// <summary>How many requests wait.</summary>
    public int Count => _waiters.Values.Sum(static waiters => waiters.Count);

    /// <summary>Lets a request wait.</summary>
    /// <typeparam name="T">Its answer.</typeparam>
    /// <param name="turn">The step.</param>
    /// <param name="transactionalId">Whose transaction it waits for.</param>
    /// <param name="reply">Who waits.</param>
    /// <param name="again">Judges the request again, when the transaction is complete or the time is over; it must
    /// answer then.</param>
    /// <returns>False when requests do not wait.</returns>
    public bool TryAdd<T>(
        ICoordinatorTurn turn, string transactionalId, Reply<T> reply, Action<ICoordinatorTurn> again)
    {
        var limit = limitMs();
        if (limit <= 0)
            return false;
        if (!_waiters.TryGetValue(transactionalId, out var waiters))
            _waiters[transactionalId] = waiters = [];
        var waiter = new Waiter($"completion/{++_last}", again, error => reply.Fail(error));
        waiters.Add(waiter);
        turn.Schedule(waiter.Timer, limit, late =>
        {
            if (!_waiters.TryGetValue(transactionalId, out var left) || !left.Remove(waiter))
                return;
            if (left.Count == 0)
                _waiters.Remove(transactionalId);
            again(late);
        });
        return true;
    }

    /// <summary>A transaction is complete: who waited for it is judged now.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="transactionalId">Whose.</param>
    public void Completed(ICoordinatorTurn turn, string transactionalId)
    {
        if (!_waiters.Remove(transactionalId, out var waiters))
            return;
        foreach (var waiter in waiters)
        {
            turn.Cancel(waiter.Timer);
            waiter.Again(turn);
        }
    }

    /// <summary>Tells everybody that there is nothing to wait for any more.</summary>
    /// <param name="error">Why.</param>
    public void Fail(ErrorCode error)
    {
        foreach (var waiter in _waiters.Values.SelectMany(static waiters => waiters))
            waiter.Fail(error);
        _waiters.Clear();
    }

    private sealed record Waiter(string Timer, Action<ICoordinatorTurn> Again, Action<ErrorCode> Fail);
}
