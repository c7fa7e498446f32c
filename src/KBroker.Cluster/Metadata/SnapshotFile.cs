using System.Globalization;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Storage.Crashing;
using KBroker.Storage.Files;

namespace KBroker.Cluster.Metadata;

/// <summary>The name of a snapshot: it holds everything before <paramref name="EndOffset"/>.</summary>
/// <param name="EndOffset">The offset behind the last record it contains.</param>
/// <param name="Epoch">Leader epoch of that record.</param>
internal readonly record struct SnapshotId(long EndOffset, int Epoch) : IComparable<SnapshotId>
{
    private const string Suffix = ".checkpoint";

    public string FileName => string.Create(CultureInfo.InvariantCulture, $"{EndOffset:D20}-{Epoch:D10}{Suffix}");

    public static bool TryParse(string fileName, out SnapshotId id)
    {
        id = default;
        if (fileName.Length != 31 + Suffix.Length || fileName[20] != '-' || !fileName.EndsWith(Suffix,
            StringComparison.Ordinal)
            || !long.TryParse(fileName.AsSpan(0, 20), NumberStyles.None, CultureInfo.InvariantCulture, out var offset)
            || !int.TryParse(fileName.AsSpan(21, 10), NumberStyles.None, CultureInfo.InvariantCulture, out var epoch))
            return false;
        id = new SnapshotId(offset, epoch);
        return true;
    }

    public int CompareTo(SnapshotId other) =>
        EndOffset != other.EndOffset ? EndOffset.CompareTo(other.EndOffset) : Epoch.CompareTo(other.Epoch);
}

/// <summary>The voters of the quorum where they are kept in the log (KIP-853).</summary>
/// <param name="KRaftVersion">The finalized kraft.version; 0 when voters come from the configuration.</param>
/// <param name="Voters">The last voters record; null with version 0.</param>
internal sealed record QuorumVoters(short KRaftVersion, VotersRecord? Voters)
{
    public static readonly QuorumVoters Static = new(0, null);
}

/// <summary>The content of a snapshot file.</summary>
internal sealed record SnapshotContent(
    IReadOnlyList<IMessage> Records, long LastContainedTimestampMs, QuorumVoters Voters, long SizeInBytes);

/// <summary>
/// Reads and writes snapshots: <c>OFFSET-EPOCH.checkpoint</c> in the directory of the metadata log (20 and 10 digits),
/// and
/// <c>bootstrap.checkpoint</c> beside it, which has the same form.
/// </summary>
/// <remarks>
/// A run of record batches with offsets from 0 on and the snapshot's epoch: a control batch with the snapshot header
/// (and the
/// KRaft version and voters, where the log keeps those), batches of metadata records, a control batch with the snapshot
/// footer.
/// It is written beside its name, flushed, and renamed: a file with the right name is whole. One without a footer is
/// refused.
/// </remarks>
internal static class SnapshotFile
{
    public const string BootstrapFileName = "bootstrap.checkpoint";

    private const string UnfinishedSuffix = ".part";
    private const int MaxBatchBytes = 1024 * 1024;

    /// <summary>The snapshots of a directory, oldest first; what a crash left unfinished is deleted.</summary>
    public static List<SnapshotId> List(IFileSystem files, string directory)
    {
        var ids = new List<SnapshotId>();
        foreach (var file in files.ListFiles(directory))
        {
            if (file.Name.EndsWith(UnfinishedSuffix, StringComparison.Ordinal))
                files.DeleteFile(Path.Combine(directory, file.Name));
            else if (SnapshotId.TryParse(file.Name, out var id))
                ids.Add(id);
        }

        ids.Sort();
        return ids;
    }

