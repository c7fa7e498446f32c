using System.Buffers.Binary;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Delivery.Delay;

/// <summary>
/// <c>kbroker-delay.checkpoint</c> in a partition's directory: how far the log is in the schedule's files, so that a
/// start need not read all of it. Only a cache: one that is missing, damaged, of another topic or ahead of its log is
/// thrown away, and the log read from its start.
/// </summary>
/// <remarks>
/// Big-endian: int32 magic ("KBDC"), int16 version (1), 16 bytes topic id, int64 offset up to which the log is in the
/// runs, int64 log end at that moment, int64 mark of the levels, int32 count of runs, for each int64 number, int32
/// entries, int32 cursor; at the end CRC-32C of all before. Crash behaviour: written under another name and
/// renamed when its runs are on stable storage, and so is the log up to the log end that it names: a
/// delivery that the runs take for done is never lost.
/// </remarks>
/// <param name="TopicId">The topic that the partition belongs to.</param>
/// <param name="FollowedTo">All flagged batches below are accounted for.</param>
/// <param name="LogEndOffset">The log end at that moment; all below was on stable storage.</param>
/// <param name="LevelsMark">By which list of levels the entries are due: <see cref="FlagFollower.LevelsMark"/>.</param>
/// <param name="Runs">The files.</param>
internal sealed record ScheduleCheckpoint(
    Uuid TopicId, long FollowedTo, long LogEndOffset, long LevelsMark, IReadOnlyList<ScheduleRun> Runs)
{
    /// <summary>The file's name.</summary>
    public const string FileName = "kbroker-delay.checkpoint";

    private const int Magic = 0x4b424443;
    private const short Version = 1;
    private const int FixedBytes = 4 + 2 + 16 + 8 + 8 + 8 + 4;
    private const int RunBytes = 8 + 4 + 4;
    private const int CrcBytes = 4;

    /// <summary>Reads the checkpoint of a partition.</summary>
    /// <param name="files">The file system.</param>
    /// <param name="directory">The partition's directory.</param>
    /// <param name="problem">Why there is a file that cannot be used; null when there is none, or it is fine.</param>
    /// <returns>Null when there is none that can be used.</returns>
    public static ScheduleCheckpoint? Read(IFileSystem files, string directory, out string? problem)
    {
        problem = null;
        var path = Path.Combine(directory, FileName);
        if (!files.FileExists(path))
            return null;
        var bytes = files.ReadAllBytes(path);
        if (Parse(bytes) is { } checkpoint)
        {
            problem = checkpoint.Runs.FirstOrDefault(r => !HasEntries(files, directory, r)) is { } run
                ? $"{ScheduleRun.NameOf(run.Number)} is missing, or has not {run.Count} entries"
                : null;
            return problem is null ? checkpoint : null;
        }

        problem = $"its {bytes.Length} bytes are not a checkpoint, or its checksum does not hold";
        return null;
    }

    /// <summary>Replaces the checkpoint of a partition.</summary>
    public void Write(IFileSystem files, string directory)
    {
        var bytes = new byte[FixedBytes + (Runs.Count * RunBytes) + CrcBytes];
        BinaryPrimitives.WriteInt32BigEndian(bytes, Magic);
        BinaryPrimitives.WriteInt16BigEndian(bytes.AsSpan(4), Version);
        TopicId.Write(bytes.AsSpan(6));
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(22), FollowedTo);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(30), LogEndOffset);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(38), LevelsMark);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(46), Runs.Count);
        var rest = bytes.AsSpan(FixedBytes);
        foreach (var run in Runs)
        {
            BinaryPrimitives.WriteInt64BigEndian(rest, run.Number);
            BinaryPrimitives.WriteInt32BigEndian(rest[8..], run.Count);
            BinaryPrimitives.WriteInt32BigEndian(rest[12..], run.Cursor);
            rest = rest[RunBytes..];
        }

        BinaryPrimitives.WriteUInt32BigEndian(rest, Crc32C.Compute(bytes.AsSpan(0, bytes.Length - CrcBytes)));
        files.WriteAtomically(Path.Combine(directory, FileName), bytes);
    }

    private static bool HasEntries(IFileSystem files, string directory, ScheduleRun run)
    {
        var path = Path.Combine(directory, ScheduleRun.NameOf(run.Number));
        if (!files.FileExists(path))
            return false;
        using var file = files.Open(path, FileOpenMode.Open);
        return file.Length == (long)run.Count * PendingRecord.SizeInBytes;
    }

    private static ScheduleCheckpoint? Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < FixedBytes + CrcBytes
            || BinaryPrimitives.ReadInt32BigEndian(bytes) != Magic
            || BinaryPrimitives.ReadInt16BigEndian(bytes[4..]) != Version
            || Crc32C.Compute(bytes[..^CrcBytes]) != BinaryPrimitives.ReadUInt32BigEndian(bytes[^CrcBytes..]))
        {
            return null;
        }

        var count = BinaryPrimitives.ReadInt32BigEndian(bytes[46..]);
        if (count < 0 || bytes.Length != FixedBytes + ((long)count * RunBytes) + CrcBytes)
            return null;
        var runs = new List<ScheduleRun>(count);
        for (var rest = bytes[FixedBytes..^CrcBytes]; !rest.IsEmpty; rest = rest[RunBytes..])
        {
            runs.Add(new ScheduleRun(
                BinaryPrimitives.ReadInt64BigEndian(rest), BinaryPrimitives.ReadInt32BigEndian(rest[8..]))
            {
                Cursor = BinaryPrimitives.ReadInt32BigEndian(rest[12..]),
            });
        }

        return new ScheduleCheckpoint(
            Uuid.Read(bytes[6..]),
            BinaryPrimitives.ReadInt64BigEndian(bytes[22..]),
            BinaryPrimitives.ReadInt64BigEndian(bytes[30..]),
            BinaryPrimitives.ReadInt64BigEndian(bytes[38..]),
            runs);
    }
}
