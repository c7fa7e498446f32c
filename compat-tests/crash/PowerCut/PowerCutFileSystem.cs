using KBroker.Storage.Files;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Crash.PowerCut;

/// <summary>
/// The real file system, with a record beside it of what is on stable storage, from which the crash harness rebuilds
/// the disk as a power cut would have left it. It outlives the process, which may be killed at any instruction.
/// </summary>
/// <remarks>
/// <para>
/// The record is a directory: <c>content/ID</c> holds a file's bytes as of its last flush; <c>names</c> is a log of what
/// was done to names, in order, one line each, fields separated by tabs: <c>C directory file name</c> (a file is created),
/// <c>M directory directory name</c> (a directory is made), <c>D directory node name</c> (a name is removed),
/// <c>R directory directory node name name</c> (renamed), <c>F directory</c> (its names are flushed), <c>A</c> (everything
/// is), <c>U</c> (the line before did not happen). Nodes are numbers, the root is 0.
/// </para>
/// <para>
/// A line is written before its operation, under one lock: of a killed process only the last line is in doubt, and the
/// next process looks at the disk to decide. Data is copied to <c>content</c> at each flush, before the flush returns; a
/// kill in between leaves a part of it, as a power cut during a real fsync does.
/// </para>
/// </remarks>
internal sealed class PowerCutFileSystem : IFileSystem
{
    private readonly IFileSystem _inner;
    private readonly string _root;
    private readonly StableStorage _stable;

    /// <summary>Opens the record, or begins one: what is on the disk then counts as flushed.</summary>
    /// <param name="inner">The file system that does the work.</param>
    /// <param name="root">The directory that is the disk; what lies outside is passed through.</param>
    /// <param name="record">Where the record is kept, outside of the root.</param>
    public PowerCutFileSystem(IFileSystem inner, string root, string record)
    {
        _inner = inner;
        _root = Path.GetFullPath(root);
        _stable = StableStorage.Open(_root, record);
    }

    /// <summary>The record that the environment asks for, or null.</summary>
    public static PowerCutFileSystem? FromEnvironment(IFileSystem inner) =>
        Environment.GetEnvironmentVariable("KBROKER_POWER_CUT_RECORD") is { Length: > 0 } record
            ? new PowerCutFileSystem(inner, Environment.GetEnvironmentVariable("KBROKER_POWER_CUT_ROOT")!, record)
            : null;

    public IStorageFile Open(string path, FileOpenMode mode)
    {
        if (!IsInside(path))
            return _inner.Open(path, mode);
        lock (_stable)
        {
            if (_inner.FileExists(path))
                return new RecordedFile(this, _inner.Open(path, mode), _stable.Find(path));
            if (mode == FileOpenMode.Open)
                return _inner.Open(path, mode);
            var node = _stable.Create(path, isDirectory: false);
            return new RecordedFile(this, Try(() => _inner.Open(path, mode)), node);
        }
    }

    public bool FileExists(string path) => _inner.FileExists(path);

    public bool DirectoryExists(string path) => _inner.DirectoryExists(path);

    public void CreateDirectory(string path)
    {
        lock (_stable)
        {
            if (_inner.DirectoryExists(path))
                return;
            if (!IsInside(path))
            {
                _inner.CreateDirectory(path);
                return;
            }

            CreateDirectory(Path.GetDirectoryName(path)!);
            _stable.Create(path, isDirectory: true);
            Try(() => _inner.CreateDirectory(path));
        }
    }

    public void DeleteFile(string path)
    {
        lock (_stable)
        {
            if (!_inner.FileExists(path))
                return;
            if (IsInside(path))
                _stable.Remove(path);
            Try(() => _inner.DeleteFile(path), IsInside(path));
        }
    }

    public void DeleteDirectory(string path)
    {
        if (!_inner.DirectoryExists(path))
            return;
        foreach (var file in _inner.ListFiles(path))
            DeleteFile(Path.Combine(path, file.Name));
        foreach (var directory in _inner.ListDirectories(path))
            DeleteDirectory(Path.Combine(path, directory));
        lock (_stable)
        {
            if (IsInside(path))
                _stable.Remove(path);
            Try(() => _inner.DeleteDirectory(path), IsInside(path));
        }
    }

    public void Rename(string from, string to)
    {
        lock (_stable)
        {
            if (IsInside(from))
                _stable.Rename(from, to);
            Try(() => _inner.Rename(from, to), IsInside(from));
        }
    }

    public IReadOnlyList<FileEntry> ListFiles(string path) => _inner.ListFiles(path);

    public IReadOnlyList<string> ListDirectories(string path) => _inner.ListDirectories(path);

    public byte[] ReadAllBytes(string path) => _inner.ReadAllBytes(path);

    public void FlushDirectory(string path)
    {
        _inner.FlushDirectory(path);
        if (!IsInside(path))
            return;
        lock (_stable)
            _stable.FlushNames(path);
    }

    public IFileSystemFlush? OpenFlushAll(string path) =>
        _inner.OpenFlushAll(path) is { } flush ? new RecordedFlush(this, flush) : null;

    public IDisposable? TryLock(string path)
    {
        lock (_stable)
        {
            if (IsInside(path) && !_inner.FileExists(path))
                _stable.Create(path, isDirectory: false);
            return _inner.TryLock(path);
        }
    }

    public (long TotalBytes, long UsableBytes) GetSpace(string path) => _inner.GetSpace(path);

    private bool IsInside(string path) => path == _root || path.StartsWith(_root + "/", StringComparison.Ordinal);

    private T Try<T>(Func<T> operation)
    {
        try
        {
            return operation();
        }
        catch
        {
            _stable.Undo();
            throw;
        }
    }

    private void Try(Action operation, bool isRecorded = true)
    {
        if (!isRecorded)
        {
            operation();
            return;
        }

        Try(() =>
        {
            operation();
            return true;
        });
    }

    private sealed class RecordedFlush(PowerCutFileSystem owner, IFileSystemFlush inner) : IFileSystemFlush
    {
        public void Flush()
        {
            // What is written from here on may miss this flush.
            lock (owner._stable)
                owner._stable.FlushAll();
            inner.Flush();
        }

        public void Dispose() => inner.Dispose();
    }

    private sealed class RecordedFile(PowerCutFileSystem owner, IStorageFile inner, StableNode node) : IStorageFile
    {
        public string Path => inner.Path;

        public SafeFileHandle Handle => inner.Handle;

        public long Length => inner.Length;

        public void Write(ReadOnlySpan<byte> bytes, long position)
        {
            inner.Write(bytes, position);
            // Afterwards: a flush that must have these bytes begins when this has returned.
            node.Touch(position);
        }

        public void Write(IReadOnlyList<ReadOnlyMemory<byte>> buffers, long position)
        {
            inner.Write(buffers, position);
            node.Touch(position);
        }

        public int Read(Span<byte> destination, long position) => inner.Read(destination, position);

        public void Flush()
        {
            inner.Flush();
            owner._stable.FlushContent(node, inner.Handle);
        }

        public void SetLength(long length)
        {
            inner.SetLength(length);
            node.Touch(length);
        }

        public void Dispose() => inner.Dispose();
    }
}
