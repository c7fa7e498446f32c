using KBroker.Storage.Files;

namespace KBroker.Delivery.Delay;

/// <summary>
/// All delayed records of a partition, by due time: the next ones in memory, the others in files. It knows neither log
/// nor clock. Not thread-safe.
/// </summary>
/// <remarks>
/// What is due up to a bound (a key) is near, all else far. While little is pending everything is near. When the near
/// part grows above twice its size, its later half becomes far and the bound moves back; when it is empty, the next
/// entries of the far part become near and the bound moves on.
/// </remarks>
internal sealed class PendingSchedule
{
    private const int EntriesOfProgress = 65_536;
    private readonly int _nearMax;
    private readonly PendingHeap _near = new();
    private readonly FarSchedule _far;
    private readonly HashSet<long> _delivered = [];
    private PendingRecord _bound = PendingRecord.Greatest;
    private long _deliveredUntilMs = long.MinValue;

    /// <summary>Creates an empty schedule.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="directory">The partition's directory.</param>
    /// <param name="nearMax">Near entries, all in memory: twice this many at most.</param>
    /// <param name="farMax">Far entries in memory, at most.</param>
    public PendingSchedule(IFileSystem files, Func<string> directory, int nearMax, int farMax)
    {
        _nearMax = nearMax;
        _far = new FarSchedule(files, directory, farMax);
    }

    /// <summary>Number of records pending; exact after <see cref="FinishLoading"/>.</summary>
    public long Count { get; private set; }

    /// <summary>When the next record is due; null when none is pending.</summary>
    public long? NextDueMs
    {
        get
        {
            Refill();
            return _near.Count > 0 ? _near.Least.DueMs : null;
        }
    }

    /// <summary>Begins anew with the files of a checkpoint; everything is far until the loading is finished.</summary>
    public void BeginLoading(IReadOnlyList<ScheduleRun> runs)
    {
        _far.Open(runs);
        _bound = PendingRecord.Least;
        _delivered.Clear();
        _deliveredUntilMs = long.MinValue;
        while (_near.Count > 0)
            _near.Pop();
    }

    /// <summary>While loading: a delivery that the log holds.</summary>
    /// <param name="origin">What was delivered.</param>
    /// <param name="deliveredMs">When; its due time was not behind that, but for jumps of the clock.</param>
    public void NoteDelivered(long origin, long deliveredMs)
    {
        _delivered.Add(origin);
        _deliveredUntilMs = Math.Max(_deliveredUntilMs, deliveredMs);
    }

    /// <summary>Ends the loading: counts, and takes the next entries into memory.</summary>
    /// <param name="onProgress">Told from time to time how many were counted.</param>
    public void FinishLoading(Action<long>? onProgress = null)
    {
        Count = 0;
        var returned = new List<PendingRecord>();
        foreach (var record in _far.Read())
        {
            if (_delivered.Contains(record.Origin))
            {
                if (record.DueMs > _deliveredUntilMs)
                    returned.Add(record);
                continue;
            }

            if (++Count % EntriesOfProgress == 0)
                onProgress?.Invoke(Count);
        }

        // Delivered before it is due: the list of levels is another one by now, or the clock went back.
        foreach (var record in returned)
            _far.Add(record with { Location = PendingRecord.Cancelled });
        Refill();
    }

    /// <summary>Adds a record, or a new location of one.</summary>
    /// <param name="record">The record.</param>
    /// <param name="isNew">Whether it was not pending before.</param>
    public void Add(in PendingRecord record, bool isNew)
    {
        if (isNew)
            Count++;
        if (record.CompareKey(_bound) > 0)
        {
            _far.Add(record);
            return;
        }

        _near.Push(record);
        // Not more: the array would grow to twice its size.
        if (_near.Count < 2 * _nearMax)
            return;
        var others = new List<PendingRecord>();
        _near.Split(_nearMax, others);
        _bound = Last(_near.Items);
        _far.AddSorted(others);
    }

    /// <summary>Takes a record out.</summary>
    /// <param name="record">Due time and origin.</param>
    /// <returns>Whether it was pending.</returns>
    public bool Cancel(in PendingRecord record)
    {
        var wasPending = false;
        if (record.CompareKey(_bound) <= 0)
        {
            wasPending = _near.Remove(record);
        }
        else
        {
            wasPending = IsInFar(record, out _);
            if (wasPending)
                _far.Add(record with { Location = PendingRecord.Cancelled });
        }

        if (wasPending)
            Count--;
        return wasPending;
    }

