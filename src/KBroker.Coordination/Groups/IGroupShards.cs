using KBroker.Coordination.Runtime;

namespace KBroker.Coordination.Groups;

/// <summary>Runs steps on the shards of this broker, found by the hash of the group id.</summary>
internal interface IGroupShards
{
    /// <summary>Runs a step on the shard of a group.</summary>
    /// <typeparam name="T">The answer.</typeparam>
    /// <param name="groupId">The group.</param>
    /// <param name="step">The step; it answers, now or in a later step.</param>
    /// <returns>The answer, once what it rests on is durable.</returns>
    /// <exception cref="CoordinatorException">Through the task. NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
    /// COORDINATOR_NOT_AVAILABLE; or what the step threw.</exception>
    Task<T> RunAsync<T>(string groupId, Action<GroupShard, ICoordinatorTurn, Reply<T>> step);

    /// <summary>Runs a step whose records belong to a transaction: they hold when its marker has come.</summary>
    /// <typeparam name="T">The answer.</typeparam>
    /// <param name="groupId">The group.</param>
    /// <param name="producer">The transaction's producer.</param>
    /// <param name="step">The step.</param>
    /// <returns>The answer, once what it rests on is durable.</returns>
    /// <exception cref="CoordinatorException">Through the task. As above; INVALID_TXN_STATE when the producer has no
    /// transaction here.</exception>
    Task<T> RunAsync<T>(
        string groupId, TransactionProducer producer, Action<GroupShard, ICoordinatorTurn, Reply<T>> step);

    /// <summary>Runs a step on every shard that is led by this broker.</summary>
    /// <typeparam name="T">A shard's part of the answer.</typeparam>
    /// <param name="step">The step.</param>
    /// <returns>The parts.</returns>
    /// <exception cref="CoordinatorException">Through the task. COORDINATOR_LOAD_IN_PROGRESS when one of them is still
    /// loading.</exception>
    Task<IReadOnlyList<T>> RunOnAllAsync<T>(Func<GroupShard, ICoordinatorTurn, T> step);
}
