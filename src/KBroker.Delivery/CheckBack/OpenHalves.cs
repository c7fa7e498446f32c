using System.Diagnostics.CodeAnalysis;

namespace KBroker.Delivery.CheckBack;

/// <summary>
/// The half messages of a partition that are undecided, in memory: what the log says of them, and when each is to be
/// asked about. It knows neither log nor clock. Not thread-safe.
/// </summary>
/// <remarks>
/// Half messages are decided within moments, or else given up after the last check, so their number is bounded by the
/// rate of those whose producers die; about 150 bytes each.
/// </remarks>
internal sealed class OpenHalves
{
    private readonly Dictionary<long, OpenHalf> _open = [];
    private readonly PriorityQueue<long, long> _queue = new();
    private readonly Queue<long> _arrivals = new();

    /// <summary>How many there are.</summary>
    public int Count => _open.Count;

    /// <summary>All of them, in no particular order.</summary>
    public IReadOnlyCollection<OpenHalf> All => _open.Values;

    /// <summary>When the next one is to be looked at; null when none is.</summary>
    public long? NextAt
    {
        get
        {
            Settle();
            return _queue.TryPeek(out _, out var at) ? at : null;
        }
    }

    /// <summary>When the oldest one came; null without one.</summary>
    public long? OldestAt
    {
        get
        {
            while (_arrivals.TryPeek(out var origin))
            {
                if (_open.TryGetValue(origin, out var half))
                    return half.OpenedAt;
                _arrivals.Dequeue();
            }

            return null;
        }
    }

    /// <summary>The least offset where one lies; null without one.</summary>
    public long? LeastLocation => _open.Count == 0 ? null : _open.Values.Min(static h => h.Location);

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        _open.Clear();
        _queue.Clear();
        _arrivals.Clear();
    }

    /// <summary>Adds one, or replaces what is known of it.</summary>
    public void Set(in OpenHalf half)
    {
        if (_open.TryAdd(half.Origin, half))
            _arrivals.Enqueue(half.Origin);
        else
            _open[half.Origin] = half;
        if (half.NextAt != long.MaxValue)
            _queue.Enqueue(half.Origin, half.NextAt);
    }

    /// <summary>Finds one.</summary>
    public bool TryGet(long origin, [MaybeNullWhen(false)] out OpenHalf half) => _open.TryGetValue(origin, out half);

    /// <summary>Takes one out.</summary>
    public void Remove(long origin) => _open.Remove(origin);

    /// <summary>Takes in hand those that are to be looked at: each is <see cref="Set"/> again, or removed.</summary>
    /// <param name="now">The monotonic time, ms.</param>
    /// <param name="max">How many, at most.</param>
    /// <param name="taken">Receives them.</param>
    public void TakeDue(long now, int max, List<OpenHalf> taken)
    {
        while (taken.Count < max && NextAt <= now)
        {
            var half = _open[_queue.Dequeue()] with { NextAt = long.MaxValue };
            _open[half.Origin] = half;
            taken.Add(half);
        }
    }

    /// <summary>Drops entries at the head of the queue that hold no more.</summary>
    private void Settle()
    {
        while (_queue.TryPeek(out var origin, out var at)
            && (!_open.TryGetValue(origin, out var half) || half.NextAt != at))
        {
            _queue.Dequeue();
        }
    }
}
