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
    public IEnumerable<PendingRecord> Read(IFileSystem files, string directory)
    {
        if (Cursor >= Count)
            yield break;
        using var file = files.Open(Path.Combine(directory, NameOf(Number)), FileOpenMode.Open);
        var page = new byte[PageEntries * PendingRecord.SizeInBytes];
        for (var at = Cursor; at < Count;)
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
        Span<byte> entry = stackalloc byte[PendingRecord.SizeInBytes];
        var (low, high) = (Cursor, Count);
        while (low < high)
        {
            var middle = (int)(((long)low + high) / 2);
            ReadWhole(file, entry, middle);
            if (Decode(entry).CompareKey(record) <= 0)
                low = middle + 1;
            else
                high = middle;
        }

        if (low == Cursor)
            return -1;
        ReadWhole(file, entry, low - 1);
        var last = Decode(entry);
        return last.IsSame(record) ? last.Location : -1;
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
