using KBroker.Storage.Crashing;
using KBroker.Storage.Files;

namespace KBroker.Delivery.Delay;

/// <summary>
/// The far part of a schedule: a few thousand entries in memory, all others in sorted files, of which small ones are
/// merged to larger ones. Whatever the number pending, memory is bounded. Not thread-safe.
/// </summary>
/// <param name="files">The file system.</param>
/// <param name="directory">The partition's directory, which may be renamed.</param>
/// <param name="memoryMax">Entries in memory before they become a file.</param>
internal sealed class FarSchedule(IFileSystem files, Func<string> directory, int memoryMax)
{
    /// <summary>Files of about one size before they are merged.</summary>
    private const int RunsOfSizeMax = 8;

    private readonly List<PendingRecord> _memory = [];
    private readonly List<ScheduleRun> _runs = [];
    private readonly HashSet<long> _obsolete = [];
    private bool _isSorted = true;
    private long _nextNumber;

    /// <summary>Whether there is nothing.</summary>
    public bool IsEmpty => _memory.Count == 0 && _runs.TrueForAll(static r => r.Cursor >= r.Count);

    /// <summary>Takes over the files of a checkpoint.</summary>
    public void Open(IReadOnlyList<ScheduleRun> runs)
    {
        _memory.Clear();
        _runs.Clear();
        _runs.AddRange(runs);
        _obsolete.Clear();
        _nextNumber = runs.Count == 0 ? 0 : runs.Max(static r => r.Number) + 1;
        foreach (var file in files.ListFiles(directory()))
        {
            if (NumberOf(file.Name) is not { } number)
                continue;
            _nextNumber = Math.Max(_nextNumber, number + 1);
            if (!_runs.Exists(r => r.Number == number))
                _obsolete.Add(number);
        }
    }

    /// <summary>Adds an entry.</summary>
    public void Add(in PendingRecord record)
    {
        _memory.Add(record);
        _isSorted = _memory.Count == 1;
        if (_memory.Count >= memoryMax)
            WriteMemory();
    }

    /// <summary>Adds many entries as one file.</summary>
    /// <param name="sorted">In order.</param>
    public void AddSorted(IReadOnlyList<PendingRecord> sorted)
    {
        if (sorted.Count > 0)
            AddRun(sorted);
    }

    /// <summary>What is known of a record.</summary>
    /// <returns>The largest location; -1 when nothing is.</returns>
    public long Find(in PendingRecord record)
    {
        var found = -1L;
        foreach (ref readonly var known in System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_memory))
        {
            if (known.IsSame(record))
                found = Math.Max(found, known.Location);
        }

