namespace KBroker.Crash.History;

/// <summary>What may take records away from a topic.</summary>
[Flags]
internal enum Losses
{
    /// <summary>Nothing: the log starts at 0 for ever.</summary>
    None = 0,

    /// <summary>Retention, when it likes.</summary>
    Retention = 1,

    /// <summary>DeleteRecords, up to what was asked for.</summary>
    DeleteRecords = 2,

    /// <summary>Compaction: a later record of the same key takes the place of an earlier one.</summary>
    Compaction = 4,
}

/// <summary>A record as its producer knows it.</summary>
internal sealed class SentRecord
{
    public required RecordId Id { get; init; }

    /// <summary>Acknowledged means on stable storage.</summary>
    public required bool AcksAll { get; init; }

    /// <summary>How many power cuts there had been when it was sent.</summary>
    public required int Era { get; init; }

    public string? Key { get; init; }

    public bool IsTombstone { get; init; }

    /// <summary>Its offset by the acknowledgement; -1 while there is none.</summary>
    public long AckedOffset { get; set; } = -1;

    /// <summary>
    /// Its producer, one that never sends again, has given it up. The request may lie in a socket that the broker reads
    /// only later, behind what the producer has sent since then by another connection.
    /// </summary>
    public bool IsGivenUp
    {
        get => Volatile.Read(ref field);
        set => Volatile.Write(ref field, value);
    }
}

/// <summary>
/// What is known of one partition of one topic: who sent what, what was acknowledged, what was read where. Any thread
/// may call anything.
/// </summary>
internal sealed class PartitionHistory(string name, Losses losses)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<RecordId, SentRecord> _sent = [];
    private readonly SortedDictionary<long, RecordId> _facts = [];
    private readonly List<string> _events = [];
    private int _era;
    private long _safeEnd;
    private long _startOffset;
    private long _trimAsked;
    private long _endBefore;

    /// <summary>Topic, incarnation and partition, for messages.</summary>
    public string Name => name;

    /// <summary>What may take records away.</summary>
    public Losses Losses => losses;

    /// <summary>Records acknowledged.</summary>
    public long AckedCount { get; private set; }

    /// <summary>Behind the last offset that was acknowledged as being on stable storage.</summary>
    public long SafeEnd
    {
        get
        {
            lock (_lock)
                return _safeEnd;
        }
    }

    /// <summary>The broker is dead: what is known now, it must have when it comes back.</summary>
    public void BrokerDied()
    {
        lock (_lock)
            _endBefore = _facts.Count == 0 ? 0 : _facts.Keys.Last() + 1;
    }

    /// <summary>A record is about to be sent.</summary>
    public SentRecord Sent(RecordId id, bool acksAll, string? key = null, bool isTombstone = false)
    {
        lock (_lock)
        {
            var record = new SentRecord
            {
                Id = id,
                AcksAll = acksAll,
                Era = _era,
                Key = key,
                IsTombstone = isTombstone,
            };
            _sent.Add(id, record);
            return record;
        }
    }

    /// <summary>It was acknowledged.</summary>
    /// <returns>What is wrong with that, or null.</returns>
    public string? Acked(SentRecord record, long offset)
    {
        lock (_lock)
        {
            AckedCount++;
            // Without acks=all, an acknowledgement from before a power cut says nothing about the time after it.
            if (!record.AcksAll && record.Era != _era)
                return null;
            record.AckedOffset = offset;
            if (record.AcksAll)
                _safeEnd = Math.Max(_safeEnd, offset + 1);
            return Fact(offset, record.Id, "acknowledged");
        }
    }

    /// <summary>A consumer read it.</summary>
    /// <returns>What is wrong with that, or null.</returns>
    public string? Read(in FoundRecord found, int era)
    {
        lock (_lock)
        {
            // What a consumer had in its hands when the power went may be gone from the disk.
            if (era != _era)
                return null;
            if (found.Id is not { } id || !_sent.ContainsKey(id))
                return Say($"at offset {found.Offset} a consumer read {Show(found.Id)}, which nobody sent");
            return Fact(found.Offset, id, "read");
        }
    }

    /// <summary>How many power cuts there have been.</summary>
    public int Era
    {
        get
        {
            lock (_lock)
                return _era;
        }
    }

    /// <summary>DeleteRecords is about to be asked for.</summary>
    public void TrimAsked(long offset)
    {
        lock (_lock)
        {
            _trimAsked = Math.Max(_trimAsked, offset);
            Note($"DeleteRecords up to {offset} asked for");
        }
    }

    /// <summary>It was acknowledged, or a log start was seen.</summary>
    public void StartSeen(long offset)
    {
        lock (_lock)
            _startOffset = Math.Max(_startOffset, offset);
    }

    /// <summary>
    /// The power was cut: behind the last record that was acknowledged as stable, anything may be gone, and its offsets
    /// may come again. The broker must be dead.
    /// </summary>
    public void PowerCut()
    {
        lock (_lock)
        {
            _era++;
            Note($"power cut; safe up to {_safeEnd}");
            foreach (var offset in _facts.Keys.Where(o => o >= _safeEnd).ToList())
            {
                if (_sent.TryGetValue(_facts[offset], out var record) && !record.AcksAll)
                    record.AckedOffset = -1;
                _facts.Remove(offset);
            }

            // A log start behind the safe end was told by a broker that was not sure of the records before it.
            Gone.Clear();
        }
    }

    /// <summary>Compares all that is known with what was found, and remembers what was found.</summary>
    public List<string> Check(Observation found)
    {
        lock (_lock)
        {
            var problems = new PartitionCheck(found, losses, _sent, _facts, Gone, _startOffset, _trimAsked)
            {
                EndBefore = _endBefore,
            }.Run();
            _startOffset = Math.Max(_startOffset, found.StartOffset);
            foreach (var record in found.Records)
            {
                if (record.Id is { } id)
                    _facts.TryAdd(record.Offset, id);
            }

            Note($"found [{found.StartOffset}, {found.EndOffset}), {found.Records.Count} records, "
                + $"{problems.Count} problems");
            return problems;
        }
    }

    /// <summary>The last things that happened here, for whoever looks for a bug.</summary>
    public IReadOnlyList<string> Events
    {
        get
        {
            lock (_lock)
                return [.. _events];
        }
    }

    /// <summary>What is known about the offsets around one.</summary>
    public IReadOnlyList<string> Around(long offset, int distance)
    {
        lock (_lock)
        {
            return [.. _facts.Where(f => Math.Abs(f.Key - offset) <= distance).Select(f =>
                $"  {f.Key}: {f.Value}"
                + (_sent.TryGetValue(f.Value, out var s) && s.AckedOffset >= 0
                    ? s.AcksAll ? " acknowledged (all)" : " acknowledged (1)"
                    : " read"))];
        }
    }

    /// <summary>Offsets that compaction was seen to have removed.</summary>
    private HashSet<long> Gone { get; } = [];

    private string? Fact(long offset, RecordId id, string how)
    {
        if (offset < 0)
            return null;
        if (_facts.TryAdd(offset, id) || _facts[offset] == id)
            return null;
        return Say($"offset {offset} was {_facts[offset]}, and now {id} was {how} there");
    }

    private string Say(string problem)
    {
        Note(problem);
        return $"{name}: {problem}";
    }

    private void Note(string text)
    {
        _events.Add(text);
        if (_events.Count > 40)
            _events.RemoveAt(0);
    }

    internal static string Show(RecordId? id) => id?.ToString() ?? "a damaged record";
}
