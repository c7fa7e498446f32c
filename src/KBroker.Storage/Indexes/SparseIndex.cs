using KBroker.Storage.Files;

namespace KBroker.Storage.Indexes;

/// <summary>
/// A file of fixed-size entries in ascending key order, appended by plain writes, searched for the last entry at or
/// below a key.
/// </summary>
/// <remarks>
/// <para>
/// In memory are only the last page of entries (up to 512) and the first key of every page: a lookup near the end costs
/// no system call, one further back costs one read of a page. So an index of 1 GB of log takes a few KB, and nothing
/// until it is first used.
/// </para>
/// <para>
/// Entries reach the file when a page is full and when <see cref="WriteOut"/> is called (roll, close). A crash
/// loses at most those not yet written, or tears the last one: opening after a crash drops what is torn, out of
/// order or
/// beyond the log, and the scan of the log's tail adds entries anew. An index says where to start looking, never
/// what is
/// there, so a missing entry costs time and not truth.
/// </para>
/// </remarks>
internal abstract class SparseIndex : IDisposable
{
    private const int PageEntries = 512;
    private const int FirstCapacityEntries = 16;

    private readonly Lock _lock = new();
    private readonly IFileSystem _files;
    private readonly int _entrySize;
    private PooledFile? _file;
    private bool _loaded;
    private bool _exists;
    private bool _disposed;
    private int _count;
    private int _written;
    private byte[] _tail = [];
    private long[] _pageKeys = [];

    protected SparseIndex(IFileSystem files, string path, int entrySize)
    {
        _files = files;
        _entrySize = entrySize;
        Path = path;
    }

    /// <summary>Full path; follows a rename.</summary>
    public string Path { get; private set; }

    /// <summary>
    /// Number of entries. Every append asks, under the lock of its log, without which nothing is taken away: so what is
    /// loaded can be read as it is.
    /// </summary>
    public int Count
    {
        get
        {
            if (Volatile.Read(ref _loaded) && !_disposed)
                return Volatile.Read(ref _count);
            lock (_lock)
            {
                EnsureLoaded();
                return _count;
            }
        }
    }

    protected abstract long KeyOf(ReadOnlySpan<byte> entry);

    /// <summary>Writes entries that are only in memory to the file, creating it when missing.</summary>
    public void WriteOut()
    {
        lock (_lock)
        {
            EnsureLoaded();
            WriteTail();
        }
    }

    /// <summary>Writes all entries and puts them on stable storage.</summary>
    public void Flush()
    {
        lock (_lock)
        {
            EnsureLoaded();
            WriteTail();
            OpenFile.Flush();
        }
    }

