using System.Globalization;
using KBroker.Storage.Files;

namespace KBroker.Storage.Segments;

/// <summary>The names of a partition's files: the base offset in 20 digits, and a suffix.</summary>
internal static class SegmentPaths
{
    public const string Log = ".log";
    public const string OffsetIndex = ".index";
    public const string TimeIndex = ".timeindex";
    public const string TransactionIndex = ".txnindex";
    public const string FlagIndex = ".flagindex";
    public const string Snapshot = ".snapshot";
    public const string Deleted = ".deleted";
    public const string Cleaned = ".cleaned";
    public const string Swap = ".swap";
    private const int OffsetDigits = 20;

    /// <summary>The files of a segment; the log comes first.</summary>
    public static readonly string[] Kinds = [Log, OffsetIndex, TimeIndex, TransactionIndex, FlagIndex];

    public static string Of(string directory, long offset, string suffix) =>
        Path.Combine(directory, offset.ToString("D20", CultureInfo.InvariantCulture) + suffix);

    /// <summary>Deletes the files of one segment.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="directory">The partition's directory.</param>
    /// <param name="offset">The segment's base offset.</param>
    /// <param name="suffix">What their names end with, behind the kind; empty for those in use.</param>
    public static void Delete(IFileSystem files, string directory, long offset, string suffix)
    {
        foreach (var kind in Kinds)
            files.DeleteFile(Of(directory, offset, kind + suffix));
    }

    /// <summary>Takes a file name apart.</summary>
    /// <returns>False when the name is not 20 digits and the suffix.</returns>
    public static bool TryParse(string name, string suffix, out long offset)
    {
        offset = 0;
        return name.Length == OffsetDigits + suffix.Length
            && name.EndsWith(suffix, StringComparison.Ordinal)
            && long.TryParse(name.AsSpan(0, OffsetDigits), NumberStyles.None, CultureInfo.InvariantCulture, out offset);
    }
}
