using System.Text;
using KBroker.Storage.Crashing;

namespace KBroker.Storage.Files;

/// <summary>Operations made of the few that <see cref="IFileSystem"/> has.</summary>
public static class FileSystemExtensions
{
    private const string TemporarySuffix = ".tmp";

    /// <summary>
    /// Replaces a small file so that a crash leaves the old content or the new one, whole: writes <c>path.tmp</c>,
    /// flushes it, renames it over the file, flushes the directory. A left-over <c>.tmp</c> is rubbish.
    /// </summary>
    /// <param name="files">The file system.</param>
    /// <param name="path">The file to replace or create.</param>
    /// <param name="content">All of it.</param>
    public static void WriteAtomically(this IFileSystem files, string path, ReadOnlySpan<byte> content)
    {
        using (var file = OpenTemporary(files, path))
        {
            file.Write(content, 0);
            CrashPoint.Reached("replace.written", path);
            file.Flush();
        }

        CrashPoint.Reached("replace.flushed", path);
        RenameTemporary(files, path);
        files.FlushDirectory(System.IO.Path.GetDirectoryName(path)!);
        CrashPoint.Reached("replace.done", path);
    }

    /// <summary>Writes <c>path.tmp</c>, and leaves flushing to the caller.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="path">The file to replace or create by <see cref="RenameTemporary"/>.</param>
    /// <param name="content">All of it, written in UTF-8.</param>
    public static void WriteTemporary(this IFileSystem files, string path, string content)
    {
        using var file = OpenTemporary(files, path);
        file.Write(Encoding.UTF8.GetBytes(content), 0);
        CrashPoint.Reached("replace.written", path);
    }

    /// <summary>Renames <c>path.tmp</c>, whose content is on stable storage, over the file.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="path">The file to replace or create.</param>
    public static void RenameTemporary(this IFileSystem files, string path)
    {
        files.Rename(path + TemporarySuffix, path);
        CrashPoint.Reached("replace.renamed", path);
    }

    /// <summary>As above, with text in UTF-8.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="path">The file to replace or create.</param>
    /// <param name="content">All of it.</param>
    public static void WriteAtomically(this IFileSystem files, string path, string content) =>
        WriteAtomically(files, path, Encoding.UTF8.GetBytes(content));

    /// <summary>Creates a directory and its missing parents, so that a power cut does not take them away.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="path">Full path.</param>
    public static void CreateDirectoryDurably(this IFileSystem files, string path)
    {
        var missing = new Stack<string>();
        for (var at = path; at is not null && !files.DirectoryExists(at); at = System.IO.Path.GetDirectoryName(at))
            missing.Push(at);
        while (missing.TryPop(out var next))
        {
            files.CreateDirectory(next);
            if (System.IO.Path.GetDirectoryName(next) is { } parent)
                files.FlushDirectory(parent);
        }
    }

    /// <summary>Reads a small text file whole.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="path">The file.</param>
    /// <returns>Its text, or null when it is missing.</returns>
    public static string? ReadTextOrNull(this IFileSystem files, string path) =>
        files.FileExists(path) ? Encoding.UTF8.GetString(files.ReadAllBytes(path)) : null;

    private static IStorageFile OpenTemporary(IFileSystem files, string path)
    {
        var file = files.Open(path + TemporarySuffix, FileOpenMode.OpenOrCreate);
        try
        {
            file.SetLength(0);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}
