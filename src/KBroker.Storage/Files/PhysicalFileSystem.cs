using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Storage.Files;

/// <summary>The machine's own file system.</summary>
public sealed partial class PhysicalFileSystem : IFileSystem
{
    /// <inheritdoc/>
    public IStorageFile Open(string path, FileOpenMode mode)
    {
        var fileMode = mode switch
        {
            FileOpenMode.CreateNew => FileMode.CreateNew,
            FileOpenMode.OpenOrCreate => FileMode.OpenOrCreate,
            _ => FileMode.Open,
        };
        // The socket's sendfile insists on a stream that is asynchronous; on Unix that is a mere mark on the handle.
        var options = OperatingSystem.IsWindows() ? FileOptions.None : FileOptions.Asynchronous;
        return new PhysicalFile(path, File.OpenHandle(
            path, fileMode, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete, options));
    }

    /// <inheritdoc/>
    public bool FileExists(string path) => File.Exists(path);

    /// <inheritdoc/>
    public bool DirectoryExists(string path) => Directory.Exists(path);

    /// <inheritdoc/>
    public void CreateDirectory(string path) => Directory.CreateDirectory(path);

    /// <inheritdoc/>
    public void DeleteFile(string path) => File.Delete(path);

    /// <inheritdoc/>
    public void DeleteDirectory(string path)
    {
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
    }

    /// <inheritdoc/>
    public void Rename(string from, string to)
    {
        if (Directory.Exists(from))
            Directory.Move(from, to);
        else
            File.Move(from, to, overwrite: true);
    }

    /// <inheritdoc/>
    public IReadOnlyList<FileEntry> ListFiles(string path)
    {
        var result = new List<FileEntry>();
        foreach (var file in new DirectoryInfo(path).EnumerateFiles())
        {
            result.Add(new FileEntry(
                file.Name, file.Length, new DateTimeOffset(file.LastWriteTimeUtc).ToUnixTimeMilliseconds()));
        }

        return result;
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> ListDirectories(string path) =>
        [.. new DirectoryInfo(path).EnumerateDirectories().Select(static d => d.Name)];

    /// <inheritdoc/>
    public byte[] ReadAllBytes(string path) => File.ReadAllBytes(path);

    /// <inheritdoc/>
    public void FlushDirectory(string path)
    {
        // Windows has no such operation; its file systems journal names by themselves.
        if (OperatingSystem.IsWindows())
            return;
        const int readOnly = 0;
        var descriptor = OpenNative(path, readOnly);
        if (descriptor < 0)
            throw NativeError("open", path);
        try
        {
            if (FsyncNative(descriptor) != 0)
                throw NativeError("fsync", path);
        }
        finally
        {
            _ = CloseNative(descriptor);
        }
    }

    /// <inheritdoc/>
    public IFileSystemFlush? OpenFlushAll(string path) =>
        OperatingSystem.IsLinux() ? LinuxFileSystemFlush.Open(path) : null;

    /// <inheritdoc/>
    public IDisposable? TryLock(string path)
    {
        FileStream? stream = null;
        try
        {
            // FileShare.None is an advisory lock (flock) on Unix, which also holds between two opens of one process;
            // the region lock (fcntl) is the one that a Java process takes and sees.
            stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
            if (OperatingSystem.IsLinux())
                stream.Lock(0, 0);
            return stream;
        }
        catch (IOException) when (File.Exists(path))
        {
            stream?.Dispose();
            return null;
        }
    }

    /// <inheritdoc/>
    public (long TotalBytes, long UsableBytes) GetSpace(string path)
    {
        var drive = new DriveInfo(path);
        return (drive.TotalSize, drive.AvailableFreeSpace);
    }

    internal static IOException NativeError(string call, string path) =>
        new($"{call} {path}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenNative(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FsyncNative(int descriptor);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int FdatasyncNative(SafeFileHandle descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int CloseNative(int descriptor);

    private sealed class PhysicalFile(string path, SafeFileHandle handle) : IStorageFile
    {
        public string Path => path;

        public SafeFileHandle Handle => handle;

        public long Length => RandomAccess.GetLength(handle);

        public void Write(ReadOnlySpan<byte> bytes, long position) => RandomAccess.Write(handle, bytes, position);

        public void Write(IReadOnlyList<ReadOnlyMemory<byte>> buffers, long position) =>
            RandomAccess.Write(handle, buffers, position);

        public int Read(Span<byte> destination, long position)
        {
            var total = 0;
            while (total < destination.Length)
            {
                var read = RandomAccess.Read(handle, destination[total..], position + total);
                if (read == 0)
                    break;
                total += read;
            }

            return total;
        }

        public void Flush()
        {
            // fdatasync leaves out the time stamps, which saves a journal commit when the size did not change.
            if (!OperatingSystem.IsLinux())
                RandomAccess.FlushToDisk(handle);
            else if (FdatasyncNative(handle) != 0)
                throw NativeError("fdatasync", path);
        }

        public void SetLength(long length) => RandomAccess.SetLength(handle, length);

        public void Dispose() => handle.Dispose();
    }
}
