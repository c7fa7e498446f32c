using KBroker.Storage.Files;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Storage.Tests;

/// <summary>What is done to the file system.</summary>
internal enum FileOperation
{
    Open,
    Create,
    Write,
    Flush,
    SetLength,
    Rename,
    Delete,
    CreateDirectory,
    FlushDirectory,
    FlushAll,
}

/// <summary>
/// The real file system, but any operation can be made to fail, a write can be torn, and a power cut forgets what was
/// not flushed: bytes since the last flush of a file, and names created, renamed or deleted since the last flush of
/// their directory (<see cref="StableStorageModel"/>). Flushes reach the model only, not the real disk.
/// </summary>
/// <remarks>
/// A flush that fails poisons its file, as on Linux: the kernel takes the pages for clean, a later flush of the same
/// file succeeds, and the bytes are not on the disk.
/// </remarks>
/// <param name="inner">The real file system.</param>
/// <param name="trashParent">Where deleted files wait; of the same file system as the others.</param>
internal sealed class FaultInjectingFileSystem(IFileSystem inner, string? trashParent = null) : IFileSystem
{
    private readonly Lock _lock = new();
    private readonly StableStorageModel _model = new(trashParent);

    /// <summary>Looks at an operation: null lets it pass, an exception makes it fail.</summary>
    public Func<FileOperation, string, Exception?>? Fault { get; set; }

    /// <summary>Bytes of a failing write that still reach the file.</summary>
    public int TornBytes { get; set; }

    /// <summary>Whether the platform can flush a whole file system.</summary>
    public bool CanFlushAll { get; set; } = true;

    /// <summary>Whether a failed flush of everything failed because of files in here, or of somebody else's.</summary>
    public bool FlushAllFailsForOwnFiles { get; set; }

    /// <summary>Operations so far.</summary>
    public Dictionary<FileOperation, int> Counts { get; } = [];

    public IStorageFile Open(string path, FileOpenMode mode)
    {
        var isNew = !inner.FileExists(path);
        Check(isNew ? FileOperation.Create : FileOperation.Open, path);
        // The model sees an existing directory or file before anything is done to it.
        _model.Find(Path.GetDirectoryName(path)!);
        var file = inner.Open(path, mode);
        return new FaultyFile(this, file, isNew ? _model.Created(path, isDirectory: false) : _model.Find(path));
    }

    public bool FileExists(string path) => inner.FileExists(path);

    public bool DirectoryExists(string path) => inner.DirectoryExists(path);

    public void CreateDirectory(string path)
    {
        Check(FileOperation.CreateDirectory, path);
        if (inner.DirectoryExists(path))
            return;
        if (Path.GetDirectoryName(path) is { } parent && !inner.DirectoryExists(parent))
            CreateDirectory(parent);
        inner.CreateDirectory(path);
        _model.Created(path, isDirectory: true);
    }

    public void DeleteFile(string path)
    {
        Check(FileOperation.Delete, path);
        if (inner.FileExists(path))
            _model.Delete(path);
    }

    public void DeleteDirectory(string path)
    {
        Check(FileOperation.Delete, path);
        if (inner.DirectoryExists(path))
            _model.Delete(path);
    }

    public void Rename(string from, string to)
    {
        Check(FileOperation.Rename, from);
        _model.Rename(from, to, () => inner.Rename(from, to));
    }

    public IReadOnlyList<FileEntry> ListFiles(string path) => inner.ListFiles(path);

    public IReadOnlyList<string> ListDirectories(string path) => inner.ListDirectories(path);

    public byte[] ReadAllBytes(string path) => inner.ReadAllBytes(path);

    public void FlushDirectory(string path)
    {
        Check(FileOperation.FlushDirectory, path);
        _model.FlushDirectory(path);
    }

    public IFileSystemFlush? OpenFlushAll(string path) => CanFlushAll ? new FaultyFlush(this, path) : null;

    public IDisposable? TryLock(string path) => inner.TryLock(path);

    public (long TotalBytes, long UsableBytes) GetSpace(string path) => inner.GetSpace(path);

    /// <summary>Forgets what is not on stable storage. All files must be closed.</summary>
    /// <param name="luck">Decides how much of it is there all the same; null: nothing.</param>
    /// <param name="outOfOrder">Whether names may become stable in another order than they were changed.</param>
    public void CutPower(Random? luck = null, bool outOfOrder = false) => _model.CutPower(luck, outOfOrder);

    /// <summary>Deletes what was deleted and could still have come back.</summary>
    public void DeleteTrash() => _model.DeleteTrash();

    private void Check(FileOperation operation, string path)
    {
        lock (_lock)
            Counts[operation] = Counts.GetValueOrDefault(operation) + 1;
        if (Fault?.Invoke(operation, path) is { } exception)
            throw exception;
    }

    private sealed class FaultyFlush(FaultInjectingFileSystem owner, string path) : IFileSystemFlush
    {
        public void Flush()
        {
            try
            {
                owner.Check(FileOperation.FlushAll, path);
            }
            catch
            {
                if (owner.FlushAllFailsForOwnFiles)
                    owner._model.FlushAllFailed();
                throw;
            }

            owner._model.FlushAll();
        }

        public void Dispose()
        {
        }
    }

    private sealed class FaultyFile(
        FaultInjectingFileSystem owner, IStorageFile inner, StableStorageModel.Node node) : IStorageFile
    {
        public string Path => inner.Path;

        public SafeFileHandle Handle => inner.Handle;

        public long Length => inner.Length;

        public void Write(ReadOnlySpan<byte> bytes, long position)
        {
            owner._model.Overwriting(node, position, bytes.Length, ReadOld);
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

        public void Flush() => owner._model.FlushFile(
            node, () => inner.Length, () => owner.Check(FileOperation.Flush, Path));

        public void SetLength(long length)
        {
            owner.Check(FileOperation.SetLength, Path);
            owner._model.Overwriting(node, length, long.MaxValue - length, ReadOld);
            inner.SetLength(length);
        }

        public void Dispose() => inner.Dispose();

        private byte[] ReadOld(long position, int count)
        {
            var bytes = new byte[count];
            return bytes[..inner.Read(bytes, position)];
        }
    }
}
