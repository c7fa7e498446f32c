using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Storage.Files;

/// <summary>
/// Flushes a file system by syncfs(2). Since Linux 5.8 it reports a writeback error of any file of the file system
/// since the descriptor was opened, or since the last call on it.
/// </summary>
/// <remarks>
/// Only file systems that are known to end their part of it with a flush of the disk's own cache are used this way:
/// ext2 to ext4, XFS (each append changes the inode, so its log is forced, and that flushes the cache before it),
/// btrfs and f2fs. Others keep fdatasync a file, which every file system must do right.
/// </remarks>
internal sealed partial class LinuxFileSystemFlush : IFileSystemFlush
{
    private static readonly Version FirstThatReportsErrors = new(5, 8);
    private static readonly string[] Known = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"];
    private readonly SafeFileHandle _directory;
    private readonly string _path;

    private LinuxFileSystemFlush(SafeFileHandle directory, string path)
    {
        _directory = directory;
        _path = path;
    }

    /// <summary>Opens the file system of a directory, or gives null where errors or flushes could be missed.</summary>
    public static LinuxFileSystemFlush? Open(string path)
    {
        if (Environment.OSVersion.Version < FirstThatReportsErrors)
            return null;
        if (!Known.Contains(new DriveInfo(path).DriveFormat, StringComparer.Ordinal))
            return null;
        const int closeOnExec = 0x80000;
        var descriptor = OpenNative(path, closeOnExec);
        return descriptor < 0
            ? throw PhysicalFileSystem.NativeError("open", path)
            : new LinuxFileSystemFlush(new SafeFileHandle(descriptor, ownsHandle: true), path);
    }

    /// <inheritdoc/>
    public void Flush()
    {
        if (SyncfsNative(_directory) != 0)
            throw PhysicalFileSystem.NativeError("syncfs", _path);
    }

    /// <inheritdoc/>
    public void Dispose() => _directory.Dispose();

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenNative(string path, int flags);

    [LibraryImport("libc", EntryPoint = "syncfs", SetLastError = true)]
    private static partial int SyncfsNative(SafeFileHandle descriptor);
}
