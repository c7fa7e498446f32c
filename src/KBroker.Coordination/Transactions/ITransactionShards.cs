using KBroker.Coordination.Runtime;

namespace KBroker.Coordination.Transactions;

/// <summary>Runs steps on the transaction shards of this broker, found by the hash of the transactional id.</summary>
internal interface ITransactionShards
{
    /// <summary>Runs a step on the shard of a transactional id.</summary>
    /// <typeparam name="T">The answer.</typeparam>
    /// <param name="transactionalId">The id.</param>
    /// <param name="step">The step; it answers.</param>
    /// <returns>The answer, once what it rests on is durable.</returns>
    /// <exception cref="CoordinatorException">Through the task. NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
    /// COORDINATOR_NOT_AVAILABLE.</exception>
    Task<T> RunAsync<T>(string transactionalId, Action<TransactionShard, ICoordinatorTurn, Reply<T>> step);

    /// <summary>Runs a step on every shard that is led by this broker.</summary>
    /// <typeparam name="T">A shard's part of the answer.</typeparam>
    /// <param name="step">The step.</param>
    /// <returns>The parts.</returns>
    /// <exception cref="CoordinatorException">Through the task. COORDINATOR_LOAD_IN_PROGRESS when one of them is still
    /// loading.</exception>
    Task<IReadOnlyList<T>> RunOnAllAsync<T>(Func<TransactionShard, ICoordinatorTurn, T> step);
}
