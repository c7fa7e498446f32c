namespace KBroker.Delivery.Delay;

/// <summary>The near part of a schedule: a binary heap of 24-byte entries in one array. Not thread-safe.</summary>
internal sealed class PendingHeap
{
    private const int LeastCapacity = 16;
    private PendingRecord[] _items = [];

    /// <summary>Number of entries.</summary>
    public int Count { get; private set; }

    /// <summary>The entries, in no particular order.</summary>
    public ReadOnlySpan<PendingRecord> Items => _items.AsSpan(0, Count);

    /// <summary>The least entry; the heap is not empty.</summary>
    public PendingRecord Least => Count > 0 ? _items[0] : throw new InvalidOperationException("The heap is empty.");

    /// <summary>Adds an entry.</summary>
    public void Push(in PendingRecord item)
    {
        if (Count == _items.Length)
            Array.Resize(ref _items, Math.Max(LeastCapacity, Count * 2));
        var at = Count++;
        while (at > 0)
        {
            var parent = (at - 1) / 2;
            if (_items[parent].CompareTo(item) <= 0)
                break;
            _items[at] = _items[parent];
            at = parent;
        }

        _items[at] = item;
    }

    /// <summary>Takes the least entry out; the heap is not empty.</summary>
    public PendingRecord Pop()
    {
        var least = Least;
        Count--;
        if (Count > 0)
            Sink(0, _items[Count]);
        if (_items.Length > LeastCapacity && Count < _items.Length / 4)
            Array.Resize(ref _items, Math.Max(LeastCapacity, _items.Length / 2));
        return least;
    }

    /// <summary>Takes everything out that speaks of a record; looks at every entry.</summary>
    /// <returns>Whether there was anything.</returns>
    public bool Remove(in PendingRecord record)
    {
        var kept = 0;
        for (var i = 0; i < Count; i++)
        {
            if (!_items[i].IsSame(record))
                _items[kept++] = _items[i];
        }

        var found = kept < Count;
        Count = kept;
        if (found)
            Restore();
        return found;
    }

    /// <summary>Keeps the least entries and gives the others away.</summary>
    /// <param name="count">How many to keep; entries that speak of the same record as the last one stay, too.</param>
    /// <param name="others">Receives the others, in order.</param>
    public void Split(int count, List<PendingRecord> others)
    {
        Array.Sort(_items, 0, Count);
        while (count > 0 && count < Count && _items[count].IsSame(_items[count - 1]))
            count++;
        others.AddRange(_items.AsSpan(count, Math.Max(0, Count - count)));
        // A sorted array is a heap.
        Count = Math.Min(Count, count);
    }

    private void Restore()
    {
        for (var at = (Count / 2) - 1; at >= 0; at--)
            Sink(at, _items[at]);
    }

    private void Sink(int at, PendingRecord item)
    {
        while (true)
        {
            var child = (2 * at) + 1;
            if (child >= Count)
                break;
            if (child + 1 < Count && _items[child + 1].CompareTo(_items[child]) < 0)
                child++;
            if (item.CompareTo(_items[child]) <= 0)
                break;
            _items[at] = _items[child];
            at = child;
        }

        _items[at] = item;
    }
}
