using KBroker.Crash.Transactions;

namespace KBroker.Crash.Delays;

/// <summary>
/// All that readers have had of a partition since it was created: more than it holds, because it loses its oldest
/// records. Any thread may call anything.
/// </summary>
internal sealed class DelayView(Place place)
{
    private readonly Lock _lock = new();
    private readonly SortedDictionary<long, DelayFound> _records = [];
    private readonly SortedDictionary<long, DelayMarker> _markers = [];
    private List<DelayFound> _recordsBeforeCut = [];
    private List<DelayMarker> _markersBeforeCut = [];
    private long _readTo;

    public Place Place => place;

    /// <summary>Everything below this offset was read.</summary>
    public long ReadTo
    {
        get
        {
            lock (_lock)
                return _readTo;
        }
    }

    /// <summary>Whether something was deleted before anybody had read it.</summary>
    public bool HasGap { get; private set; }

    public List<DelayFound> Records
    {
        get
        {
            lock (_lock)
                return [.. _records.Values];
        }
    }

    public List<DelayMarker> Markers
    {
        get
        {
            lock (_lock)
                return [.. _markers.Values];
        }
    }

    /// <summary>Takes what was read. What was read before must be the same.</summary>
    /// <returns>What is wrong with it.</returns>
    public List<string> Take(DelayStretch stretch)
    {
        var problems = new List<string>();
        lock (_lock)
        {
            if (stretch.From > _readTo)
                problems.Add($"skipped: {place} was read up to {_readTo}, and then from {stretch.From} on");
            // What was lost by a power cut, and lies behind, is there again or never was.
            (_recordsBeforeCut, _markersBeforeCut) = ([], []);
            var before = _readTo;
            _readTo = Math.Max(_readTo, stretch.Next);
            foreach (var marker in stretch.Markers)
                _markers.TryAdd(marker.Offset, marker);
            foreach (var record in stretch.Records)
            {
                if (_records.TryGetValue(record.Offset, out var known))
                {
                    if (!known.IsSame(record))
                        problems.Add($"changed: {place} was {known}, now it is {record}");
                    continue;
                }

                _records.Add(record.Offset, record);
                if (record.Offset < before)
                    problems.Add($"appeared: {place} {record}, where a reader up to {before} had nothing");
            }

            // The check reads from the start of the log; what it does not find there has gone.
            var end = Math.Min(stretch.Next, before);
            var found = stretch.Records.Select(static r => r.Offset).ToHashSet();
            foreach (var gone in _records.Values.Where(r => r.Offset >= stretch.From && r.Offset < end
                && !found.Contains(r.Offset)))
                problems.Add($"lost: {place} {gone} is not there any more");
        }

        return problems;
    }

    /// <summary>Says that the log starts here: what lies before cannot be read any more.</summary>
    public void StartsAt(long offset)
    {
        lock (_lock)
        {
            // Deletions wait for readers, and for the flush of what they rest on: all this was on stable storage.
            foreach (var record in _recordsBeforeCut.Where(r => r.Offset < offset))
                _records.TryAdd(record.Offset, record);
            foreach (var marker in _markersBeforeCut.Where(r => r.Offset < offset))
                _markers.TryAdd(marker.Offset, marker);
            if (_recordsBeforeCut.Count > 0 || _markersBeforeCut.Count > 0)
                _readTo = Math.Max(_readTo, offset);
            (_recordsBeforeCut, _markersBeforeCut) = ([], []);
            if (offset <= _readTo)
                return;
            HasGap = true;
            _readTo = offset;
        }
    }

    /// <summary>The log may end anywhere behind what was acknowledged: it is to be read anew.</summary>
    public void PowerCut()
    {
        lock (_lock)
        {
            // The newest first: they are what holds.
            _recordsBeforeCut = [.. _records.Values, .. _recordsBeforeCut];
            _markersBeforeCut = [.. _markers.Values, .. _markersBeforeCut];
            _records.Clear();
            _markers.Clear();
            _readTo = 0;
        }
    }
}
