using KBroker.Storage.Files;

namespace KBroker.Storage.Segments;

/// <summary>
/// The log file of a segment, opened at first use, and counted: the segment holds one reference, each
/// <see cref="FileSlice"/> in flight another, and the last to leave closes it. So a segment that retention deletes
/// while a response is being sent keeps its bytes until they are sent.
/// </summary>
internal sealed class SegmentFile(IFileSystem files, string path)
{
    private readonly Lock _lock = new();
    private string _path = path;
    private IStorageFile? _file;
    private FileStream? _stream;
    private int _references = 1;

    /// <summary>Full path; follows a rename.</summary>
    public string Path => _path;

    /// <summary>The open file.</summary>
    public IStorageFile File => Volatile.Read(ref _file) ?? Open(FileOpenMode.Open);

    /// <summary>A stream on the same file, for sending; its position means nothing.</summary>
    public FileStream Stream
    {
        get
        {
            var stream = Volatile.Read(ref _stream);
            if (stream is not null)
                return stream;
            var file = File;
            lock (_lock)
            {
                if (_stream is null)
                    Volatile.Write(ref _stream, new FileStream(file.Handle, FileAccess.Read, bufferSize: 0));
                return _stream!;
            }
        }
    }

    /// <summary>Creates the file.</summary>
    public void Create() => Open(FileOpenMode.CreateNew);

    /// <summary>Takes a reference.</summary>
    /// <returns>False when the segment is gone.</returns>
    public bool TryAcquire()
    {
        while (true)
        {
            var references = Volatile.Read(ref _references);
            if (references == 0)
                return false;
            if (Interlocked.CompareExchange(ref _references, references + 1, references) == references)
                return true;
        }
    }

    /// <summary>Gives a reference back; the last one closes the file.</summary>
    public void Release()
    {
        if (Interlocked.Decrement(ref _references) != 0)
            return;
        lock (_lock)
        {
            _stream?.Dispose();
            _file?.Dispose();
        }
    }

    /// <summary>Renames the file; open handles go on.</summary>
    public void Rename(string path)
    {
        lock (_lock)
        {
            files.Rename(_path, path);
            _path = path;
        }
    }

    /// <summary>Notes that the directory was renamed.</summary>
    public void Moved(string path)
    {
        lock (_lock)
            _path = path;
    }

    private IStorageFile Open(FileOpenMode mode)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _references) == 0, this);
            if (_file is null)
                Volatile.Write(ref _file, files.Open(_path, mode));
            return _file!;
        }
    }
}
