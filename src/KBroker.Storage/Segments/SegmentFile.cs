using KBroker.Storage.Files;

namespace KBroker.Storage.Segments;

/// <summary>
/// The log file of a segment, opened when it is used, and counted: the segment holds one reference, each
/// <see cref="FileSlice"/> in flight another, and keeps the file open. So a segment that retention deletes
/// while a response is being sent keeps its bytes until they are sent.
/// </summary>
internal sealed class SegmentFile(IFileSystem files, string path)
{
    private readonly PooledFile _file = new(files, path);
    private int _references = 1;
    private bool _isRetired;

    /// <summary>Full path; follows a rename.</summary>
    public string Path => _file.Path;

    /// <summary>The file; it is opened when it is used.</summary>
    public PooledFile File => _file;

    /// <summary>A stream on the same file, for sending; its position means nothing. Only with a reference.</summary>
    public FileStream Stream => _file.Stream;

    /// <summary>Creates the file.</summary>
    public void Create() => _file.Open(FileOpenMode.CreateNew);

    /// <summary>Takes a reference, which keeps the file open.</summary>
    /// <returns>False when the segment is gone.</returns>
    public bool TryAcquire()
    {
        while (true)
        {
            var references = Volatile.Read(ref _references);
            if (references == 0)
                return false;
            if (Interlocked.CompareExchange(ref _references, references + 1, references) == references)
                break;
        }

        try
        {
            _file.Hold();
            return true;
        }
        catch (Exception exception)
        {
            DropReference();
            // The name was taken away between the two steps.
            if (Volatile.Read(ref _isRetired)
                && exception is FileNotFoundException or DirectoryNotFoundException or ObjectDisposedException)
            {
                return false;
            }

            throw;
        }
    }

    /// <summary>Gives a reference back.</summary>
    public void Release()
    {
        _file.Exit();
        DropReference();
    }

    /// <summary>Ends the segment's own reference; the file is closed when nobody has another.</summary>
    public void Retire()
    {
        Volatile.Write(ref _isRetired, true);
        DropReference();
    }

    /// <summary>Renames the file; slices in flight go on.</summary>
    public void Rename(string path) => _file.Rename(path);

    private void DropReference()
    {
        if (Interlocked.Decrement(ref _references) == 0)
            _file.Dispose();
    }
}
