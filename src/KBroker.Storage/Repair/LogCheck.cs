using KBroker.Protocol.Records;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Files;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Repair;

/// <summary>What is wrong with a log.</summary>
/// <param name="File">The file.</param>
/// <param name="Position">Where the damage starts, in bytes.</param>
/// <param name="Offset">The first offset that cannot be read.</param>
/// <param name="Reason">What does not hold there.</param>
public sealed record LogProblem(string File, long Position, long Offset, string Reason);

/// <summary>What a check found.</summary>
/// <param name="Partition">The log.</param>
/// <param name="Segments">Log files.</param>
/// <param name="Batches">Good batches before the first problem.</param>
/// <param name="Bytes">Their bytes.</param>
/// <param name="Problem">The first problem; null when all is well.</param>
public sealed record LogCheckResult(
    TopicPartition Partition, int Segments, long Batches, long Bytes, LogProblem? Problem);

/// <summary>
/// Reads every batch of a log, with its checksum, as no start does; and cuts a log where its damage begins, for someone
/// who accepts the loss. No broker may have the directory open.
/// </summary>
/// <param name="files">The file system.</param>
/// <param name="directory">The log directory, one of <c>log.dirs</c>.</param>
public sealed class LogCheck(IFileSystem files, string directory)
{
    private const string LockFileName = ".lock";

    /// <summary>The partitions in the directory, by name.</summary>
    /// <returns>The metadata log, too.</returns>
    public IReadOnlyList<TopicPartition> Partitions()
    {
        var result = new List<TopicPartition>();
        foreach (var name in files.ListDirectories(directory).Order(StringComparer.Ordinal))
        {
            if (TopicPartition.TryParse(name, out var partition))
                result.Add(partition);
        }

        return result;
    }

    /// <summary>Takes the lock that a broker holds while it runs.</summary>
    /// <returns>The lock, to be disposed of.</returns>
    /// <exception cref="LogDirectoryException">A broker runs on the directory.</exception>
    public IDisposable Lock() => files.TryLock(Path.Combine(directory, LockFileName))
        ?? throw new LogDirectoryException($"{directory} is in use by a broker; stop it first.");

    /// <summary>Reads a log whole.</summary>
    /// <param name="partition">Which.</param>
    /// <returns>What was found; nothing is changed.</returns>
    /// <exception cref="DirectoryNotFoundException">There is no such partition here.</exception>
    public LogCheckResult Check(TopicPartition partition)
    {
        var path = PathOf(partition);
        long batches = 0, bytes = 0, next = -1;
        var bases = Bases(path);
        foreach (var baseOffset in bases)
        {
            var file = SegmentPaths.Of(path, baseOffset, SegmentPaths.Log);
            var problem = next > baseOffset
                ? new LogProblem(file, 0, next, $"it overlaps with its predecessor, which ends at {next}")
                : CheckFile(file, Math.Max(next, baseOffset), ref next, ref batches, ref bytes);
            if (problem is not null)
                return new LogCheckResult(partition, bases.Count, batches, bytes, problem);
        }

        return new LogCheckResult(partition, bases.Count, batches, bytes, CheckEnd(partition, path, bases, next));
    }

    /// <summary>
    /// Cuts a log where a check found damage: what lies behind is lost. Indexes, epochs and snapshots that may know of
    /// it go, too; the next start makes them anew. Checkpoints that lie behind the new end are moved to it.
    /// </summary>
    /// <param name="partition">Which.</param>
    /// <param name="problem">What <see cref="Check"/> found.</param>
    public void Truncate(TopicPartition partition, LogProblem problem)
    {
        ArgumentNullException.ThrowIfNull(problem);
        var path = PathOf(partition);
        foreach (var baseOffset in Bases(path))
        {
            var file = SegmentPaths.Of(path, baseOffset, SegmentPaths.Log);
            var isDamaged = file == problem.File;
            if (baseOffset < problem.Offset && !isDamaged)
                continue;
            DeleteIndexes(path, baseOffset);
            if (isDamaged && problem.Position > 0)
                Cut(file, problem.Position);
            else
                files.DeleteFile(file);
        }

        foreach (var file in files.ListFiles(path))
        {
            if (SegmentPaths.TryParse(file.Name, SegmentPaths.Snapshot, out var offset) && offset > problem.Offset)
                files.DeleteFile(Path.Combine(path, file.Name));
        }

        files.DeleteFile(Path.Combine(path, EpochCache.FileName));
        files.FlushDirectory(path);
        foreach (var name in new[]
        {
            OffsetCheckpointFile.RecoveryPoint, OffsetCheckpointFile.LogStart, OffsetCheckpointFile.Replication,
            OffsetCheckpointFile.Cleaner,
        })
        {
            LimitCheckpoint(name, partition, problem.Offset);
        }
    }

