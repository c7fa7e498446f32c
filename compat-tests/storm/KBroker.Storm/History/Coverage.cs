namespace KBroker.Storm.History;

/// <summary>The offsets of one partition that were worked on: disjoint ranges, ascending.</summary>
internal sealed class Coverage
{
    private readonly List<(long From, long To)> _ranges = [];

    /// <summary>How many different offsets.</summary>
    public long Count => _ranges.Sum(static r => r.To - r.From);

    /// <summary>The coverage of each partition in a history.</summary>
    public static Dictionary<(string Topic, int Partition), Coverage> Of(IEnumerable<GroupEvent> events)
    {
        var result = new Dictionary<(string, int), Coverage>();
        var processed = events.Where(static e => e.Kind is EventKind.Processed).SelectMany(static e => e.Spans);
        foreach (var partition in processed.GroupBy(static s => (s.Topic, s.Partition)))
        {
            var coverage = result[partition.Key] = new Coverage();
            foreach (var span in partition.OrderBy(static s => s.From))
                coverage.Add(span.From, span.To);
        }

        return result;
    }

    /// <summary>The first offset in [0, <paramref name="end"/>) that is missing; -1 when none is.</summary>
    public long FirstGap(long end)
    {
        var next = 0L;
        foreach (var (from, to) in _ranges)
        {
            if (from > next)
                break;
            next = Math.Max(next, to);
        }

        return next < end ? next : -1;
    }

    private void Add(long from, long to)
    {
        if (_ranges.Count > 0 && _ranges[^1].To >= from)
            _ranges[^1] = (_ranges[^1].From, Math.Max(_ranges[^1].To, to));
        else
            _ranges.Add((from, to));
    }
}
