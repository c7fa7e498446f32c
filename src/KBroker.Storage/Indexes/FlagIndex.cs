using System.Buffers.Binary;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Indexes;

/// <summary>Where a flagged batch lies in its segment.</summary>
/// <param name="BaseOffset">Offset of its first record.</param>
/// <param name="Position">Where it starts in the log file, in bytes.</param>
/// <param name="SizeInBytes">Bytes of the batch.</param>
/// <param name="Attributes">The attributes of its header.</param>
internal readonly record struct FlaggedPlace(
    long BaseOffset, int Position, int SizeInBytes, RecordBatchAttributes Attributes)
{
    /// <summary>The first byte behind the batch.</summary>
    public int EndPosition => Position + SizeInBytes;

    /// <summary>Whether consumers see nothing of it.</summary>
    public bool IsAllHidden => (Attributes & RecordBatchAttributes.AllHidden) != 0;

    /// <summary>Whether consumers do not see all of it.</summary>
    public bool IsHiding => (Attributes & RecordBatchAttributes.Hiding) != 0;
}

/// <summary>
/// <c>&lt;base&gt;.flagindex</c>: the batches of a segment that have one of the broker's private attribute bits, so
/// that reads know what to hide without looking at batches, and whoever follows the flagged ones need not read the
/// others. The file exists only when there is an entry; Apache Kafka leaves it alone.
/// </summary>
/// <remarks>
/// An entry is 16 bytes, big-endian: int32 base offset minus the segment's, int32 position, int32 size in bytes, int32
/// attributes. They stand in the order of the log. Crash behaviour: the entry is written behind the batch and before a
/// reader may see the batch; after a crash the index of the segments that are scanned is made anew from the log. There
/// is no checksum: whoever goes by an entry compares it with the batch's header, and has the index made anew where they
/// differ.
/// </remarks>
internal sealed class FlagIndex(IFileSystem files, string path, long segmentBaseOffset) : IDisposable
{
    /// <summary>Bytes of an entry.</summary>
    public const int EntrySize = 16;

    private const int Unknown = -1;
    private readonly Lock _lock = new();
    private PooledFile? _file;
    private volatile int _count = Unknown;
    private FlaggedPlace _last;
    private string _path = path;

    /// <summary>Full path.</summary>
    public string Path => _path;

    /// <summary>Whether the segment has no flagged batch; costs nothing once it is known.</summary>
    public bool IsEmpty => _count == 0 || Count == 0;

    /// <summary>Number of entries.</summary>
    public int Count
    {
        get
        {
            if (_count >= 0)
                return _count;
            lock (_lock)
                return Load();
        }
    }

    /// <summary>Knows that there is no file, so that nobody need look.</summary>
    public void SetAbsent() => _count = 0;

