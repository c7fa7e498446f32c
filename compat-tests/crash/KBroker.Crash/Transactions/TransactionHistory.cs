using KBroker.Crash.History;

namespace KBroker.Crash.Transactions;

/// <summary>All transactions of a generation, and what was read of them. Any thread may call anything.</summary>
internal sealed class TransactionHistory
{
    private const int EventsKept = 60;
    private readonly Lock _lock = new();
    private readonly List<SentTransaction> _transactions = [];
    private readonly Dictionary<RecordId, (SentTransaction Transaction, Place Place)> _byRecord = [];
    private readonly Dictionary<(Place Place, long Offset), RecordId> _facts = [];
    private readonly Queue<string> _events = new();
    private int _deaths;
    private long _failedProducers;

    /// <summary>Transactions that were committed, as their clients know it.</summary>
    public long Committed { get; private set; }

    /// <summary>Transactions that were aborted.</summary>
    public long Aborted { get; private set; }

    /// <summary>Transactions whose end no client knows.</summary>
    public long Unknown { get; private set; }

    /// <summary>How often the broker has died.</summary>
    public int Deaths => Volatile.Read(ref _deaths);

    /// <summary>Producers that failed for good in a transaction during which the broker died.</summary>
    public long FailedProducers => Interlocked.Read(ref _failedProducers);

    /// <summary>The last things that were checked.</summary>
    public IReadOnlyList<string> Events
    {
        get
        {
            lock (_lock)
                return [.. _events];
        }
    }

    /// <summary>All transactions.</summary>
    public IReadOnlyList<SentTransaction> All
    {
        get
        {
            lock (_lock)
                return [.. _transactions];
        }
    }

    public void BrokerDied() => Interlocked.Increment(ref _deaths);

    /// <summary>A producer failed for good.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="failure">How.</param>
    /// <param name="deathsBefore"><see cref="Deaths"/> when the transaction began. librdkafka cannot go on when the
    /// broker died before it had a transaction's first partition on disk: the abort has INVALID_TXN_STATE then, of
    /// Kafka, too.</param>
    /// <returns>What is wrong with that; null when the broker died meanwhile.</returns>
    public string? Failed(string name, string failure, int deathsBefore)
    {
        if (Deaths == deathsBefore)
            return $"{name} failed for good: {failure}";
        Interlocked.Increment(ref _failedProducers);
        Note($"{name} failed for good: {failure}");
        return null;
    }

    public SentTransaction Begin(int producer, int number)
    {
        var transaction = new SentTransaction(producer, number);
        lock (_lock)
            _transactions.Add(transaction);
        return transaction;
    }

    /// <summary>A record is about to be sent.</summary>
    public void Sent(SentTransaction transaction, Place place, RecordId id)
    {
        lock (_lock)
        {
            transaction.Records.Add((place, id));
            _byRecord.Add(id, (transaction, place));
        }
    }

    /// <summary>A transaction is over for its client.</summary>
    public void Ended(SentTransaction transaction, Outcome outcome)
    {
        lock (_lock)
        {
            transaction.Outcome = outcome;
            if (outcome == Outcome.Committed)
                Committed++;
            else if (outcome == Outcome.Aborted)
                Aborted++;
            else
                Unknown++;
        }
    }

    /// <summary>Where a record belongs; null when nobody sent it.</summary>
    public (SentTransaction Transaction, Place Place)? Find(RecordId id)
    {
        lock (_lock)
            return _byRecord.TryGetValue(id, out var found) ? found : null;
    }

    /// <summary>A read_committed reader got a record.</summary>
    /// <returns>What is wrong with that, or null.</returns>
    public string? Read(Place place, long offset, RecordId? id)
    {
        lock (_lock)
        {
            if (id is not { } known || !_byRecord.TryGetValue(known, out var sent) || sent.Place != place)
                return $"{place}: at offset {offset} a reader got {PartitionHistory.Show(id)}, which nobody sent there";
            sent.Transaction.WasRead = true;
            // The client says Aborted behind the answer, and never asks for a commit afterwards.
            return sent.Transaction.Outcome is Outcome.Aborted or Outcome.Open
                ? $"{place}: at offset {offset} a reader got {known} of {sent.Transaction.Name}, which is "
                    + $"{sent.Transaction.Outcome}"
                : Fact(place, offset, known);
        }
    }

    /// <summary>What was readable with read_committed stays so, at its offset.</summary>
    /// <returns>What is wrong with that, or null.</returns>
    public string? Remember(Place place, long offset, RecordId id)
    {
        lock (_lock)
            return Fact(place, offset, id);
    }

    /// <summary>What was readable of a partition before.</summary>
    public IReadOnlyList<(long Offset, RecordId Id)> Facts(Place place)
    {
        lock (_lock)
            return [.. _facts.Where(f => f.Key.Place == place).Select(f => (f.Key.Offset, f.Value)).Order()];
    }

    public void Note(string text)
    {
        lock (_lock)
        {
            _events.Enqueue(text);
            if (_events.Count > EventsKept)
                _events.Dequeue();
        }
    }

    private string? Fact(Place place, long offset, RecordId id) =>
        _facts.TryAdd((place, offset), id) || _facts[(place, offset)] == id
            ? null
            : $"changed: offset {offset} of {place} was {_facts[(place, offset)]}, and now is {id}";
}
