using System.Globalization;
using System.Text;
using KBroker.Storage.Files;

namespace KBroker.Storage.Checkpoints;

/// <summary>
/// A file of one offset a partition, as <c>recovery-point-offset-checkpoint</c>,
/// <c>replication-offset-checkpoint</c>, <c>log-start-offset-checkpoint</c> and <c>cleaner-offset-checkpoint</c> are.
/// </summary>
/// <remarks>
/// Text in UTF-8, lines ended by LF: the version <c>0</c>; the number of entries; then a line
/// <c>topic partition offset</c> each. It is replaced whole and atomically: after a crash the old or the new content is
/// there. All of these offsets only ever move towards less work at the next start, so an old content is safe.
/// </remarks>
/// <param name="files">The file system.</param>
/// <param name="path">Full path.</param>
public sealed class OffsetCheckpointFile(IFileSystem files, string path)
{
    /// <summary>File name of the offsets up to which logs are on stable storage.</summary>
    public const string RecoveryPoint = "recovery-point-offset-checkpoint";

    /// <summary>File name of the high watermarks.</summary>
    public const string Replication = "replication-offset-checkpoint";

    /// <summary>File name of the first offsets.</summary>
    public const string LogStart = "log-start-offset-checkpoint";

    /// <summary>File name of the offsets up to which logs are compacted.</summary>
    public const string Cleaner = "cleaner-offset-checkpoint";

    private const string Version = "0";
    private readonly Lock _lock = new();
    private string? _written;

    /// <summary>Full path.</summary>
    public string Path => path;

    /// <summary>Replaces the content; does nothing when it is what was last written here.</summary>
    /// <param name="offsets">One offset a partition.</param>
    public void Write(IReadOnlyCollection<KeyValuePair<TopicPartition, long>> offsets)
    {
        var text = new StringBuilder().Append(Version).Append('\n').Append(offsets.Count).Append('\n');
        foreach (var (partition, offset) in offsets)
        {
            text.Append(partition.Topic).Append(' ')
                .Append(CultureInfo.InvariantCulture, $"{partition.Partition} {offset}\n");
        }

        var content = text.ToString();
        lock (_lock)
        {
            if (content == _written)
                return;
            _written = null;
            files.WriteAtomically(path, content);
            _written = content;
        }
    }

    /// <summary>Reads the content.</summary>
    /// <returns>One offset a partition; empty when the file is missing.</returns>
    /// <exception cref="InvalidDataException">The file is not of this format.</exception>
    public Dictionary<TopicPartition, long> Read()
    {
        var result = new Dictionary<TopicPartition, long>();
        string? text;
        lock (_lock)
            text = files.ReadTextOrNull(path);
        if (text is null)
            return result;
        foreach (var fields in CheckpointText.Lines(path, text, Version, fieldCount: 3))
        {
            result[new TopicPartition(fields[0], CheckpointText.Index(path, fields[1]))] =
                CheckpointText.Number(path, fields[2]);
        }

        return result;
    }
}

/// <summary>The frame that Kafka's text checkpoints share: version, number of lines, lines of fields.</summary>
internal static class CheckpointText
{
    /// <summary>The fields of each line.</summary>
    public static List<string[]> Lines(string path, string text, string version, int fieldCount)
    {
        var lines = text.Split('\n');
        if (lines.Length < 2 || lines[0].Trim() != version)
            throw new InvalidDataException($"{path}: the first line must be the version {version}, not '{lines[0]}'.");
        if (!int.TryParse(lines[1], CultureInfo.InvariantCulture, out var count) || count < 0)
            throw new InvalidDataException($"{path}: '{lines[1]}' is not a number of entries.");
        var result = new List<string[]>();
        foreach (var line in lines.Skip(2))
        {
            if (line.Length == 0)
                continue;
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length != fieldCount)
                throw new InvalidDataException($"{path}: '{line}' does not have {fieldCount} fields.");
            result.Add(fields);
        }

        return result.Count == count
            ? result
            : throw new InvalidDataException($"{path}: {count} entries are announced, {result.Count} are there.");
    }

    /// <summary>A number that fits into 32 bits and is not negative, or an error that names the file.</summary>
    public static int Index(string path, string field) =>
        Number(path, field) is >= 0 and <= int.MaxValue and var value
            ? (int)value
            : throw new InvalidDataException($"{path}: {field} is out of range.");

    /// <summary>A number, or an error that names the file.</summary>
    public static long Number(string path, string field) =>
        long.TryParse(field, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new InvalidDataException($"{path}: '{field}' is not a number.");
}
