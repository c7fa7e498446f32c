using KBroker.Storage.Files;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Storage.Tests;

/// <summary>What is done to the file system.</summary>
internal enum FileOperation
{
    Open,
    Write,
    Flush,
    SetLength,
    Rename,
    Delete,
    CreateDirectory,
    FlushDirectory,
}

/// <summary>
/// The real file system, but any operation can be made to fail, a write can be torn, and a power cut forgets what was
/// not flushed: file content behind the last flush, and the names of files whose directory was not flushed.
/// </summary>
internal sealed class FaultInjectingFileSystem(IFileSystem inner) : IFileSystem
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, long> _flushedLengths = [];
    private readonly HashSet<string> _unflushedNames = [];

    /// <summary>Looks at an operation: null lets it pass, an exception makes it fail.</summary>
    public Func<FileOperation, string, Exception?>? Fault { get; set; }

    /// <summary>Bytes of a failing write that still reach the file.</summary>
    public int TornBytes { get; set; }

    /// <summary>Operations so far.</summary>
    public Dictionary<FileOperation, int> Counts { get; } = [];

    public IStorageFile Open(string path, FileOpenMode mode)
    {
        Check(FileOperation.Open, path);
        var isNew = !inner.FileExists(path);
        var file = inner.Open(path, mode);
        lock (_lock)
        {
            if (isNew)
            {
                _unflushedNames.Add(path);
                _flushedLengths[path] = 0;
            }
            else
            {
                _flushedLengths.TryAdd(path, file.Length);
            }
        }

        return new FaultyFile(this, file);
    }

    public bool FileExists(string path) => inner.FileExists(path);

    public bool DirectoryExists(string path) => inner.DirectoryExists(path);

    public void CreateDirectory(string path)
    {
        Check(FileOperation.CreateDirectory, path);
        inner.CreateDirectory(path);
    }

    public void DeleteFile(string path)
    {
        Check(FileOperation.Delete, path);
        inner.DeleteFile(path);
        lock (_lock)
        {
            _flushedLengths.Remove(path);
            _unflushedNames.Remove(path);
        }
    }

    public void DeleteDirectory(string path)
    {
        Check(FileOperation.Delete, path);
        inner.DeleteDirectory(path);
    }

    public void Rename(string from, string to)
    {
        Check(FileOperation.Rename, from);
        inner.Rename(from, to);
        lock (_lock)
        {
            if (_flushedLengths.Remove(from, out var length))
                _flushedLengths[to] = length;
            _unflushedNames.Remove(from);
        }
    }

    public IReadOnlyList<FileEntry> ListFiles(string path) => inner.ListFiles(path);

    public IReadOnlyList<string> ListDirectories(string path) => inner.ListDirectories(path);

    public byte[] ReadAllBytes(string path) => inner.ReadAllBytes(path);

    public void FlushDirectory(string path)
    {
        Check(FileOperation.FlushDirectory, path);
        inner.FlushDirectory(path);
        lock (_lock)
            _unflushedNames.RemoveWhere(n => Path.GetDirectoryName(n) == path);
    }

    public IDisposable? TryLock(string path) => inner.TryLock(path);

    public (long TotalBytes, long UsableBytes) GetSpace(string path) => inner.GetSpace(path);

    /// <summary>Forgets what is not on stable storage. All files must be closed.</summary>
    public void CutPower()
    {
        foreach (var path in _unflushedNames)
            File.Delete(path);
        foreach (var (path, length) in _flushedLengths)
        {
            if (!File.Exists(path))
                continue;
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
            if (RandomAccess.GetLength(file) > length)
                RandomAccess.SetLength(file, length);
        }

        _unflushedNames.Clear();
        _flushedLengths.Clear();
    }

    private void Check(FileOperation operation, string path)
    {
        lock (_lock)
            Counts[operation] = Counts.GetValueOrDefault(operation) + 1;
        if (Fault?.Invoke(operation, path) is { } exception)
            throw exception;
    }

    private sealed class FaultyFile(FaultInjectingFileSystem owner, IStorageFile inner) : IStorageFile
    {
        public string Path => inner.Path;

        public SafeFileHandle Handle => inner.Handle;

        public long Length => inner.Length;

        public void Write(ReadOnlySpan<byte> bytes, long position)
        {
            try
            {
                owner.Check(FileOperation.Write, Path);
            }
            catch
            {
                inner.Write(bytes[..Math.Min(bytes.Length, owner.TornBytes)], position);
                throw;
            }

            inner.Write(bytes, position);
        }

        public void Write(IReadOnlyList<ReadOnlyMemory<byte>> buffers, long position)
        {
            foreach (var buffer in buffers)
            {
                Write(buffer.Span, position);
                position += buffer.Length;
            }
        }

        public int Read(Span<byte> destination, long position) => inner.Read(destination, position);

        public void Flush()
        {
            owner.Check(FileOperation.Flush, Path);
            inner.Flush();
            lock (owner._lock)
                owner._flushedLengths[Path] = inner.Length;
        }

        public void SetLength(long length)
        {
            owner.Check(FileOperation.SetLength, Path);
            inner.SetLength(length);
            lock (owner._lock)
                owner._flushedLengths[Path] = Math.Min(length, owner._flushedLengths.GetValueOrDefault(Path));
        }

        public void Dispose() => inner.Dispose();
    }
}
