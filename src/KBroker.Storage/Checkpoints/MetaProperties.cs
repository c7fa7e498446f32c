using System.Globalization;
using System.Text;
using KBroker.Protocol;
using KBroker.Storage.Files;

namespace KBroker.Storage.Checkpoints;

/// <summary>
/// <c>meta.properties</c> of a log directory: which cluster and node it belongs to, and its own id.
/// </summary>
/// <remarks>
/// A Java properties file in its simplest form: lines <c>key=value</c>, <c>#</c> before comments; the keys are
/// <c>version</c> (1), <c>cluster.id</c>, <c>node.id</c>, <c>directory.id</c>. Written once, atomically, when a
/// directory is formatted; a crash before that leaves a directory that is formatted anew at the next start.
/// </remarks>
/// <param name="ClusterId">The cluster, normally 22 characters of base64url.</param>
/// <param name="NodeId">The node.</param>
/// <param name="DirectoryId">The directory; zero in files of old Kafka versions.</param>
public sealed record MetaProperties(string ClusterId, int NodeId, Uuid DirectoryId)
{
    /// <summary>The file's name.</summary>
    public const string FileName = "meta.properties";

    /// <summary>Reads the file of a directory.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="directory">The log directory.</param>
    /// <returns>The content, or null when the directory is not formatted.</returns>
    /// <exception cref="LogDirectoryException">The file is not of this format.</exception>
    public static MetaProperties? Read(IFileSystem files, string directory)
    {
        var path = Path.Combine(directory, FileName);
        var text = files.ReadTextOrNull(path);
        if (text is null)
            return null;
        var values = new Dictionary<string, string>();
        foreach (var line in text.Split('\n').Select(static l => l.Trim()))
        {
            var equals = line.IndexOf('=');
            if (line.Length > 0 && line[0] is not ('#' or '!') && equals > 0)
                values[line[..equals].Trim()] = line[(equals + 1)..].Trim().Replace("\\", "");
        }

        if (values.GetValueOrDefault("version") != "1")
            throw new LogDirectoryException($"{path}: version {values.GetValueOrDefault("version")} is not 1.");
        if (!values.TryGetValue("cluster.id", out var clusterId) || clusterId.Length == 0)
            throw new LogDirectoryException($"{path} has no cluster.id.");
        var node = values.GetValueOrDefault("node.id");
        if (!int.TryParse(node, CultureInfo.InvariantCulture, out var nodeId))
            throw new LogDirectoryException($"{path}: node.id '{node}' is not a number.");
        return new MetaProperties(clusterId, nodeId, DirectoryIdOf(path, values));
    }

    private static Uuid DirectoryIdOf(string path, Dictionary<string, string> values)
    {
        if (!values.TryGetValue("directory.id", out var id))
            return Uuid.Zero;
        try
        {
            return Uuid.Parse(id);
        }
        catch (FormatException exception)
        {
            throw new LogDirectoryException($"{path}: directory.id '{id}' is not an id.", exception);
        }
    }

    /// <summary>Writes the file of a directory.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="directory">The log directory.</param>
    public void Write(IFileSystem files, string directory)
    {
        var text = new StringBuilder("#\n")
            .Append(CultureInfo.InvariantCulture, $"node.id={NodeId}\n")
            .Append(CultureInfo.InvariantCulture, $"directory.id={DirectoryId}\n")
            .Append("version=1\n")
            .Append(CultureInfo.InvariantCulture, $"cluster.id={ClusterId}\n");
        files.WriteAtomically(Path.Combine(directory, FileName), text.ToString());
    }
}
