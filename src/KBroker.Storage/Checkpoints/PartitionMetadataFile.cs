using System.Text;
using KBroker.Protocol;
using KBroker.Storage.Crashing;
using KBroker.Storage.Files;

namespace KBroker.Storage.Checkpoints;

/// <summary>
/// <c>partition.metadata</c>: the id of the topic that a partition directory belongs to, so that a directory left over
/// from a deleted topic is not taken for one of a new topic of the same name.
/// </summary>
/// <remarks>
/// Text, two lines ended by LF: <c>version: 0</c> and <c>topic_id: </c> with 22 characters of base64url. Written when
/// the directory is created, on stable storage with the first flush of the log: a directory whose file is missing
/// or torn
/// after a crash has only records that nobody was promised.
/// </remarks>
internal static class PartitionMetadataFile
{
    public const string FileName = "partition.metadata";

    private const string VersionKey = "version: ";
    private const string TopicIdKey = "topic_id: ";

    /// <summary>Reads the topic id, or zero when the file is missing.</summary>
    public static Uuid Read(IFileSystem files, string directory)
    {
        var path = Path.Combine(directory, FileName);
        var text = files.ReadTextOrNull(path);
        if (text is null)
            return Uuid.Zero;
        var lines = text.Split('\n');
        if (lines.Length < 2 || lines[0].Trim() != VersionKey + "0"
            || !lines[1].StartsWith(TopicIdKey, StringComparison.Ordinal))
        {
            throw new InvalidDataException($"{path} is not of the form 'version: 0', 'topic_id: ...'.");
        }

        return Uuid.Parse(lines[1][TopicIdKey.Length..].Trim());
    }

    /// <summary>Writes the topic id.</summary>
    public static void Write(IFileSystem files, string directory, Uuid topicId)
    {
        var path = Path.Combine(directory, FileName);
        using (var file = files.Open(path + ".tmp", FileOpenMode.OpenOrCreate))
        {
            file.SetLength(0);
            file.Write(Encoding.UTF8.GetBytes($"{VersionKey}0\n{TopicIdKey}{topicId}\n"), 0);
        }

        CrashPoint.Reached("partition-metadata.written");
        files.Rename(path + ".tmp", path);
        CrashPoint.Reached("partition-metadata.renamed");
    }

    /// <summary>Puts the file on stable storage, where there is one.</summary>
    public static void Flush(IFileSystem files, string directory)
    {
        var path = Path.Combine(directory, FileName);
        if (!files.FileExists(path))
            return;
        using var file = files.Open(path, FileOpenMode.Open);
        file.Flush();
    }
}
