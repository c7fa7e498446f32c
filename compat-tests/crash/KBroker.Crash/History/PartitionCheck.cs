namespace KBroker.Crash.History;

/// <summary>
/// Compares what was found in a partition with what is known of it. Every rule is a function of its own, and looks at
/// everything for itself.
/// </summary>
internal sealed class PartitionCheck(
    Observation found,
    Losses losses,
    IReadOnlyDictionary<RecordId, SentRecord> sent,
    SortedDictionary<long, RecordId> facts,
    HashSet<long> gone,
    long knownStart,
    long trimAsked)
{
    private const int MostProblems = 20;
    private readonly List<string> _problems = [];
    private readonly Dictionary<long, FoundRecord> _byOffset = [];

    private bool IsCompacted => (losses & Losses.Compaction) != 0;

    public List<string> Run()
    {
        foreach (var record in found.Records)
        {
            if (!_byOffset.TryAdd(record.Offset, record))
                Problem($"duplicated: offset {record.Offset} was read twice");
        }

        CheckStart();
        CheckOffsets();
        CheckEachRecord();
        CheckOrder();
        CheckFacts();
        if (IsCompacted)
            CheckResurrection();
        return _problems;
    }

    /// <summary>The log's start never moves back, and forward only where something may move it.</summary>
    private void CheckStart()
    {
        if (found.StartOffset < knownStart)
            Problem($"the log start moved back from {knownStart} to {found.StartOffset}");
        if (found.EndOffset < found.StartOffset)
            Problem($"the log ends with {found.EndOffset}, before its start {found.StartOffset}");
        var isFree = (losses & Losses.Retention) != 0;
        var most = (losses & Losses.DeleteRecords) != 0 ? trimAsked : 0;
        if (!isFree && found.StartOffset > most)
            Problem($"lost: the log starts at {found.StartOffset}, and nothing may move it behind {most}");
    }

    /// <summary>Every offset from the start to the end has its record; compaction may take some.</summary>
    private void CheckOffsets()
    {
        var expected = found.StartOffset;
        foreach (var record in found.Records)
        {
            if (record.Offset < expected)
                Problem($"reordered: offset {record.Offset} came behind {expected - 1}");
            else if (record.Offset > expected && record.Offset > found.StartOffsetAfter && !IsCompacted)
                Problem($"lost: no record from offset {Math.Max(expected, found.StartOffsetAfter)} to "
                    + $"{record.Offset - 1}");
            expected = record.Offset + 1;
        }

        if (expected < found.EndOffset && found.EndOffset > found.StartOffsetAfter && !IsCompacted)
            Problem($"lost: the log ends with {found.EndOffset}, its records with {expected}");
    }

    /// <summary>Each record is one that was sent, whole, and there once.</summary>
    private void CheckEachRecord()
    {
        var seen = new Dictionary<RecordId, long>();
        foreach (var record in found.Records)
        {
            if (record.Id is not { } id)
                Problem($"damaged: the record at offset {record.Offset} is not what anybody sent");
            else if (!sent.TryGetValue(id, out var original))
                Problem($"at offset {record.Offset} stands {id}, which nobody sent here");
            else if (original.Key != record.Key || original.IsTombstone != record.IsTombstone)
                Problem($"damaged: {id} at offset {record.Offset} has another key or kind than it was sent with");
            else if (!seen.TryAdd(id, record.Offset))
                Problem($"duplicated: {id} is at offset {seen[id]} and at {record.Offset}");
        }
    }

    /// <summary>
    /// The records of one producer are in the order in which it sent them, but for those that it gave up.
    /// </summary>
    private void CheckOrder()
    {
        var last = new Dictionary<int, (int Sequence, long Offset)>();
        foreach (var record in found.Records)
        {
            if (record.Id is not { } id || (sent.TryGetValue(id, out var original) && original.IsGivenUp))
                continue;
            if (last.TryGetValue(id.Producer, out var before) && before.Sequence >= id.Sequence
                && before.Offset != record.Offset)
            {
                Problem($"reordered: {id} at offset {record.Offset} comes behind p{id.Producer}/{before.Sequence} at "
                    + $"{before.Offset}");
            }

            last[id.Producer] = (id.Sequence, record.Offset);
        }
    }

    /// <summary>What was acknowledged or read before is there still, where it was.</summary>
    private void CheckFacts()
    {
        var latest = IsCompacted ? LatestByKey() : [];
        foreach (var (offset, id) in facts)
        {
            if (offset < found.StartOffsetAfter)
                continue;
            var how = sent.TryGetValue(id, out var original) && original.AckedOffset >= 0 ? "acknowledged" : "read";
            if (_byOffset.TryGetValue(offset, out var now))
            {
                if (now.Id != id)
                    Problem($"changed: offset {offset} was {id} ({how}), now it is "
                        + PartitionHistory.Show(now.Id));
            }
            else if (offset >= found.EndOffset)
            {
                // What came after the end was asked for is looked at the next time.
                if (offset < EndBefore)
                    Problem($"lost: {id} ({how}) at offset {offset}; the log ends with {found.EndOffset}");
            }
            else if (!IsCompacted)
            {
                Problem($"lost: {id} ({how}) at offset {offset}");
            }
            else if (original?.Key is { } key && latest[key] <= offset && !original.IsTombstone)
            {
                Problem($"lost: {id} ({how}) at offset {offset}, the latest of key {key}");
            }
        }
    }

    /// <summary>The end that was known when the broker was dead: nothing below it can be new.</summary>
    public long EndBefore { get; init; } = long.MaxValue;

    /// <summary>
    /// What compaction has removed does not come back; and no record is there whose tombstone is gone already.
    /// </summary>
    private void CheckResurrection()
    {
        foreach (var record in found.Records)
        {
            if (gone.Contains(record.Offset))
                Problem($"resurrected: offset {record.Offset} was gone, and is back as "
                    + PartitionHistory.Show(record.Id));
        }

        var tombstones = new Dictionary<string, long>();
        foreach (var (offset, id) in facts)
        {
            if (offset < found.EndOffset && sent.TryGetValue(id, out var original)
                && original is { IsTombstone: true, Key: { } key } && !_byOffset.ContainsKey(offset))
            {
                tombstones[key] = offset;
            }
        }

        foreach (var record in found.Records)
        {
            if (found.Took < Observation.TombstonesStay && record.Key is { } key
                && tombstones.TryGetValue(key, out var tombstone) && tombstone > record.Offset)
            {
                Problem($"resurrected: {PartitionHistory.Show(record.Id)} of key {key} at offset {record.Offset} is "
                    + $"there, its tombstone at {tombstone} is not");
            }
        }

        foreach (var offset in facts.Keys)
        {
            if (offset >= found.StartOffset && offset < found.EndOffset && !_byOffset.ContainsKey(offset))
                gone.Add(offset);
        }
    }

    private Dictionary<string, long> LatestByKey()
    {
        var latest = new Dictionary<string, long>();
        foreach (var (offset, id) in facts)
        {
            if (sent.TryGetValue(id, out var original) && original.Key is { } key)
                latest[key] = Math.Max(offset, latest.GetValueOrDefault(key, -1));
        }

        foreach (var record in found.Records)
        {
            if (record.Key is { } key)
                latest[key] = Math.Max(record.Offset, latest.GetValueOrDefault(key, -1));
        }

        return latest;
    }

    private void Problem(string text)
    {
        if (_problems.Count < MostProblems)
            _problems.Add(text);
    }
}