    /// <summary>Adds an entry.</summary>
    /// <returns>Whether it is the first one, and so the file new.</returns>
    public bool Append(in RecordBatchHeader header, int position)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        BinaryPrimitives.WriteInt32BigEndian(entry, checked((int)(header.BaseOffset - segmentBaseOffset)));
        BinaryPrimitives.WriteInt32BigEndian(entry[4..], position);
        BinaryPrimitives.WriteInt32BigEndian(entry[8..], header.SizeInBytes);
        BinaryPrimitives.WriteInt32BigEndian(entry[12..], (ushort)header.Attributes);
        lock (_lock)
        {
            var count = Load();
            _file ??= new PooledFile(files, _path, isMadeAnew: true);
            if (count == 0)
                _file.Open(FileOpenMode.OpenOrCreate);
            _file.Write(entry, (long)count * EntrySize);
            _last = Decode(entry);
            _count = count + 1;
            return count == 0;
        }
    }

    /// <summary>Reads entries in order.</summary>
    /// <param name="from">Index of the first.</param>
    /// <param name="places">Receives them.</param>
    /// <returns>How many; fewer than asked for at the end.</returns>
    public int Read(int from, Span<FlaggedPlace> places)
    {
        lock (_lock)
            return ReadLocked(from, places);
    }

    /// <summary>Finds the first batch that ends behind a position of the log file.</summary>
    /// <param name="position">In bytes.</param>
    /// <returns>Its entry's index; <see cref="Count"/> when there is none.</returns>
    public int FindPosition(int position) => Find(place => place.EndPosition > position);

    /// <summary>Finds the first batch that begins at or behind an offset.</summary>
    /// <param name="offset">The offset.</param>
    /// <returns>Its entry's index; <see cref="Count"/> when there is none.</returns>
    public int FindOffset(long offset) => Find(place => place.BaseOffset >= offset);

    /// <summary>Drops the entries of batches at or behind a position of the log file.</summary>
    public void TruncateTo(int position)
    {
        if (IsEmpty)
            return;
        var keep = Find(place => place.Position >= position);
        lock (_lock)
            SetCount(keep);
    }

    /// <summary>Drops everything.</summary>
    public void Reset()
    {
        lock (_lock)
        {
            if (_file is null && !files.FileExists(_path))
                _count = 0;
            else
                SetCount(0);
        }
    }

    /// <summary>Whether there is a file, with or without entries.</summary>
    public bool Exists()
    {
        lock (_lock)
            return _file is not null || (_count == Unknown && files.FileExists(_path));
    }

    /// <summary>Puts the entries on stable storage, if there are any.</summary>
    public void Flush()
    {
        lock (_lock)
            _file?.Flush();
    }

    /// <summary>Renames the file, where it exists.</summary>
    public void Rename(string path)
    {
        lock (_lock)
        {
            if (_file is not null)
                _file.Rename(path);
            else if (files.FileExists(_path))
                files.Rename(_path, path);
            _path = path;
        }
    }

    /// <summary>Closes the file if nobody uses it.</summary>
    public void CloseFile()
    {
        lock (_lock)
            _file?.CloseIfUnused();
    }

    /// <summary>Keeps the file from being opened until <see cref="EndMove"/>.</summary>
    public void BeginMove()
    {
        _lock.Enter();
        _file?.BeginMove();
    }

    /// <summary>Ends what <see cref="BeginMove"/> began.</summary>
    /// <param name="path">The path from now on.</param>
    public void EndMove(string path)
    {
        _file?.EndMove(path);
        _path = path;
        _lock.Exit();
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _file?.Dispose();
            _file = null;
        }
    }

    private FlaggedPlace Decode(ReadOnlySpan<byte> entry) => new(
        segmentBaseOffset + BinaryPrimitives.ReadInt32BigEndian(entry),
        BinaryPrimitives.ReadInt32BigEndian(entry[4..]),
        BinaryPrimitives.ReadInt32BigEndian(entry[8..]),
        (RecordBatchAttributes)BinaryPrimitives.ReadInt16BigEndian(entry[14..]));

    private int Load()
    {
        if (_count >= 0)
            return _count;
        if (_file is null && !files.FileExists(_path))
            return _count = 0;
        _file ??= new PooledFile(files, _path, isMadeAnew: true);
        var count = (int)(_file.Length / EntrySize);
        Span<FlaggedPlace> last = stackalloc FlaggedPlace[1];
        if (count > 0 && ReadEntries(count - 1, last) == 1)
            _last = last[0];
        return _count = count;
    }

    private void SetCount(int count)
    {
        _file ??= new PooledFile(files, _path, isMadeAnew: true);
        _file.SetLength((long)count * EntrySize);
        _count = Unknown;
        Load();
    }

    private int Find(Func<FlaggedPlace, bool> isBehind)
    {
        Span<FlaggedPlace> one = stackalloc FlaggedPlace[1];
        lock (_lock)
        {
            // Readers at the end of the log are behind the last one.
            var (low, high) = (0, Load());
            if (high == 0 || !isBehind(_last))
                return high;
            while (low < high)
            {
                var middle = (low + high) / 2;
                if (ReadEntries(middle, one) == 1 && !isBehind(one[0]))
                    low = middle + 1;
                else
                    high = middle;
            }

            return low;
        }
    }

    private int ReadLocked(int from, Span<FlaggedPlace> places) =>
        ReadEntries(from, places[..Math.Max(0, Math.Min(places.Length, Load() - from))]);

    private int ReadEntries(int from, Span<FlaggedPlace> places)
    {
        const int PageEntries = 128;
        Span<byte> page = stackalloc byte[PageEntries * EntrySize];
        var done = 0;
        while (done < places.Length)
        {
            var wanted = Math.Min(PageEntries, places.Length - done);
            var bytes = _file!.Read(page[..(wanted * EntrySize)], (long)(from + done) * EntrySize);
            for (var at = 0; at + EntrySize <= bytes; at += EntrySize)
                places[done++] = Decode(page[at..]);
            if (bytes < wanted * EntrySize)
                break;
        }

        return done;
    }
}
