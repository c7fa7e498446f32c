using KBroker.Crash.History;

namespace KBroker.Crash.Transactions;

/// <summary>
/// Compares what was found, while every client rests behind the end of a transaction, with what is known. Every rule is
/// a function of its own.
/// </summary>
internal sealed class TransactionCheck(
    TransactionHistory history,
    IReadOnlyList<PartitionView> views,
    CoordinatorView coordinator,
    IReadOnlyList<PipelineTopics> pipelines)
{
    private const int MostProblems = 20;
    private readonly List<string> _problems = [];
    private readonly Dictionary<Place, PartitionView> _byPlace = views.ToDictionary(static v => v.Place);
    private readonly HashSet<string> _outputs = [.. pipelines.Select(static p => p.Output)];

    /// <summary>Runs all rules. What was found decides the transactions whose end no client knows.</summary>
    public List<string> Run()
    {
        CheckNothingIsOpen();
        foreach (var view in views)
        {
            CheckEnd(view);
            CheckMarkers(view);
            CheckRecords(view);
            CheckOrder(view);
            CheckFacts(view);
        }

        CheckOutcomes();
        CheckOffsets();
        foreach (var pipeline in pipelines)
            CheckPipeline(pipeline);
        return _problems;
    }

    /// <summary>No transaction is left behind, and no marker is still to be written.</summary>
    private void CheckNothingIsOpen()
    {
        foreach (var (id, state) in coordinator.Transactions)
        {
            if (state is not ("Empty" or "CompleteCommit" or "CompleteAbort"))
                Problem($"left open: transactional id {id} is {state}");
        }
    }

    /// <summary>Readers with read_committed get to the end.</summary>
    private void CheckEnd(PartitionView view)
    {
        if (view.LastStableOffset != view.HighWatermark)
            Problem($"stuck: the last stable offset of {view.Place} is {view.LastStableOffset}, its end "
                + $"{view.HighWatermark}");
        if (view.WithoutMarker.Count > 0)
            Problem($"stuck: {view.Place} has no marker of producer id {string.Join(", ", view.WithoutMarker)}");
    }

    /// <summary>What the broker calls aborted is what the markers in its log say.</summary>
    private void CheckMarkers(PartitionView view)
    {
        var readable = view.Committed.Select(static r => r.Offset).ToHashSet();
        var marked = view.CommittedByMarkers.Select(static r => r.Offset).ToHashSet();
        foreach (var record in view.Committed.Where(r => !marked.Contains(r.Offset)))
            Problem($"aborted record read: {Show(view, record)}, and a marker aborts it");
        foreach (var record in view.CommittedByMarkers.Where(r => !readable.Contains(r.Offset)))
            Problem($"lost: {Show(view, record)} is not readable, and a marker commits it");
    }

    /// <summary>Each record is one that was sent there, whole, and in the log once.</summary>
    private void CheckRecords(PartitionView view)
    {
        var seen = new Dictionary<RecordId, long>();
        var isOutput = _outputs.Contains(view.Place.Topic);
        // A pipeline writes again what it wrote before an abort.
        foreach (var record in isOutput ? view.Committed : view.All)
        {
            if (record.Id is not { } id)
                Problem($"damaged: the record at offset {record.Offset} of {view.Place} is not what anybody sent");
            else if (!isOutput && (history.Find(id) is not { } sent || sent.Place != view.Place))
                Problem($"{Show(view, record)}, which nobody sent there");
            else if (!seen.TryAdd(id, record.Offset))
                Problem($"duplicated: {id} is at offset {seen[id]} and at {record.Offset} of {view.Place}");
        }
    }

    /// <summary>The records of one producer are in the order in which it sent them.</summary>
    private void CheckOrder(PartitionView view)
    {
        if (_outputs.Contains(view.Place.Topic))
            return;
        var last = new Dictionary<int, RecordId>();
        foreach (var record in view.All)
        {
            if (record.Id is not { } id)
                continue;
            if (last.TryGetValue(id.Producer, out var before) && before.Sequence >= id.Sequence)
                Problem($"reordered: {Show(view, record)}, behind {before}");
            last[id.Producer] = id;
        }
    }

    /// <summary>What was readable before is so still, where it was.</summary>
    private void CheckFacts(PartitionView view)
    {
        var now = view.Committed.ToDictionary(static r => r.Offset, static r => r.Id);
        foreach (var (offset, id) in history.Facts(view.Place))
        {
            if (!now.TryGetValue(offset, out var found))
                Problem($"lost: {id} at offset {offset} of {view.Place} was readable before");
            else if (found != id)
                Problem($"changed: offset {offset} of {view.Place} was {id}, now it is {PartitionHistory.Show(found)}");
        }

        foreach (var record in view.Committed)
        {
            if (record.Id is { } id)
                history.Remember(view.Place, record.Offset, id);
        }
    }

    /// <summary>Each transaction is readable as a whole, or not at all, and as its client was told.</summary>
    private void CheckOutcomes()
    {
        var readable = views.SelectMany(v => v.Committed.Select(r => (v.Place, r.Id))).ToHashSet();
        foreach (var transaction in history.All)
        {
            var there = transaction.Records.Where(r => readable.Contains((r.Place, r.Id))).ToList();
            var missing = transaction.Records.Where(r => !readable.Contains((r.Place, r.Id))).ToList();
            if (there.Count > 0 && missing.Count > 0)
            {
                Problem($"torn: {transaction.Name} ({transaction.Outcome}): {Show(there)} readable, {Show(missing)} not");
            }
            else if (there.Count > 0 && transaction.Outcome is Outcome.Aborted or Outcome.Open)
            {
                Problem($"aborted record read: {transaction.Name} is {transaction.Outcome}, and {Show(there)} readable");
            }
            else if (missing.Count > 0 && transaction.Outcome == Outcome.Committed)
            {
                Problem($"lost: {transaction.Name} was committed, and {Show(missing)} not readable");
            }
            else if (missing.Count > 0 && transaction.WasRead)
            {
                Problem($"lost: {transaction.Name} was read, and {Show(missing)} not readable any more");
            }
            else if (transaction.Outcome is Outcome.CommitAsked or Outcome.Open)
            {
                // From now on it must stay so.
                transaction.Outcome = there.Count > 0 ? Outcome.Committed : Outcome.Aborted;
            }
        }
    }

    /// <summary>A group has the offset of the last transaction that committed one, of no other.</summary>
    private void CheckOffsets()
    {
        foreach (var ((group, place), offset) in coordinator.Offsets)
        {
            if (offset is null)
                Problem($"stuck: the offset of {place} in group {group} is not stable");
            if (pipelines.Any(p => p.Group == group))
                continue;
            var expected = history.All
                .Where(t => t.Group == group && t.Outcome == Outcome.Committed)
                .Select(static t => (long?)t.Number)
                .Max() ?? -1;
            if (offset is not null && offset != expected)
                Problem($"offset: group {group} has {offset} for {place}, its last committed transaction {expected}");
        }
    }

    /// <summary>
    /// Each readable record of the input has one readable record in the output, in the same order, and the group stands
    /// behind the last.
    /// </summary>
    private void CheckPipeline(PipelineTopics pipeline)
    {
        for (var i = 0; i < pipeline.Partitions; i++)
        {
            var input = _byPlace[new Place(pipeline.Input, i)].Committed;
            var place = new Place(pipeline.Output, i);
            var output = _byPlace[place].Committed;
            var expected = input.Select(r => r.Id is { } id ? PipelineTopics.OutputOf(id) : default).ToList();
            for (var n = 0; n < Math.Max(expected.Count, output.Count); n++)
            {
                var found = n < output.Count ? output[n].Id : null;
                if (n < expected.Count && found == expected[n])
                    continue;
                Problem(n >= expected.Count
                    ? $"pipeline: {place} has {PartitionHistory.Show(found)} at offset {output[n].Offset}, and the "
                        + "input no more records"
                    : $"pipeline: {place} has {(n < output.Count ? PartitionHistory.Show(found) : "nothing")} as its "
                        + $"{n + 1}. readable record, the input {expected[n]} (offset {input[n].Offset})");
                break;
            }

            var next = input.Count == 0 ? -1 : input[^1].Offset + 1;
            var committed = coordinator.Offsets.GetValueOrDefault((pipeline.Group, new Place(pipeline.Input, i)));
            if (committed is not null && committed != next)
                Problem($"offset: group {pipeline.Group} has {committed} for {pipeline.Input}-{i}, and has worked up to "
                    + $"{next}");
        }
    }

    private static string Show(PartitionView view, FoundRecord record) =>
        $"offset {record.Offset} of {view.Place} is {PartitionHistory.Show(record.Id)}";

    private static string Show(IReadOnlyList<(Place Place, RecordId Id)> records) =>
        $"{records[0].Id} in {string.Join(", ", records.Select(static r => r.Place).Distinct().Take(4))} and "
        + $"{records.Count - 1} more are";

    private void Problem(string text)
    {
        if (_problems.Count < MostProblems)
            _problems.Add(text);
    }
}