        foreach (var run in _runs)
            found = Math.Max(found, run.Find(files, directory(), record));
        return found;
    }

    /// <summary>All entries in order, one for each record that is still pending, with its newest location.</summary>
    public IEnumerable<PendingRecord> Read() => Resolve(Merge(_runs, withMemory: true));

    /// <summary>The entries from a key on, in order, one for each record: its last word, cancelled or not.</summary>
    public IEnumerable<PendingRecord> ReadFrom(PendingRecord from)
    {
        SortMemory();
        var sources = _runs.Select(r => r.Read(files, directory(), from))
            .Prepend(_memory.SkipWhile(r => r.CompareKey(from) < 0).ToList());
        return Newest(Merge(sources));
    }

    /// <summary>Takes the least entries out.</summary>
    /// <param name="count">How many, at most.</param>
    /// <param name="taken">Receives those that are still pending.</param>
    /// <returns>The last key that was taken out; <see cref="PendingRecord.Greatest"/> when nothing is left.</returns>
    public PendingRecord Take(int count, List<PendingRecord> taken)
    {
        var last = PendingRecord.Greatest;
        foreach (var record in Read())
        {
            if (taken.Count == count)
            {
                last = taken[^1];
                break;
            }

            taken.Add(record);
        }

        SortMemory();
        _memory.RemoveRange(0, CountUpTo(_memory, last));
        foreach (var run in _runs)
            run.Advance(files, directory(), last);
        Drop(static run => run.Cursor >= run.Count);
        return last;
    }

    /// <summary>Puts everything in files on stable storage, for a checkpoint.</summary>
    /// <param name="near">The near entries, which go into a file of their own.</param>
    /// <returns>All files, with cursors of this moment, but for near ones that are in memory, too.</returns>
    public IReadOnlyList<ScheduleRun> Save(IReadOnlyList<PendingRecord> near)
    {
        WriteMemory();
        var saved = _runs.ConvertAll(static r => r with { Cursor = r.Cursor });
        if (near.Count > 0)
        {
            var run = ScheduleRun.Write(files, directory(), _nextNumber++, near);
            saved.Add(run);
        }

        return saved;
    }

    /// <summary>Deletes the files that no checkpoint names any more.</summary>
    /// <param name="saved">Those that the newest one names.</param>
    /// <param name="isSavedNear">The number of the near file among them, which the next checkpoint replaces; or
    /// -1.</param>
    public void DeleteObsolete(IReadOnlyList<ScheduleRun> saved, long isSavedNear)
    {
        foreach (var number in _obsolete.Where(n => saved.All(r => r.Number != n)).ToList())
        {
            files.DeleteFile(Path.Combine(directory(), ScheduleRun.NameOf(number)));
            CrashPoint.Reached("delays.run-deleted");
            _obsolete.Remove(number);
        }

        if (isSavedNear >= 0)
            _obsolete.Add(isSavedNear);
    }

    /// <summary>Of what is said of one record the last word counts; a cancelled one is left out.</summary>
    internal static IEnumerable<PendingRecord> Resolve(IEnumerable<PendingRecord> sorted) =>
        Newest(sorted).Where(static r => r.Location != PendingRecord.Cancelled);

    /// <summary>The last word on each record.</summary>
    internal static IEnumerable<PendingRecord> Newest(IEnumerable<PendingRecord> sorted)
    {
        PendingRecord? last = null;
        foreach (var record in sorted)
        {
            if (last is { } known && !known.IsSame(record))
                yield return known;
            last = record;
        }

        if (last is { } final)
            yield return final;
    }

    private static long? NumberOf(string name) =>
        name.StartsWith("kbroker-delay-", StringComparison.Ordinal) && name.EndsWith(".run", StringComparison.Ordinal)
        && long.TryParse(name.AsSpan(14, name.Length - 18), out var number)
            ? number
            : null;

    private static int CountUpTo(List<PendingRecord> sorted, PendingRecord last)
    {
        var count = 0;
        while (count < sorted.Count && sorted[count].CompareKey(last) <= 0)
            count++;
        return count;
    }

    private void SortMemory()
    {
        if (!_isSorted)
            _memory.Sort();
        _isSorted = true;
    }

    private void WriteMemory()
    {
        if (_memory.Count == 0)
            return;
        SortMemory();
        AddRun(_memory);
        _memory.Clear();
    }

    private void AddRun(IReadOnlyList<PendingRecord> sorted)
    {
        _runs.Add(ScheduleRun.Write(files, directory(), _nextNumber++, sorted));
        while (_runs.GroupBy(SizeClass).FirstOrDefault(static g => g.Count() >= RunsOfSizeMax) is { } alike)
        {
            var merged = alike.ToList();
            var all = Merge(merged, withMemory: false);
            _runs.Add(ScheduleRun.Write(files, directory(), _nextNumber++, all));
            CrashPoint.Reached("delays.runs-merged");
            Drop(merged.Contains);
        }
    }

    /// <summary>Files of one class differ in size by less than the number that is merged.</summary>
    private int SizeClass(ScheduleRun run) =>
        System.Numerics.BitOperations.Log2((uint)Math.Max(1, run.Count / memoryMax)) / 3;

    private void Drop(Predicate<ScheduleRun> isDone)
    {
        foreach (var run in _runs)
        {
            if (isDone(run))
                _obsolete.Add(run.Number);
        }

        _runs.RemoveAll(isDone);
    }

    private IEnumerable<PendingRecord> Merge(IReadOnlyList<ScheduleRun> runs, bool withMemory)
    {
        var sources = runs.Select(r => r.Read(files, directory()));
        if (withMemory && _memory.Count > 0)
        {
            SortMemory();
            sources = sources.Prepend(_memory.ToList());
        }

        return Merge(sources);
    }

    private static IEnumerable<PendingRecord> Merge(IEnumerable<IEnumerable<PendingRecord>> sorted)
    {
        var sources = sorted.Select(static s => s.GetEnumerator()).ToList();
        try
        {
            var queue = new PriorityQueue<IEnumerator<PendingRecord>, PendingRecord>();
            foreach (var source in sources)
            {
                if (source.MoveNext())
                    queue.Enqueue(source, source.Current);
            }

            while (queue.TryDequeue(out var source, out var record))
            {
                yield return record;
                if (source.MoveNext())
                    queue.Enqueue(source, source.Current);
            }
        }
        finally
        {
            foreach (var source in sources)
                source.Dispose();
        }
    }
}
