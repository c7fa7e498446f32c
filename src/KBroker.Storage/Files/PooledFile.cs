using Microsoft.Win32.SafeHandles;

namespace KBroker.Storage.Files;

/// <summary>
/// A file that is opened when it is used, and may be closed whenever it is not; used like one that is always open.
/// </summary>
/// <remarks>
/// Every operation holds the file open while it runs; <see cref="Hold"/> does so for longer. A file with bytes that are
/// not on stable storage is flushed before it is closed: the kernel tells a failed write-back only to descriptors
/// that were open then. If that flush fails, the file stays open and every later operation fails, so that
/// whoever uses it next learns what happened.
/// </remarks>
internal sealed class PooledFile : IStorageFile
{
    private const int NotOpen = -1;

    private readonly Lock _lock = new();
    private readonly IFileSystem _files;
    private readonly PooledFileSystem? _pool;
    private readonly bool _isMadeAnew;
    private string _path;
    private IStorageFile? _file;
    private FileStream? _stream;
    private IOException? _failure;
    private int _users = NotOpen;
    private bool _isMarked;
    private bool _isDirty;
    private bool _isGone;

    /// <summary>Creates a file that is not open yet.</summary>
    /// <param name="files">Where it lies; kept within bounds when that is a pool.</param>
    /// <param name="path">Full path.</param>
    /// <param name="isMadeAnew">
    /// What it holds can be made anew from other files, so it need not be flushed before it is closed.
    /// </param>
    public PooledFile(IFileSystem files, string path, bool isMadeAnew = false)
    {
        _files = files;
        _pool = files as PooledFileSystem;
        _path = path;
        _isMadeAnew = isMadeAnew;
    }

    /// <summary>Full path; follows a rename.</summary>
    public string Path => Volatile.Read(ref _path);

    /// <summary>The handle. Only for who holds the file.</summary>
    public SafeFileHandle Handle => HeldFile.Handle;

    public long Length
    {
        get
        {
            var file = Enter();
            try
            {
                return file.Length;
            }
            finally
            {
                Exit();
            }
        }
    }

    /// <summary>A stream on the file, for sending; its position means nothing. Only for who holds the file.</summary>
    public FileStream Stream
    {
        get
        {
            var stream = Volatile.Read(ref _stream);
            if (stream is not null)
                return stream;
            var file = HeldFile;
            lock (_lock)
            {
                if (_stream is null)
                    Volatile.Write(ref _stream, new FileStream(file.Handle, FileAccess.Read, bufferSize: 0));
                return _stream!;
            }
        }
    }

    /// <summary>Where the pool keeps the file; -1 while it is closed. Guarded by the pool's lock.</summary>
    internal int Slot { get; set; } = -1;

    private IStorageFile HeldFile =>
        Volatile.Read(ref _file) ?? throw new InvalidOperationException($"{_path} is not held open.");

    /// <summary>Opens the file now, and creates it where the mode says so.</summary>
    public void Open(FileOpenMode mode)
    {
        Enter(mode);
        Exit();
    }

    /// <summary>Keeps the file open until <see cref="Exit"/>.</summary>
    public void Hold() => Enter();

    /// <summary>Ends one <see cref="Hold"/>.</summary>
    public void Exit()
    {
        if (Interlocked.Decrement(ref _users) == 0 && Volatile.Read(ref _isGone))
            CloseForGood();
    }

    public void Write(ReadOnlySpan<byte> bytes, long position)
    {
        var file = Enter();
        try
        {
            file.Write(bytes, position);
        }
        finally
        {
            ExitDirty();
        }
    }

    public void Write(IReadOnlyList<ReadOnlyMemory<byte>> buffers, long position)
    {
        var file = Enter();
        try
        {
            file.Write(buffers, position);
        }
        finally
        {
            ExitDirty();
        }
    }

    public int Read(Span<byte> destination, long position)
    {
        var file = Enter();
        try
        {
            return file.Read(destination, position);
        }
        finally
        {
            Exit();
        }
    }

    public void Flush()
    {
        var file = Enter();
        try
        {
            // Before the flush: a write that ends meanwhile may not be part of it, and sets the mark again.
            Volatile.Write(ref _isDirty, false);
            file.Flush();
        }
        catch (IOException exception)
        {
            Volatile.Write(ref _isDirty, !_isMadeAnew);
            Volatile.Write(ref _failure, exception);
            throw;
        }
        finally
        {
            Exit();
        }
    }

