using KBroker.Cluster.Metadata;

namespace KBroker.Coordination.Runtime;

/// <summary>The turn of a real shard; one object serves its steps one after the other.</summary>
/// <param name="state">Gets the records replayed.</param>
/// <param name="log">Knows the offsets.</param>
/// <param name="timers">The shard's timers.</param>
internal sealed class ShardTurn(ICoordinatorState state, ShardLog log, ShardTimers timers)
    : ICoordinatorTurn, IDisposable
{
    private bool _isOpen;
    private TransactionProducer _producer;

    /// <inheritdoc/>
    public long NowMs { get; private set; }

    /// <inheritdoc/>
    public MetadataImage Metadata { get; set; } = MetadataImage.Empty;

    /// <summary>The records appended so far.</summary>
    public TurnRecords Records { get; } = new();

    /// <summary>The answers given so far.</summary>
    public List<IHeldReply> Answers { get; } = [];

    /// <summary>Begins a step.</summary>
    /// <param name="nowMs">The step's time.</param>
    /// <param name="producer">The transaction of its records.</param>
    public void Begin(long nowMs, TransactionProducer producer)
    {
        NowMs = nowMs;
        _producer = producer;
        _isOpen = true;
    }

    /// <summary>Ends the step and hands over what it made.</summary>
    /// <returns>Null, or why the shard cannot go on.</returns>
    public ShardFailure? End()
    {
        _isOpen = false;
        if (Records.Count == 0 && Answers.Count == 0)
            return null;
        var failure = log.Take(Records, _producer, Answers, NowMs);
        Records.Clear();
        Answers.Clear();
        return failure;
    }

    /// <summary>Forgets the step's records, and fails the answers it gave.</summary>
    /// <param name="failure">Why.</param>
    public void Drop(ShardFailure failure)
    {
        _isOpen = false;
        foreach (var answer in Answers)
            answer.Fail(failure.Error, null);
        Records.Clear();
        Answers.Clear();
    }

    /// <inheritdoc/>
    public void Append(in CoordinatorRecord record)
    {
        ThrowIfOver();
        var offset = log.NextOffset + Records.Count;
        Records.Add(record);
        state.Replay(new ReplayContext(offset, _producer.Id, _producer.Epoch), record.Key, record.Value);
    }

    /// <inheritdoc/>
    public void AppendOnly(in CoordinatorRecord record)
    {
        ThrowIfOver();
        Records.Add(record);
    }

    /// <inheritdoc/>
    public void Send<T>(Reply<T> reply, T response)
    {
        ThrowIfOver();
        ArgumentNullException.ThrowIfNull(reply);
        if (reply.Hold(response))
            Answers.Add(reply);
    }

    /// <inheritdoc/>
    public void Schedule(string key, long delayMs, Action<ICoordinatorTurn> step)
    {
        ThrowIfOver();
        timers.Schedule(key, delayMs, step);
    }

    /// <inheritdoc/>
    public void Cancel(string key)
    {
        ThrowIfOver();
        timers.Cancel(key);
    }

    /// <inheritdoc/>
    public void RunAside<T>(string key, Func<T> work, Action<ICoordinatorTurn, T?, Exception?> step)
    {
        ThrowIfOver();
        timers.RunAside(key, work, step);
    }

    /// <inheritdoc/>
    public void Dispose() => Records.Dispose();

    private void ThrowIfOver()
    {
        if (!_isOpen)
            throw new InvalidOperationException("A turn is not used after its step.");
    }
}
