using System.Text.Json;
using KBroker.Storage.Crashing;
using KBroker.Storage.Files;

namespace KBroker.Storage.Checkpoints;

/// <summary>
/// <c>.kafka_cleanshutdown</c> of a log directory: everything in it was flushed, closed and checkpointed, so the next
/// start need not look at the logs.
/// </summary>
/// <remarks>
/// JSON: <c>{"version":0,"brokerEpoch":"-1"}</c>. Written last when the broker stops, deleted (and the deletion
/// flushed)
/// first when it starts, so that a crash at any other time leaves none.
/// </remarks>
internal static class CleanShutdownFile
{
    public const string FileName = ".kafka_cleanshutdown";

    public static bool Exists(IFileSystem files, string directory) =>
        files.FileExists(Path.Combine(directory, FileName));

    /// <summary>The broker epoch of the last run; -1 when unknown.</summary>
    public static long ReadBrokerEpoch(IFileSystem files, string directory)
    {
        try
        {
            using var json = JsonDocument.Parse(files.ReadAllBytes(Path.Combine(directory, FileName)));
            var epoch = json.RootElement.GetProperty("brokerEpoch");
            return epoch.ValueKind == JsonValueKind.String ? long.Parse(epoch.GetString()!) : epoch.GetInt64();
        }
        catch (Exception exception) when (exception is JsonException or FormatException or KeyNotFoundException
            or InvalidOperationException or IOException)
        {
            return -1;
        }
    }

    public static void Write(IFileSystem files, string directory, long brokerEpoch) => files.WriteAtomically(
        Path.Combine(directory, FileName), $"{{\"version\":0,\"brokerEpoch\":\"{brokerEpoch}\"}}");

    public static void Delete(IFileSystem files, string directory)
    {
        if (!Exists(files, directory))
            return;
        files.DeleteFile(Path.Combine(directory, FileName));
        CrashPoint.Reached("open.clean-mark-deleted");
        files.FlushDirectory(directory);
    }
}
