using KBroker.Crash.History;
using KBroker.Crash.Transactions;

namespace KBroker.Crash.Delays;

/// <summary>All that the producers of a generation have sent. Any thread may call anything.</summary>
internal sealed class DelayHistory
{
    private const int TargetsKept = 60;
    private readonly Lock _lock = new();
    private readonly Dictionary<RecordId, DelaySent> _records = [];
    private readonly Dictionary<Place, Queue<DelaySent>> _targets = [];
    private readonly List<SentTransaction> _transactions = [];

    /// <summary>Everything that was sent, or was about to be.</summary>
    public IReadOnlyList<DelaySent> All
    {
        get
        {
            lock (_lock)
                return [.. _records.Values];
        }
    }

    public SentTransaction Begin(int producer, int number)
    {
        var transaction = new SentTransaction(producer, number);
        lock (_lock)
            _transactions.Add(transaction);
        return transaction;
    }

    /// <summary>A record is about to be sent.</summary>
    public void Sent(DelaySent record)
    {
        lock (_lock)
            _records.Add(record.Id, record);
    }

    /// <summary>A record has its answer.</summary>
    public void Acked(DelaySent record, long offset, long nowMs)
    {
        record.Acked(offset, nowMs);
        if (record.Kind != DelayKind.Delayed)
            return;
        lock (_lock)
        {
            if (!_targets.TryGetValue(record.Place, out var targets))
                _targets[record.Place] = targets = new Queue<DelaySent>();
            targets.Enqueue(record);
            if (targets.Count > TargetsKept)
                targets.Dequeue();
        }
    }

    /// <summary>A record that one may cancel: half of the time the one whose instant is nearest.</summary>
    public DelaySent? PickTarget(Place place, Random random, long nowMs)
    {
        lock (_lock)
        {
            if (!_targets.TryGetValue(place, out var targets) || targets.Count == 0)
                return null;
            return random.Next(2) == 0
                ? targets.MinBy(t => Math.Abs(t.DueLeastMs - nowMs))
                : targets.ElementAt(random.Next(targets.Count));
        }
    }

    public DelaySent? Find(RecordId id)
    {
        lock (_lock)
            return _records.GetValueOrDefault(id);
    }
}