    /// <summary>Takes out the records that are due, in order.</summary>
    /// <param name="nowMs">The time.</param>
    /// <param name="max">How many, at most.</param>
    /// <param name="taken">Receives them.</param>
    public void TakeDue(long nowMs, int max, List<PendingRecord> taken)
    {
        while (taken.Count < max && NextDueMs <= nowMs)
        {
            var record = _near.Pop();
            while (_near.Count > 0 && _near.Least.IsSame(record))
                record = _near.Pop();
            taken.Add(record);
            Count--;
        }
    }

    /// <summary>Puts back what could not be delivered.</summary>
    public void PutBack(List<PendingRecord> taken)
    {
        foreach (var record in taken)
            Add(record, isNew: true);
    }

    /// <summary>All records pending, in no particular order.</summary>
    public IEnumerable<PendingRecord> ReadAll() =>
        ReadNear().Concat(_far.Read().Where(r => !_delivered.Contains(r.Origin)));

    /// <summary>Finds a record.</summary>
    /// <param name="key">Due time and origin.</param>
    /// <returns>The record with its newest location; null when it is not pending.</returns>
    public PendingRecord? Find(in PendingRecord key)
    {
        var location = -1L;
        if (key.CompareKey(_bound) > 0)
            return IsInFar(key, out location) ? key with { Location = location } : null;
        foreach (ref readonly var known in _near.Items)
        {
            if (known.IsSame(key))
                location = Math.Max(location, known.Location);
        }

        return location >= 0 ? key with { Location = location } : null;
    }

    /// <summary>
    /// The last word on each record from a key on, in order; <see cref="IsPending"/> tells whether it is pending. Files
    /// are read as far as the result is.
    /// </summary>
    /// <param name="from">Due time and origin.</param>
    public IEnumerable<PendingRecord> ReadFrom(PendingRecord from) =>
        ReadNear().Where(r => r.CompareKey(from) >= 0).Concat(_far.ReadFrom(from));

    /// <summary>Whether the last word on a record is that it waits.</summary>
    public bool IsPending(in PendingRecord newest) =>
        newest.Location != PendingRecord.Cancelled && !_delivered.Contains(newest.Origin);

    /// <summary>Writes everything to files on stable storage.</summary>
    public IReadOnlyList<ScheduleRun> Save(out long nearNumber)
    {
        var near = ReadNear().ToList();
        var runs = _far.Save(near);
        nearNumber = near.Count > 0 ? runs[^1].Number : -1;
        return runs;
    }

    /// <summary>Deletes files that the newest checkpoint does not need.</summary>
    public void DeleteObsolete(IReadOnlyList<ScheduleRun> saved, long nearNumber) =>
        _far.DeleteObsolete(saved, nearNumber);

    private bool IsInFar(in PendingRecord key, out long location)
    {
        location = _far.Find(key);
        return location >= 0 && IsPending(key with { Location = location });
    }

    private static PendingRecord Last(ReadOnlySpan<PendingRecord> items)
    {
        var last = items[0];
        foreach (ref readonly var item in items)
        {
            if (item.CompareKey(last) > 0)
                last = item;
        }

        return last;
    }

    /// <summary>The near records in order, as of now.</summary>
    private IEnumerable<PendingRecord> ReadNear()
    {
        var near = _near.Items.ToArray();
        Array.Sort(near);
        return FarSchedule.Resolve(near);
    }

    private void Refill()
    {
        while (_near.Count == 0 && !_far.IsEmpty)
        {
            var taken = new List<PendingRecord>();
            _bound = _far.Take(_nearMax, taken);
            foreach (var record in taken)
            {
                if (!_delivered.Contains(record.Origin))
                    _near.Push(record);
            }
        }

        if (_near.Count == 0)
            _bound = PendingRecord.Greatest;
        // What was delivered before the start was due before it; behind that nothing can be met any more.
        if (_delivered.Count > 0 && _bound.DueMs > _deliveredUntilMs)
            _delivered.Clear();
    }
}
