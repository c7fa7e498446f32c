namespace KBroker.Storage.Files;

/// <summary>How a file is opened.</summary>
public enum FileOpenMode
{
    /// <summary>A new file for reading and writing; fails when it exists.</summary>
    CreateNew,

    /// <summary>For reading and writing; created when missing.</summary>
    OpenOrCreate,

    /// <summary>For reading and writing; fails when missing.</summary>
    Open,
}

/// <summary>
/// Everything storage asks of the file system. Narrow, so that a test can fail, tear or forget any single write; the
/// data path goes through <see cref="IStorageFile"/>, whose handle is a real one.
/// </summary>
/// <remarks>
/// What counts as stable: the content of a file after <see cref="IStorageFile.Flush"/>; a created, renamed or deleted
/// name after <see cref="FlushDirectory"/> of the directory that holds it. Nothing else survives a power cut for sure.
/// </remarks>
public interface IFileSystem
{
    /// <summary>Opens a file.</summary>
    /// <param name="path">Full path.</param>
    /// <param name="mode">Whether it may or must exist.</param>
    /// <returns>The open file.</returns>
    IStorageFile Open(string path, FileOpenMode mode);

    /// <summary>Whether a file of this name exists.</summary>
    /// <param name="path">Full path.</param>
    /// <returns>True when it does.</returns>
    bool FileExists(string path);

    /// <summary>Whether a directory of this name exists.</summary>
    /// <param name="path">Full path.</param>
    /// <returns>True when it does.</returns>
    bool DirectoryExists(string path);

    /// <summary>Creates a directory and its missing parents; does nothing when it exists.</summary>
    /// <param name="path">Full path.</param>
    void CreateDirectory(string path);

    /// <summary>Deletes a file; does nothing when it is missing.</summary>
    /// <param name="path">Full path.</param>
    void DeleteFile(string path);

    /// <summary>Deletes a directory with all that is in it; does nothing when it is missing.</summary>
    /// <param name="path">Full path.</param>
    void DeleteDirectory(string path);

    /// <summary>Renames a file or directory within one file system, atomically; replaces an existing file.</summary>
    /// <param name="from">Full path.</param>
    /// <param name="to">Full path.</param>
    void Rename(string from, string to);

    /// <summary>The names (not paths) and sizes of the files of a directory, in no order.</summary>
    /// <param name="path">Full path.</param>
    /// <returns>A list of the moment.</returns>
    IReadOnlyList<FileEntry> ListFiles(string path);

    /// <summary>The names (not paths) of the directories in a directory, in no order.</summary>
    /// <param name="path">Full path.</param>
    /// <returns>A list of the moment.</returns>
    IReadOnlyList<string> ListDirectories(string path);

    /// <summary>Reads a small file whole.</summary>
    /// <param name="path">Full path.</param>
    /// <returns>Its bytes.</returns>
    byte[] ReadAllBytes(string path);

    /// <summary>Puts the names in a directory on stable storage.</summary>
    /// <param name="path">Full path.</param>
    void FlushDirectory(string path);

    /// <summary>
    /// Opens a way to put everything written to a file system on stable storage at once, contents and names. It is
    /// opened before the writes whose failures it shall report, and kept open.
    /// </summary>
    /// <param name="path">Full path of a directory in it.</param>
    /// <returns>Null where the platform or the file system has nothing of the kind that reports every error.</returns>
    IFileSystemFlush? OpenFlushAll(string path) => null;

    /// <summary>Takes a lock that other processes, and other brokers of this process, respect.</summary>
    /// <param name="path">Full path of the lock file; created when missing, never deleted.</param>
    /// <returns>The lock, given up by disposing it; null when someone else holds it.</returns>
    IDisposable? TryLock(string path);

    /// <summary>Space of the file system that holds a path.</summary>
    /// <param name="path">Full path of a directory.</param>
    /// <returns>All bytes, and those that a broker could still use.</returns>
    (long TotalBytes, long UsableBytes) GetSpace(string path);
}

/// <summary>Flushes a whole file system; see <see cref="IFileSystem.OpenFlushAll"/>.</summary>
public interface IFileSystemFlush : IDisposable
{
    /// <summary>
    /// Puts everything that was written before the call on stable storage, also what others wrote to the same file
    /// system. Fails when writing back failed for any file of it since the last call: whose file that was is found by
    /// flushing the files one by one, where the system reports the same failure once more.
    /// </summary>
    void Flush();
}

/// <summary>A file name and its size.</summary>
/// <param name="Name">Without the directory.</param>
/// <param name="Length">Bytes.</param>
/// <param name="LastWriteTimeMs">ms since 1970.</param>
public readonly record struct FileEntry(string Name, long Length, long LastWriteTimeMs);
