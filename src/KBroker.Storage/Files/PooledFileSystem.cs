namespace KBroker.Storage.Files;

/// <summary>
/// A file system that also knows lazily opened files (<see cref="PooledFile"/>), and keeps the number of those that are
/// open within a bound: a broker may have many more segments than descriptors.
/// </summary>
/// <remarks>
/// Which file is closed follows the clock algorithm: a use sets a mark; the hand takes the mark away where it finds one
/// and closes where it finds none. A file in use, or held by a slice that is being sent, is never closed, so the bound
/// may be exceeded for a while rather than anyone wait. <see cref="CloseIdle"/>, called every half minute or so, looks
/// at all files once: what nobody used between two calls is closed, so an idle partition holds no descriptor.
/// </remarks>
internal sealed class PooledFileSystem(IFileSystem inner, int maxOpenFiles) : IFileSystem
{
    private const int MaxFlushesPerCall = 256;

    /// <summary>How many files are looked at for one that can be closed; what is dirty cannot at once.</summary>
    private const int MaxLooks = 1024;

    private readonly Lock _lock = new();
    private readonly List<PooledFile> _open = [];
    private int _hand;

    /// <summary>Lazily opened files that are open now.</summary>
    public int OpenCount
    {
        get
        {
            lock (_lock)
                return _open.Count;
        }
    }

    /// <inheritdoc/>
    public IStorageFile Open(string path, FileOpenMode mode) => inner.Open(path, mode);

    /// <inheritdoc/>
    public bool FileExists(string path) => inner.FileExists(path);

    /// <inheritdoc/>
    public bool DirectoryExists(string path) => inner.DirectoryExists(path);

    /// <inheritdoc/>
    public void CreateDirectory(string path) => inner.CreateDirectory(path);

    /// <inheritdoc/>
    public void DeleteFile(string path) => inner.DeleteFile(path);

    /// <inheritdoc/>
    public void DeleteDirectory(string path) => inner.DeleteDirectory(path);

    /// <inheritdoc/>
    public void Rename(string from, string to) => inner.Rename(from, to);

    /// <inheritdoc/>
    public IReadOnlyList<FileEntry> ListFiles(string path) => inner.ListFiles(path);

    /// <inheritdoc/>
    public IReadOnlyList<string> ListDirectories(string path) => inner.ListDirectories(path);

    /// <inheritdoc/>
    public byte[] ReadAllBytes(string path) => inner.ReadAllBytes(path);

    /// <inheritdoc/>
    public void FlushDirectory(string path) => inner.FlushDirectory(path);

    /// <inheritdoc/>
    public IFileSystemFlush? OpenFlushAll(string path) => inner.OpenFlushAll(path);

    /// <inheritdoc/>
    public IDisposable? TryLock(string path) => inner.TryLock(path);

    /// <inheritdoc/>
    public (long TotalBytes, long UsableBytes) GetSpace(string path) => inner.GetSpace(path);

    /// <summary>Closes the files that were not used since the last call; first flushes those that need it.</summary>
    public void CloseIdle()
    {
        var dirty = new List<PooledFile>();
        lock (_lock)
        {
            for (var i = _open.Count - 1; i >= 0; i--)
            {
                var file = _open[i];
                if (file.TakeMark())
                    continue;
                if (file.TryClose())
                    RemoveAt(i);
                else if (file.IsDirty && dirty.Count < MaxFlushesPerCall)
                    dirty.Add(file);
            }
        }

        // Without the lock, because a flush takes long. They are closed by the next call.
        foreach (var file in dirty)
            file.FlushQuietly();
    }

    /// <summary>Notes a file that was just opened, and closes others when there are too many.</summary>
    internal void Opened(PooledFile file)
    {
        PooledFile? dirty;
        lock (_lock)
        {
            file.Slot = _open.Count;
            _open.Add(file);
            dirty = MakeRoom();
        }

        if (dirty is null)
            return;
        dirty.FlushQuietly();
        CloseIfUnused(dirty);
    }

    /// <summary>Closes a file, if nobody uses it and there is nothing to flush.</summary>
    internal void CloseIfUnused(PooledFile file)
    {
        lock (_lock)
        {
            if (file.Slot >= 0 && file.TryClose())
                RemoveAt(file.Slot);
        }
    }

    private PooledFile? MakeRoom()
    {
        PooledFile? dirty = null;
        // Two rounds: the first takes the marks away.
        for (var looks = Math.Min(2 * _open.Count, MaxLooks); _open.Count > maxOpenFiles && looks > 0; looks--)
        {
            _hand = _hand >= _open.Count ? 0 : _hand;
            var file = _open[_hand];
            if (file.TakeMark())
                _hand++;
            else if (file.TryClose())
                RemoveAt(_hand);
            else
            {
                dirty ??= file.IsDirty ? file : null;
                _hand++;
            }
        }

        return _open.Count > maxOpenFiles ? dirty : null;
    }

    /// <summary>Forgets a file that its owner closes.</summary>
    internal void Closed(PooledFile file)
    {
        lock (_lock)
        {
            if (file.Slot >= 0)
                RemoveAt(file.Slot);
        }
    }

    private void RemoveAt(int slot)
    {
        _open[slot].Slot = -1;
        var last = _open[^1];
        _open.RemoveAt(_open.Count - 1);
        if (slot == _open.Count)
            return;
        _open[slot] = last;
        last.Slot = slot;
    }
}