    /// <summary>Renames the file, where it exists.</summary>
    public void Rename(string path)
    {
        lock (_lock)
        {
            if (_file is not null)
                _file.Rename(path);
            else if (_files.FileExists(Path))
                _files.Rename(Path, path);
            Path = path;
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
        Path = path;
        _lock.Exit();
    }

    /// <summary>Keeps the first entries only.</summary>
    /// <param name="count">How many.</param>
    public void TruncateToEntries(int count)
    {
        lock (_lock)
        {
            EnsureLoaded();
            if (count >= _count)
                return;
            WriteTail();
            OpenFile.SetLength((long)count * _entrySize);
            _loaded = false;
        }
    }

    /// <summary>
    /// Makes an empty file, before there is an entry: Apache Kafka, opening the directory after a crash, takes a log
    /// file without an offset index for damaged.
    /// </summary>
    public void CreateFile()
    {
        lock (_lock)
        {
            using var file = _files.Open(Path, FileOpenMode.OpenOrCreate);
            if (file.Length > 0)
                file.SetLength(0);
            _exists = true;
        }
    }

    /// <summary>Drops everything, also a file that cannot be read.</summary>
    public void Reset()
    {
        lock (_lock)
        {
            // Most have nothing in them, or are not there: a start after a crash must not touch thousands of those.
            if (_files.FileExists(Path) && OpenFile.Length > 0)
                OpenFile.SetLength(0);
            _loaded = false;
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            _file?.Dispose();
            _file = null;
        }
    }

    /// <summary>Adds an entry; the caller keeps keys ascending.</summary>
    protected void AppendEntry(ReadOnlySpan<byte> entry)
    {
        lock (_lock)
        {
            EnsureLoaded();
            var inTail = _count % PageEntries;
            if (inTail == 0 && _count > 0)
                WriteTail();
            if (inTail == 0)
                AddPageKey(_count / PageEntries, KeyOf(entry));
            EnsureTailCapacity(inTail + 1);
            entry.CopyTo(_tail.AsSpan(inTail * _entrySize));
            _count++;
        }
    }

    /// <summary>Finds the last entry whose key is at or below a key.</summary>
    /// <returns>Its number, or -1 when there is none.</returns>
    protected int FindFloor(long key, Span<byte> entry)
    {
        lock (_lock)
        {
            EnsureLoaded();
            var page = FloorPage(key);
            if (page < 0)
                return -1;
            if (page == TailPage)
                return (page * PageEntries) + FloorInPage(_tail.AsSpan(0, TailEntries * _entrySize), key, entry);
            Span<byte> bytes = stackalloc byte[PageEntries * _entrySize];
            ReadPage(page, bytes);
            return (page * PageEntries) + FloorInPage(bytes, key, entry);
        }
    }

    /// <summary>Copies an entry.</summary>
    /// <returns>False when there is none of this number.</returns>
    protected bool TryGetEntry(int number, Span<byte> entry)
    {
        lock (_lock)
        {
            EnsureLoaded();
            if (number < 0)
                number += _count;
            if ((uint)number >= (uint)_count)
                return false;
            var page = number / PageEntries;
            if (page == TailPage)
                _tail.AsSpan(number % PageEntries * _entrySize, _entrySize).CopyTo(entry);
            else if (OpenFile.Read(entry[.._entrySize], (long)number * _entrySize) != _entrySize)
                throw new IOException($"{Path} ends before entry {number} of {_count}.");
            return true;
        }
    }

    /// <summary>Opened when needed: an index that only its tail is asked of holds no descriptor.</summary>
    private PooledFile OpenFile
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _file ??= new PooledFile(_files, Path, isMadeAnew: true);
            _file.Open(FileOpenMode.OpenOrCreate);
            return _file;
        }
    }

    private int TailPage => _count == 0 ? 0 : (_count - 1) / PageEntries;

    private int TailEntries => _count == 0 ? 0 : ((_count - 1) % PageEntries) + 1;

    private void EnsureLoaded()
    {
        // Always, so that a late flush cannot bring the file of a deleted segment back.
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_loaded)
            return;
        _count = 0;
        _written = 0;
        _exists = _files.FileExists(Path);
        if (_exists)
        {
            using var file = _files.Open(Path, FileOpenMode.Open);
            // A torn last entry is left out here and overwritten by the next append.
            _count = checked((int)(file.Length / _entrySize));
            _written = _count;
            LoadKeys(file);
        }

        Volatile.Write(ref _loaded, true);
    }

    private void LoadKeys(IStorageFile file)
    {
        if (_count == 0)
            return;
        Span<byte> entry = stackalloc byte[_entrySize];
        var tailPage = TailPage;
        for (var page = 0; page < tailPage; page++)
        {
            if (file.Read(entry, (long)page * PageEntries * _entrySize) != _entrySize)
                throw new IOException($"{Path} cannot be read at page {page}.");
            AddPageKey(page, KeyOf(entry));
        }

        EnsureTailCapacity(TailEntries);
        var tail = _tail.AsSpan(0, TailEntries * _entrySize);
        if (file.Read(tail, (long)tailPage * PageEntries * _entrySize) != tail.Length)
            throw new IOException($"{Path} cannot be read at page {tailPage}.");
        AddPageKey(tailPage, KeyOf(tail));
    }

    private void WriteTail()
    {
        if (_written == _count && _exists)
            return;
        // Beside the pool, which is for files that are used again: a stop writes those of thousands of partitions once.
        using var ownFile = _file is null ? _files.Open(Path, FileOpenMode.OpenOrCreate) : null;
        var file = ownFile ?? OpenFile;
        _exists = true;
        var first = TailPage * PageEntries;
        var from = Math.Max(_written, first);
        var bytes = _tail.AsSpan((from - first) * _entrySize, (_count - from) * _entrySize);
        if (bytes.Length > 0)
            file.Write(bytes, (long)from * _entrySize);
        _written = _count;
    }

    private void AddPageKey(int page, long key)
    {
        if (page >= _pageKeys.Length)
            Array.Resize(ref _pageKeys, Math.Max(1, page * 2));
        _pageKeys[page] = key;
    }

    private void EnsureTailCapacity(int entries)
    {
        if (entries * _entrySize <= _tail.Length)
            return;
        var capacity = Math.Max(FirstCapacityEntries, Math.Min(PageEntries, entries * 4));
        Array.Resize(ref _tail, capacity * _entrySize);
    }

    private int FloorPage(long key)
    {
        if (_count == 0 || _pageKeys[0] > key)
            return -1;
        int low = 0, high = TailPage;
        while (low < high)
        {
            var middle = (low + high + 1) >>> 1;
            if (_pageKeys[middle] <= key)
                low = middle;
            else
                high = middle - 1;
        }

        return low;
    }

    private int FloorInPage(ReadOnlySpan<byte> page, long key, Span<byte> entry)
    {
        int low = 0, high = (page.Length / _entrySize) - 1;
        while (low < high)
        {
            var middle = (low + high + 1) >>> 1;
            if (KeyOf(page[(middle * _entrySize)..]) <= key)
                low = middle;
            else
                high = middle - 1;
        }

        page.Slice(low * _entrySize, _entrySize).CopyTo(entry);
        return low;
    }

    private void ReadPage(int page, Span<byte> destination)
    {
        if (OpenFile.Read(destination, (long)page * PageEntries * _entrySize) != destination.Length)
            throw new IOException($"{Path} cannot be read at page {page}.");
    }
}
