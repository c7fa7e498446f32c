using System.Globalization;

namespace KBroker.Storage.Segments;

/// <summary>The names of a partition's files: the base offset in 20 digits, and a suffix.</summary>
internal static class SegmentPaths
{
    public const string Log = ".log";
    public const string OffsetIndex = ".index";
    public const string TimeIndex = ".timeindex";
    public const string TransactionIndex = ".txnindex";
    public const string Snapshot = ".snapshot";
    public const string Deleted = ".deleted";
    public const string Cleaned = ".cleaned";
    public const string Swap = ".swap";
    private const int OffsetDigits = 20;

    public static string Of(string directory, long offset, string suffix) =>
        Path.Combine(directory, offset.ToString("D20", CultureInfo.InvariantCulture) + suffix);

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