    public void SetLength(long length)
    {
        var file = Enter();
        try
        {
            file.SetLength(length);
        }
        finally
        {
            ExitDirty();
        }
    }

    /// <summary>Renames the file.</summary>
    public void Rename(string path)
    {
        lock (_lock)
        {
            _files.Rename(_path, path);
            Volatile.Write(ref _path, path);
        }
    }

    /// <summary>Keeps the file from being opened until <see cref="EndMove"/>: its directory is being renamed.</summary>
    public void BeginMove() => _lock.Enter();

    /// <summary>Ends what <see cref="BeginMove"/> began.</summary>
    /// <param name="path">The path from now on.</param>
    public void EndMove(string path)
    {
        Volatile.Write(ref _path, path);
        _lock.Exit();
    }

    /// <summary>
    /// Closes the file for good, at once or when nobody holds it any more. Later uses throw
    /// <see cref="ObjectDisposedException"/>.
    /// </summary>
    public void Dispose()
    {
        Volatile.Write(ref _isGone, true);
        _pool?.Closed(this);
        CloseForGood();
    }

    /// <summary>Closes the file for now, if nobody uses it and everything is on stable storage.</summary>
    public void CloseIfUnused()
    {
        if (_pool is null)
            TryClose();
        else
            _pool.CloseIfUnused(this);
    }

    /// <summary>Whether the file was used since the last call.</summary>
    internal bool TakeMark()
    {
        var wasMarked = _isMarked;
        _isMarked = false;
        return wasMarked;
    }

    /// <summary>Whether there are bytes that are not on stable storage.</summary>
    internal bool IsDirty => Volatile.Read(ref _isDirty);

    /// <summary>
    /// Closes the file if nobody uses it and nothing is to be flushed. The pool's lock may be held, so nothing here may
    /// wait for it.
    /// </summary>
    internal bool TryClose()
    {
        // Who holds the lock may be waiting for the pool.
        if (!_lock.TryEnter())
            return false;
        try
        {
            if (Interlocked.CompareExchange(ref _users, NotOpen, 0) != 0)
                return false;
            if (_isDirty || _failure is not null)
            {
                Volatile.Write(ref _users, 0);
                return false;
            }

            Close();
            return true;
        }
        finally
        {
            _lock.Exit();
        }
    }

    /// <summary>Flushes, so that the file can be closed. A failure is kept, and thrown at the next use.</summary>
    internal void FlushQuietly()
    {
        try
        {
            Flush();
        }
        catch (Exception exception) when (exception is IOException or ObjectDisposedException)
        {
            // Whoever uses the file next is told.
        }

        _isMarked = false;
    }

    private IStorageFile Enter(FileOpenMode mode = FileOpenMode.Open)
    {
        while (true)
        {
            var users = Volatile.Read(ref _users);
            if (users == NotOpen)
                return OpenAndEnter(mode);
            if (Interlocked.CompareExchange(ref _users, users + 1, users) != users)
                continue;
            if (!_isMarked)
                _isMarked = true;
            if (Volatile.Read(ref _isGone) || Volatile.Read(ref _failure) is not null)
                ExitAndThrow();
            return _file!;
        }
    }

    private void ExitAndThrow()
    {
        Exit();
        ObjectDisposedException.ThrowIf(_isGone, this);
        throw new IOException($"{_path} could not be flushed earlier: {_failure!.Message}", _failure);
    }

    // Behind the write, because a flush may have taken the mark away while it ran.
    private void ExitDirty()
    {
        if (!_isMadeAnew)
            Volatile.Write(ref _isDirty, true);
        Exit();
    }

    private IStorageFile OpenAndEnter(FileOpenMode mode)
    {
        IStorageFile file;
        lock (_lock)
        {
            if (Volatile.Read(ref _users) != NotOpen)
                return Enter(mode);
            ObjectDisposedException.ThrowIf(_isGone, this);
            file = _files.Open(_path, mode);
            Volatile.Write(ref _file, file);
            _isMarked = true;
            Volatile.Write(ref _users, 1);
        }

        // Outside of the lock: the pool may close others meanwhile, and must not wait for this one.
        _pool?.Opened(this);
        if (Volatile.Read(ref _isGone))
            _pool?.Closed(this);
        return file;
    }

    private void CloseForGood()
    {
        if (Interlocked.CompareExchange(ref _users, NotOpen, 0) != 0)
            return;
        lock (_lock)
            Close();
    }

    private void Close()
    {
        _stream?.Dispose();
        _stream = null;
        _file!.Dispose();
        _file = null;
    }
}
