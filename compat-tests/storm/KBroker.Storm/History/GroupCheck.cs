namespace KBroker.Storm.History;

/// <summary>
/// The rules that the history of a group must keep; one rule a method, each returning what breaks it.
/// </summary>
internal static class GroupCheck
{
    /// <summary>
    /// The note of an assignment in a classic group; behind it, after a colon, the instance of a static member, which
    /// keeps its partitions within a generation when it starts anew under another name.
    /// </summary>
    public const string ClassicNote = "classic";

    /// <summary>All rules that need nothing but the history.</summary>
    public static List<string> All(IReadOnlyList<GroupEvent> events) =>
        [.. OwnedTwice(events), .. OwnedTwiceInAGeneration(events), .. ReadBelowACommit(events), .. CommitsThatWentBack(events)];

    /// <summary>
    /// Nobody gets a partition before its owner has given it back. An owner that was thrown out or killed does not give
    /// back; the coordinator's session timeout decides then, and the owner learns it later.
    /// </summary>
    public static IEnumerable<string> OwnedTwice(IReadOnlyList<GroupEvent> events)
    {
        foreach (var (partition, times) in Ownerships(events))
        {
            times.Sort(static (a, b) => a.Begin.CompareTo(b.Begin));
            for (var i = 0; i < times.Count; i++)
            {
                for (var j = i + 1; j < times.Count; j++)
                {
                    var (before, after) = (times[i], times[j]);
                    if (after.Begin < before.End && !before.EndedUnasked && before.Member != after.Member)
                    {
                        yield return $"{partition.Topic}-{partition.Partition} was given to {after.Member} at {after.Begin}, "
                            + $"while {before.Member} had it from {before.Begin} to {before.End}";
                    }
                }
            }
        }
    }

    /// <summary>
    /// In a generation of a classic group each partition has one owner; holds for those thrown out, too.
    /// </summary>
    public static IEnumerable<string> OwnedTwiceInAGeneration(IReadOnlyList<GroupEvent> events)
    {
        var owners = new Dictionary<(int, string, int), string>();
        foreach (var given in events.Where(static e => e is { Kind: EventKind.Assigned, Generation: >= 0 }))
        {
            if (!given.Note.StartsWith(ClassicNote, StringComparison.Ordinal))
                continue;
            var owner = given.Note == ClassicNote ? given.Member : given.Note[(ClassicNote.Length + 1)..];
            foreach (var span in given.Spans)
            {
                var key = (given.Generation, span.Topic, span.Partition);
                if (!owners.TryAdd(key, owner) && owners[key] != owner)
                {
                    yield return $"{span.Topic}-{span.Partition} was given to {owners[key]} and to {owner} "
                        + $"in generation {given.Generation}";
                }
            }
        }
    }

    /// <summary>Who gets a partition goes on where the last acknowledged commit says, or behind.</summary>
    public static IEnumerable<string> ReadBelowACommit(IReadOnlyList<GroupEvent> events)
    {
        var commits = ByPartition(events, EventKind.Committed);
        var given = ByPartition(events, EventKind.Assigned);
        foreach (var (partition, reads) in ByPartition(events, EventKind.Processed))
        {
            var line = new CommitLine(commits.GetValueOrDefault(partition, []));
            var times = given.GetValueOrDefault(partition, []).ToLookup(static g => g.Event.Member, static g => g.Event.Begin);
            foreach (var (read, span) in reads)
            {
                var since = times[read.Member].Where(t => t <= read.Begin).DefaultIfEmpty(long.MinValue).Max();
                if (line.HighestBefore(since) is { } highest && span.From < highest.To)
                {
                    yield return $"{read.Member} read {partition.Topic}-{partition.Partition} from {span.From}, having got it "
                        + $"at {since}, after {highest.Event.Member} had committed {highest.To}";
                }
            }
        }
    }

