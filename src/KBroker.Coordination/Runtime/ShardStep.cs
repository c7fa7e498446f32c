using KBroker.Protocol;

namespace KBroker.Coordination.Runtime;

/// <summary>Something that waits in a shard's mailbox.</summary>
/// <typeparam name="TState">The shard's state.</typeparam>
internal abstract class ShardStep<TState>
    where TState : class, ICoordinatorState
{
    /// <summary>When it was put there, by the clock's timestamp.</summary>
    public long PostedTimestamp { get; set; }

    /// <summary>The transaction that its records belong to.</summary>
    public virtual TransactionProducer Producer => TransactionProducer.None;

    /// <summary>Runs on the shard.</summary>
    /// <param name="state">The state.</param>
    /// <param name="turn">The step.</param>
    public abstract void Run(TState state, ICoordinatorTurn turn);

    /// <summary>It did not run, or it threw.</summary>
    /// <param name="error">The error code.</param>
    /// <param name="message">A text for the client, or null.</param>
    public virtual void Fail(ErrorCode error, string? message)
    {
    }
}

/// <summary>A step that answers by a reply.</summary>
/// <typeparam name="TState">The shard's state.</typeparam>
/// <typeparam name="T">The answer.</typeparam>
/// <param name="step">What to do.</param>
/// <param name="producer">The transaction of its records.</param>
internal sealed class ReplyStep<TState, T>(
    Action<TState, ICoordinatorTurn, Reply<T>> step, TransactionProducer producer) : ShardStep<TState>
    where TState : class, ICoordinatorState
{
    /// <summary>The answer.</summary>
    public Reply<T> Reply { get; } = new();

    /// <inheritdoc/>
    public override TransactionProducer Producer => producer;

    /// <inheritdoc/>
    public override void Run(TState state, ICoordinatorTurn turn) => step(state, turn, Reply);

    /// <inheritdoc/>
    public override void Fail(ErrorCode error, string? message) => Reply.Fail(error, message);
}

/// <summary>A step that nobody waits for: a timer, news of the metadata.</summary>
/// <typeparam name="TState">The shard's state.</typeparam>
/// <param name="step">What to do.</param>
internal sealed class InternalStep<TState>(Action<TState, ICoordinatorTurn> step) : ShardStep<TState>
    where TState : class, ICoordinatorState
{
    /// <inheritdoc/>
    public override void Run(TState state, ICoordinatorTurn turn) => step(state, turn);
}

/// <summary>Ends the shard, behind the steps that were posted before.</summary>
/// <typeparam name="TState">The shard's state.</typeparam>
/// <param name="error">What whoever comes later, or still waits, is told.</param>
internal sealed class CloseStep<TState>(ErrorCode error) : ShardStep<TState>
    where TState : class, ICoordinatorState
{
    /// <summary>What whoever comes later, or still waits, is told.</summary>
    public ErrorCode Error => error;

    /// <inheritdoc/>
    public override void Run(TState state, ICoordinatorTurn turn)
    {
    }
}