    /// <exception cref="InvalidMetadataException">The file is damaged or not whole.</exception>
    public static SnapshotContent Read(IFileSystem files, string path, CompressionCodecs codecs)
    {
        var bytes = files.ReadAllBytes(path);
        var records = new List<IMessage>();
        var voters = QuorumVoters.Static;
        long timestampMs = -1;
        bool headed = false, footed = false;
        foreach (var batch in MetadataBatches.Decode(bytes, codecs, path))
        {
            if (!headed && (batch.Control.Count == 0 || batch.Control[0].Type != ControlRecordType.SnapshotHeader))
                throw new InvalidMetadataException($"{path} does not begin with a snapshot header.");
            headed = true;
            records.AddRange(batch.Records);
            foreach (var (type, value) in batch.Control)
            {
                var reader = new ProtocolReader(value);
                switch (type)
                {
                    case ControlRecordType.SnapshotHeader:
                        timestampMs = SnapshotHeaderRecord.Read(ref reader, 0).LastContainedLogTimestamp;
                        break;
                    case ControlRecordType.SnapshotFooter:
                        footed = true;
                        break;
                    default:
                        voters = ReadVoters(voters, type, value);
                        break;
                }
            }
        }

        return footed
            ? new SnapshotContent(records, timestampMs, voters, bytes.Length)
            : throw new InvalidMetadataException($"{path} does not end with a snapshot footer.");
    }

    /// <summary>Takes in a control record that says something about the voters; others leave them as they
    /// are.</summary>
    public static QuorumVoters ReadVoters(QuorumVoters voters, ControlRecordType type, ReadOnlyMemory<byte> value)
    {
        var reader = new ProtocolReader(value);
        return type switch
        {
            ControlRecordType.KRaftVersion =>
                voters with { KRaftVersion = KRaftVersionRecord.Read(ref reader, 0).KRaftVersion },
            ControlRecordType.KRaftVoters => voters with { Voters = VotersRecord.Read(ref reader, 0) },
            _ => voters,
        };
    }

    public static long Write(
        IFileSystem files, string path, IEnumerable<MetadataRecord> records, QuorumVoters voters, int epoch,
        long lastContainedTimestampMs, long nowMs)
    {
        var unfinished = path + UnfinishedSuffix;
        long position = 0;
        using (var file = files.Open(unfinished, FileOpenMode.OpenOrCreate))
        {
            file.SetLength(0);
            long offset = 0;
            void Put(byte[] batch, int count)
            {
                file.Write(batch, position);
                position += batch.Length;
                offset += count;
            }

            List<(ControlRecordType, IMessage)> head =
            [
                (ControlRecordType.SnapshotHeader,
                    new SnapshotHeaderRecord { LastContainedLogTimestamp = lastContainedTimestampMs }),
            ];
            if (voters.KRaftVersion > 0)
                head.Add((ControlRecordType.KRaftVersion,
                    new KRaftVersionRecord { KRaftVersion = voters.KRaftVersion }));
            if (voters is { KRaftVersion: > 0, Voters: { } set })
                head.Add((ControlRecordType.KRaftVoters, set));
            Put(MetadataBatches.Control(head, 0, epoch, nowMs), head.Count);
            foreach (var values in Chunks(records))
                Put(MetadataBatches.Data(values, offset, epoch, nowMs), values.Count);
            Put(MetadataBatches.Control([(ControlRecordType.SnapshotFooter, new SnapshotFooterRecord())], offset, epoch,
                nowMs), 1);
            CrashPoint.Reached("snapshot.written", path);
            file.Flush();
        }

        CrashPoint.Reached("snapshot.flushed", path);
        files.Rename(unfinished, path);
        CrashPoint.Reached("snapshot.renamed", path);
        files.FlushDirectory(Path.GetDirectoryName(path)!);
        CrashPoint.Reached("snapshot.done", path);
        return position;
    }

    private static IEnumerable<IReadOnlyList<ReadOnlyMemory<byte>>> Chunks(IEnumerable<MetadataRecord> records)
    {
        var values = new List<ReadOnlyMemory<byte>>();
        var size = 0;
        foreach (var record in records)
        {
            var value = MetadataRecordCodec.Encode(record.Message, record.Version);
            if (size + value.Length > MaxBatchBytes && values.Count > 0)
            {
                yield return values;
                values = [];
                size = 0;
            }

            values.Add(value);
            size += value.Length;
        }

        if (values.Count > 0)
            yield return values;
    }
}
