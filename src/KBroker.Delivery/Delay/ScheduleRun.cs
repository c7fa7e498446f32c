using System.Buffers.Binary;
using KBroker.Storage.Crashing;
using KBroker.Storage.Files;

namespace KBroker.Delivery.Delay;

/// <summary>
/// A sorted file of pending records, written once: <c>kbroker-delay-&lt;number&gt;.run</c>, entries of 24 bytes
/// (<see cref="PendingRecord"/>). It is a cache: what it says can be made anew from the log.
/// </summary>
/// <param name="Number">Names the file; never used twice in a directory.</param>
/// <param name="Count">Number of entries.</param>
internal sealed record ScheduleRun(long Number, int Count)
{
    private const int PageEntries = 512;

    /// <summary>Entries before this one are in memory, or done.</summary>
    public int Cursor { get; set; }

    /// <summary>The file's name.</summary>
    public static string NameOf(long number) => $"kbroker-delay-{number}.run";

    /// <summary>Writes a run and puts it on stable storage.</summary>
    public static ScheduleRun Write(
        IFileSystem files, string directory, long number, IEnumerable<PendingRecord> sorted)
    {
        using var file = files.Open(Path.Combine(directory, NameOf(number)), FileOpenMode.OpenOrCreate);
        file.SetLength(0);
        var page = new byte[PageEntries * PendingRecord.SizeInBytes];
        var (count, used, position) = (0, 0, 0L);
        foreach (var record in sorted)
        {
            var entry = page.AsSpan(used);
            BinaryPrimitives.WriteInt64BigEndian(entry, record.DueMs);
            BinaryPrimitives.WriteInt64BigEndian(entry[8..], record.Origin);
            BinaryPrimitives.WriteInt64BigEndian(entry[16..], record.Location);
            used += PendingRecord.SizeInBytes;
            count++;
            if (used < page.Length)
                continue;
            file.Write(page, position);
            position += used;
            used = 0;
        }

        if (used > 0)
            file.Write(page.AsSpan(0, used), position);
        CrashPoint.Reached("delays.run-written");
        file.Flush();
        CrashPoint.Reached("delays.run-flushed");
        return new ScheduleRun(number, count);
    }

    /// <summary>The entries from the cursor on, in order.</summary>
    public IEnumerable<PendingRecord> Read(IFileSystem files, string directory) =>
        Read(files, directory, PendingRecord.Least);

    /// <summary>The entries from a key on that are behind the cursor, in order.</summary>
    public IEnumerable<PendingRecord> Read(IFileSystem files, string directory, PendingRecord from)
    {
        if (Cursor >= Count)
            yield break;
        using var file = files.Open(Path.Combine(directory, NameOf(Number)), FileOpenMode.Open);
        var page = new byte[PageEntries * PendingRecord.SizeInBytes];
        var first = from == PendingRecord.Least ? Cursor : IndexOf(file, from, isBehind: false);
        for (var at = first; at < Count;)
        {
            var wanted = Math.Min(PageEntries, Count - at);
            ReadWhole(file, page.AsSpan(0, wanted * PendingRecord.SizeInBytes), at);
            for (var i = 0; i < wanted; i++)
                yield return Decode(page.AsSpan(i * PendingRecord.SizeInBytes));
            at += wanted;
        }
    }

    /// <summary>What the run says of a record, behind the cursor.</summary>
    /// <returns>The largest location; -1 when it says nothing.</returns>
    public long Find(IFileSystem files, string directory, in PendingRecord record)
    {
        if (Cursor >= Count)
            return -1;
        using var file = files.Open(Path.Combine(directory, NameOf(Number)), FileOpenMode.Open);
        var behind = IndexOf(file, record, isBehind: true);
        if (behind == Cursor)
            return -1;
        var last = ReadOne(file, behind - 1);
        return last.IsSame(record) ? last.Location : -1;
    }

    /// <summary>Moves the cursor behind a record, and all that comes before it.</summary>
    public void Advance(IFileSystem files, string directory, in PendingRecord last)
    {
        if (Cursor >= Count)
            return;
        using var file = files.Open(Path.Combine(directory, NameOf(Number)), FileOpenMode.Open);
        Cursor = IndexOf(file, last, isBehind: true);
    }

    /// <summary>The index of the first entry at a key, or of the first behind it, from the cursor on.</summary>
    private int IndexOf(IStorageFile file, in PendingRecord key, bool isBehind)
    {
        var (low, high) = (Cursor, Count);
        while (low < high)
        {
            var middle = (int)(((long)low + high) / 2);
            var order = ReadOne(file, middle).CompareKey(key);
            if (order < 0 || (order == 0 && isBehind))
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    private static PendingRecord ReadOne(IStorageFile file, int at)
    {
        Span<byte> entry = stackalloc byte[PendingRecord.SizeInBytes];
        ReadWhole(file, entry, at);
        return Decode(entry);
    }

    private static void ReadWhole(IStorageFile file, Span<byte> entries, int at)
    {
        if (file.Read(entries, (long)at * PendingRecord.SizeInBytes) != entries.Length)
            throw new EndOfStreamException($"{file.Path} is shorter than its checkpoint says.");
    }

    private static PendingRecord Decode(ReadOnlySpan<byte> entry) => new(
        BinaryPrimitives.ReadInt64BigEndian(entry),
        BinaryPrimitives.ReadInt64BigEndian(entry[8..]),
        BinaryPrimitives.ReadInt64BigEndian(entry[16..]));
}
