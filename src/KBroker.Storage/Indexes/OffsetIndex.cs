using System.Buffers.Binary;
using KBroker.Storage.Files;

namespace KBroker.Storage.Indexes;

/// <summary>An entry of the offset index.</summary>
/// <param name="Offset">Last offset of a batch.</param>
/// <param name="Position">Where in the log file that batch starts, in bytes.</param>
internal readonly record struct OffsetPosition(long Offset, int Position);

/// <summary>
/// <c>&lt;base&gt;.index</c>: every <c>index.interval.bytes</c> or so one entry of 8 bytes: int32 offset relative
/// to the
/// base offset, int32 position, both big-endian, offsets ascending. The offset is the last one of the batch that
/// starts at the position. Crash behaviour: see <see cref="SparseIndex"/>.
/// </summary>
internal sealed class OffsetIndex(IFileSystem files, string path, long baseOffset)
    : SparseIndex(files, path, EntrySize)
{
    /// <summary>Bytes of an entry.</summary>
    public const int EntrySize = 8;

    /// <summary>The last entry, or the start of the segment.</summary>
    public OffsetPosition Last
    {
        get
        {
            Span<byte> entry = stackalloc byte[EntrySize];
            return TryGetEntry(-1, entry) ? Decode(entry) : new OffsetPosition(baseOffset, 0);
        }
    }

    /// <summary>Adds an entry.</summary>
    public void Append(long offset, int position)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        BinaryPrimitives.WriteInt32BigEndian(entry, checked((int)(offset - baseOffset)));
        BinaryPrimitives.WriteInt32BigEndian(entry[4..], position);
        AppendEntry(entry);
    }

    /// <summary>The last entry at or below an offset, or the start of the segment.</summary>
    public OffsetPosition Lookup(long offset)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        return FindFloor(offset - baseOffset, entry) < 0 ? new OffsetPosition(baseOffset, 0) : Decode(entry);
    }

    /// <summary>An offset that is above those of all batches before a position; null where no entry tells.</summary>
    public long? OffsetBehind(int position)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        int low = 0, high = Count;
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            if (!TryGetEntry(middle, entry) || Decode(entry).Position >= position)
                high = middle;
            else
                low = middle + 1;
        }

        return TryGetEntry(low, entry) ? Decode(entry).Offset : null;
    }

    /// <summary>Drops the entries at or above an offset.</summary>
    public void TruncateTo(long offset)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        TruncateToEntries(FindFloor(offset - baseOffset - 1, entry) + 1);
    }

    /// <summary>Entry by number.</summary>
    public OffsetPosition? Entry(int number)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        return TryGetEntry(number, entry) ? Decode(entry) : null;
    }

    protected override long KeyOf(ReadOnlySpan<byte> entry) => BinaryPrimitives.ReadInt32BigEndian(entry);

    private OffsetPosition Decode(ReadOnlySpan<byte> entry) => new(
        baseOffset + BinaryPrimitives.ReadInt32BigEndian(entry), BinaryPrimitives.ReadInt32BigEndian(entry[4..]));
}