    /// <summary>The commits of those that are not the owner any more are refused.</summary>
    public static IEnumerable<string> CommitsThatWentBack(IReadOnlyList<GroupEvent> events)
    {
        foreach (var (partition, commits) in ByPartition(events, EventKind.Committed))
        {
            var line = new CommitLine(commits);
            foreach (var (late, span) in commits)
            {
                if (line.HighestBefore(late.Begin) is { } highest && highest.To > span.To)
                {
                    yield return $"{late.Member} could commit {span.To} of {partition.Topic}-{partition.Partition} "
                        + $"after {highest.Event.Member} had committed {highest.To}";
                }
            }
        }
    }

    /// <summary>The coordinator has each acknowledged commit, or one that is higher.</summary>
    /// <param name="events">The history.</param>
    /// <param name="committed">What the coordinator says now.</param>
    public static IEnumerable<string> CommitsLost(
        IReadOnlyList<GroupEvent> events, IReadOnlyDictionary<(string Topic, int Partition), long> committed)
    {
        foreach (var (partition, commits) in ByPartition(events, EventKind.Committed))
        {
            var highest = commits.MaxBy(static c => c.Span.To);
            if (committed.GetValueOrDefault(partition, -1) < highest.Span.To)
            {
                yield return $"{partition.Topic}-{partition.Partition} is at {committed.GetValueOrDefault(partition, -1)}, "
                    + $"but {highest.Event.Member} committed {highest.Span.To} at {highest.Event.End}";
            }
        }
    }

    /// <summary>Every record was worked on at least once.</summary>
    /// <param name="events">The history.</param>
    /// <param name="ends">The end offset of each partition; all begin at 0.</param>
    public static IEnumerable<string> NotProcessed(
        IReadOnlyList<GroupEvent> events, IReadOnlyDictionary<(string Topic, int Partition), long> ends)
    {
        var coverage = Coverage.Of(events);
        foreach (var (partition, end) in ends)
        {
            var gap = coverage.TryGetValue(partition, out var found) ? found.FirstGap(end) : end > 0 ? 0 : -1;
            if (gap >= 0)
                yield return $"nobody worked on {partition.Topic}-{partition.Partition} at {gap}, its end is {end}";
        }
    }

    private static Dictionary<(string Topic, int Partition), List<(GroupEvent Event, Span Span)>> ByPartition(
        IReadOnlyList<GroupEvent> events, EventKind kind) =>
        events.Where(e => e.Kind == kind).SelectMany(static e => e.Spans.Select(s => (Event: e, Span: s)))
            .GroupBy(static x => (x.Span.Topic, x.Span.Partition)).ToDictionary(static g => g.Key, static g => g.ToList());

    private static Dictionary<(string Topic, int Partition), List<Ownership>> Ownerships(IReadOnlyList<GroupEvent> events)
    {
        var result = new Dictionary<(string, int), List<Ownership>>();
        foreach (var member in events.GroupBy(static e => e.Member))
        {
            var open = new Dictionary<(string, int), long>();
            foreach (var happened in member.OrderBy(static e => e.Begin))
            {
                switch (happened.Kind)
                {
                    case EventKind.Assigned:
                        foreach (var span in happened.Spans)
                            open.TryAdd((span.Topic, span.Partition), happened.Begin);
                        break;
                    case EventKind.Revoked or EventKind.Lost:
                        foreach (var span in happened.Spans)
                            Close((span.Topic, span.Partition), happened);
                        break;
                    case EventKind.Left or EventKind.Killed or EventKind.Failed:
                        foreach (var partition in open.Keys.ToList())
                            Close(partition, happened);
                        break;
                }
            }

            foreach (var (partition, begin) in open)
                Of(partition).Add(new Ownership(member.Key, begin, long.MaxValue, false));

            void Close((string, int) partition, GroupEvent by)
            {
                if (open.Remove(partition, out var begin))
                {
                    var unasked = by.Kind is EventKind.Lost or EventKind.Killed or EventKind.Failed;
                    Of(partition).Add(new Ownership(member.Key, begin, by.End, unasked));
                }
            }
        }

        return result;

        List<Ownership> Of((string, int) partition)
        {
            if (!result.TryGetValue(partition, out var times))
                result[partition] = times = [];
            return times;
        }
    }

    private sealed record Ownership(string Member, long Begin, long End, bool EndedUnasked);
}
