namespace KBroker.Storm.History;

/// <summary>The acknowledged commits of one partition, by the time of their acknowledgement.</summary>
internal sealed class CommitLine
{
    private readonly List<(long End, GroupEvent Event, long To)> _highest = [];

    /// <summary>Of commits in any order.</summary>
    public CommitLine(IEnumerable<(GroupEvent Event, Span Span)> commits)
    {
        foreach (var (committed, span) in commits.OrderBy(static c => c.Event.End))
        {
            if (_highest.Count == 0 || span.To > _highest[^1].To)
                _highest.Add((committed.End, committed, span.To));
        }
    }

    /// <summary>The highest commit that was acknowledged before a time; null when there was none.</summary>
    public (GroupEvent Event, long To)? HighestBefore(long time)
    {
        var (low, high) = (0, _highest.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_highest[middle].End < time)
                low = middle + 1;
            else
                high = middle;
        }

        return low == 0 ? null : (_highest[low - 1].Event, _highest[low - 1].To);
    }
}
