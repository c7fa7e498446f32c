using System.Buffers.Binary;
using KBroker.Storage.Files;

namespace KBroker.Storage.Indexes;

/// <summary>An entry of the time index.</summary>
/// <param name="Timestamp">ms since 1970; -1 for none.</param>
/// <param name="Offset">Last offset of the batch that brought this timestamp.</param>
internal readonly record struct TimeIndexEntry(long Timestamp, long Offset);

/// <summary>
/// <c>&lt;base&gt;.timeindex</c>: entries of 12 bytes, int64 timestamp, int32 offset relative to the base offset,
/// both big-endian, both ascending. An entry says: no record up to and including the offset has a timestamp above this
/// one, and a record with it lies in the batch that ends at the offset. One is written beside each entry of
/// the offset index when the largest timestamp has grown, and a last one when the segment is rolled or closed, so that
/// the largest timestamp of a finished segment is its last entry. Crash behaviour: see <see cref="SparseIndex"/>.
/// </summary>
internal sealed class TimeIndex(IFileSystem files, string path, long baseOffset)
    : SparseIndex(files, path, EntrySize)
{
    /// <summary>Bytes of an entry.</summary>
    public const int EntrySize = 12;

    /// <summary>The last entry, or no timestamp at the base offset.</summary>
    public TimeIndexEntry Last
    {
        get
        {
            Span<byte> entry = stackalloc byte[EntrySize];
            return TryGetEntry(-1, entry) ? Decode(entry) : new TimeIndexEntry(-1, baseOffset);
        }
    }

    /// <summary>Adds an entry when its timestamp is above that of the last one.</summary>
    public void MaybeAppend(TimeIndexEntry value)
    {
        var last = Last;
        if (value.Timestamp <= last.Timestamp)
            return;
        Span<byte> entry = stackalloc byte[EntrySize];
        BinaryPrimitives.WriteInt64BigEndian(entry, value.Timestamp);
        BinaryPrimitives.WriteInt32BigEndian(entry[8..], checked((int)(value.Offset - baseOffset)));
        AppendEntry(entry);
    }

    /// <summary>The last entry at or below a timestamp, or no timestamp at the base offset.</summary>
    public TimeIndexEntry Lookup(long timestamp)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        return FindFloor(timestamp, entry) < 0 ? new TimeIndexEntry(-1, baseOffset) : Decode(entry);
    }

    /// <summary>Drops the entries at or above an offset.</summary>
    public void TruncateTo(long offset)
    {
        int low = 0, high = Count;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (Entry(middle)!.Value.Offset < offset)
                low = middle + 1;
            else
                high = middle;
        }

        TruncateToEntries(low);
    }

    /// <summary>Entry by number.</summary>
    public TimeIndexEntry? Entry(int number)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        return TryGetEntry(number, entry) ? Decode(entry) : null;
    }

    protected override long KeyOf(ReadOnlySpan<byte> entry) => BinaryPrimitives.ReadInt64BigEndian(entry);

    private TimeIndexEntry Decode(ReadOnlySpan<byte> entry) => new(
        BinaryPrimitives.ReadInt64BigEndian(entry), baseOffset + BinaryPrimitives.ReadInt32BigEndian(entry[8..]));
}