    private static LogProblem? Problem(string file, long position, long offset, string? reason) =>
        reason is null ? null : new LogProblem(file, position, offset, reason);

    private LogProblem? CheckFile(string path, long first, ref long next, ref long batches, ref long bytes)
    {
        using var file = files.Open(path, FileOpenMode.Open);
        Span<byte> headers = stackalloc byte[BatchScanner.LookupBufferBytes];
        var scanner = new BatchScanner(file, 0, checked((int)file.Length), headers);
        next = first;
        while (scanner.MoveNext())
        {
            var header = scanner.Header;
            if (header.BaseOffset < next)
            {
                return new LogProblem(path, scanner.Position, next,
                    $"a batch with offsets {header.BaseOffset} to {header.LastOffset} follows offset {next - 1}");
            }

            var batch = new byte[header.SizeInBytes];
            if (file.Read(batch, scanner.Position) != batch.Length
                || Crc32C.Compute(batch.AsSpan(RecordBatchLayout.Attributes)) != header.Crc)
            {
                return new LogProblem(path, scanner.Position, next,
                    $"the checksum of the batch with offset {header.BaseOffset} does not hold");
            }

            next = header.NextOffset;
            batches++;
            bytes += header.SizeInBytes;
        }

        return Problem(path, scanner.NextPosition, next, scanner.Problem);
    }

    /// <summary>The checkpoints must not lie behind the end.</summary>
    private LogProblem? CheckEnd(TopicPartition partition, string path, List<long> bases, long next)
    {
        var end = Math.Max(0, next);
        var file = bases.Count == 0 ? path : SegmentPaths.Of(path, bases[^1], SegmentPaths.Log);
        var length = bases.Count == 0 ? 0 : files.ListFiles(path).First(f => f.Name == Path.GetFileName(file)).Length;
        foreach (var name in new[] { OffsetCheckpointFile.RecoveryPoint, OffsetCheckpointFile.LogStart })
        {
            if (ReadCheckpoint(name) is { } offsets && offsets.TryGetValue(partition, out var offset) && offset > end)
                return new LogProblem(file, length, end, $"it ends before offset {offset}, which is in {name}");
        }

        return null;
    }

    private string PathOf(TopicPartition partition)
    {
        var path = Path.Combine(directory, partition.ToString());
        return files.DirectoryExists(path)
            ? path
            : throw new DirectoryNotFoundException($"There is no partition {partition} in {directory}.");
    }

    private List<long> Bases(string path)
    {
        var bases = new List<long>();
        foreach (var file in files.ListFiles(path))
        {
            if (SegmentPaths.TryParse(file.Name, SegmentPaths.Log, out var offset))
                bases.Add(offset);
        }

        bases.Sort();
        return bases;
    }

    private void Cut(string path, long length)
    {
        using var file = files.Open(path, FileOpenMode.Open);
        if (file.Length > length)
            file.SetLength(length);
        file.Flush();
    }

    private void DeleteIndexes(string path, long baseOffset)
    {
        foreach (var kind in new[]
        {
            SegmentPaths.OffsetIndex, SegmentPaths.TimeIndex, SegmentPaths.TransactionIndex, SegmentPaths.FlagIndex,
        })
        {
            files.DeleteFile(SegmentPaths.Of(path, baseOffset, kind));
        }
    }

    private void LimitCheckpoint(string name, TopicPartition partition, long end)
    {
        if (ReadCheckpoint(name) is not { } offsets || !offsets.TryGetValue(partition, out var offset) || offset <= end)
            return;
        offsets[partition] = end;
        new OffsetCheckpointFile(files, Path.Combine(directory, name)).Write(offsets);
    }

    private Dictionary<TopicPartition, long>? ReadCheckpoint(string name)
    {
        try
        {
            return new OffsetCheckpointFile(files, Path.Combine(directory, name)).Read();
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }
}
