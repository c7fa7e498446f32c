using System.Text.Json;
using KBroker.Protocol;
using KBroker.Storage.Files;

namespace KBroker.Cluster.Metadata;

/// <summary>
/// <c>quorum-state</c> in the directory of the metadata log: who leads, in which epoch, and whom this node voted for.
/// </summary>
/// <remarks>
/// One line of JSON, written by Apache Kafka's raft client and here alike. With voters from the configuration
/// (<c>data_version</c> 0) it has clusterId (empty), leaderId, leaderEpoch, votedId, appliedOffset (0) and
/// currentVoters;
/// with voters in the log (1) it has leaderId, leaderEpoch, votedId and votedDirectoryId. It is replaced atomically
/// before
/// anything is written in a new epoch, so an epoch is never used twice; a crash leaves the old file or the new one.
/// </remarks>
internal sealed record QuorumStateFile(
    int LeaderId, int LeaderEpoch, int VotedId, Uuid VotedDirectoryId, IReadOnlyList<int>? CurrentVoters,
        short DataVersion)
{
    public const string FileName = "quorum-state";

    public static QuorumStateFile? Read(IFileSystem files, string directory)
    {
        var path = Path.Combine(directory, FileName);
        var text = files.ReadTextOrNull(path);
        if (text is null)
            return null;
        try
        {
            using var json = JsonDocument.Parse(text);
            var root = json.RootElement;
            var version = root.GetProperty("data_version").GetInt16();
            if (version is < 0 or > 1)
                throw new InvalidMetadataException($"{path}: data_version {version} is not known.");
            return new QuorumStateFile(
                root.GetProperty("leaderId").GetInt32(),
                root.GetProperty("leaderEpoch").GetInt32(),
                root.TryGetProperty("votedId", out var voted) ? voted.GetInt32() : -1,
                root.TryGetProperty("votedDirectoryId", out var id) ? Uuid.Parse(id.GetString()!) : Uuid.Zero,
                root.TryGetProperty("currentVoters", out var voters) && voters.ValueKind == JsonValueKind.Array
                    ? [.. voters.EnumerateArray().Select(v => v.GetProperty("voterId").GetInt32())] : null,
                version);
        }
        catch (Exception e) when (
            e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidMetadataException($"{path} is not a quorum state: {e.Message}", e);
        }
    }

    public void Write(IFileSystem files, string directory)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            if (DataVersion == 0)
                json.WriteString("clusterId", "");
            json.WriteNumber("leaderId", LeaderId);
            json.WriteNumber("leaderEpoch", LeaderEpoch);
            json.WriteNumber("votedId", VotedId);
            if (DataVersion == 0)
                WriteVoters(json);
            else
                json.WriteString("votedDirectoryId", VotedDirectoryId.ToString());
            json.WriteNumber("data_version", DataVersion);
            json.WriteEndObject();
        }

        files.WriteAtomically(Path.Combine(directory, FileName), stream.ToArray());
    }

    private void WriteVoters(Utf8JsonWriter json)
    {
        json.WriteNumber("appliedOffset", 0);
        json.WriteStartArray("currentVoters");
        foreach (var voter in CurrentVoters ?? [])
        {
            json.WriteStartObject();
            json.WriteNumber("voterId", voter);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
