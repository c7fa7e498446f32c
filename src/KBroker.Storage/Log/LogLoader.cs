using System.Runtime.CompilerServices;
using KBroker.Storage.Crashing;
using KBroker.Storage.Files;
using KBroker.Storage.Indexes;
using KBroker.Storage.Producers;
using KBroker.Storage.Segments;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage.Log;

/// <summary>A log as it was found on disk.</summary>
/// <param name="Segments">At least one.</param>
/// <param name="EndOffset">The offset of the next record.</param>
/// <param name="StartOffset">The first offset.</param>
/// <param name="RecoveryPoint">What is on stable storage now.</param>
/// <param name="Unflushed">Finished segments behind the old recovery point.</param>
internal sealed record LoadedLog(
    LogSegment[] Segments, long EndOffset, long StartOffset, long RecoveryPoint, LogSegment[] Unflushed);

/// <summary>
/// Opens the files of a partition. After a clean stop it believes them, and reads one header at the end of the last
/// segment; after a crash it scans what lies behind the recovery point, cuts a torn tail, and makes indexes, epochs and
/// producer state of the scanned segments anew.
/// </summary>
internal sealed class LogLoader(
    LogContext context, string path, LogConfig config, EpochCache epochs, ProducerStates producers)
{
    private static readonly string[] LeftOverSuffixes = [SegmentPaths.Deleted, ".tmp"];
    private readonly List<LogSegment> _segments = [];
    private readonly Dictionary<string, FileEntry> _files = [];

    /// <summary>Opens the log.</summary>
    /// <param name="recoveryPoint">The checkpointed recovery point.</param>
    /// <param name="logStartOffset">The checkpointed log start offset.</param>
    /// <param name="isClean">Whether the last run closed the log.</param>
    public LoadedLog Load(long recoveryPoint, long logStartOffset, bool isClean)
    {
        ListFiles();
        LoadEpochs();
        var unflushed = isClean ? CheckIndexes() : Recover(recoveryPoint, logStartOffset);
        if (_segments.Count == 0)
            AddEmptySegment(logStartOffset);
        var end = _segments[^1].ReadNextOffset();
        if (end < logStartOffset)
        {
            // The records before the start were deleted, and those behind it never reached the disk.
            DropFrom(0);
            AddEmptySegment(logStartOffset);
            end = logStartOffset;
        }

        var start = Math.Max(logStartOffset, _segments[0].BaseOffset);
        epochs.TruncateFromEnd(end);
        epochs.TruncateFromStart(start);
        LoadProducers(end, unflushed);
        foreach (var segment in _segments)
            segment.CloseFiles();
        return new LoadedLog(
            [.. _segments], end, start, isClean ? end : Math.Min(recoveryPoint, end), unflushed);
    }

    private void ListFiles()
    {
        var files = context.Files.ListFiles(path);
        if (new SwapCompletion(context, path).Run(files))
            files = context.Files.ListFiles(path);
        foreach (var file in files)
        {
            if (LeftOverSuffixes.Any(s => file.Name.EndsWith(s, StringComparison.Ordinal)))
            {
                context.Files.DeleteFile(Path.Combine(path, file.Name));
                continue;
            }

            _files[file.Name] = file;
        }

        var bases = new List<long>();
        foreach (var name in _files.Keys)
        {
            if (SegmentPaths.TryParse(name, SegmentPaths.Log, out var offset))
                bases.Add(offset);
        }

        bases.Sort();
        foreach (var offset in bases)
        {
            var name = Path.GetFileName(SegmentPaths.Of(path, offset, SegmentPaths.Log));
            _segments.Add(
                LogSegment.Open(context.Files, path, offset, _files[name], context.RollJitterMs(config)));
        }
    }

    private void LoadEpochs()
    {
        try
        {
            epochs.Load();
        }
        catch (InvalidDataException exception)
        {
            context.Logger.LogWarning("{Problem} It is made anew from the log.", exception.Message);
            foreach (var segment in _segments)
                RebuildEpochs(segment);
        }
    }

    /// <summary>After a clean stop: makes indexes anew that are missing, or not of whole entries.</summary>
    private LogSegment[] CheckIndexes()
    {
        foreach (var segment in _segments)
        {
            if (!HasUsableIndexes(segment))
                RebuildIndexes(segment);
        }

        return [];
    }

    private bool HasUsableIndexes(LogSegment segment)
    {
        if (segment.SizeInBytes == 0)
            return true;
        if (!HasWholeEntries(segment.OffsetIndex.Path, OffsetIndex.EntrySize, out var offsetEntries)
            || !HasWholeEntries(segment.TimeIndex.Path, TimeIndex.EntrySize, out _))
        {
            return false;
        }

        // The end of the log is found from the last entry of the last segment, so that one is looked at.
        if (segment != _segments[^1] || offsetEntries == 0)
            return true;
        var last = segment.OffsetIndex.Last;
        return segment.IsBatchAt(last.Position, segment.SizeInBytes, last.Offset, out _);
    }

    private bool HasWholeEntries(string file, int entrySize, out long entries)
    {
        entries = 0;
        if (!_files.TryGetValue(Path.GetFileName(file), out var entry))
            return false;
        entries = entry.Length / entrySize;
        return entry.Length % entrySize == 0;
    }

    /// <summary>After a crash: scans the segments behind the recovery point.</summary>
    private LogSegment[] Recover(long recoveryPoint, long logStartOffset)
    {
        if (_segments.Count == 0 && recoveryPoint > logStartOffset)
        {
            throw new CorruptLogException(
                path, 0, $"there is no log file, but everything below offset {recoveryPoint} was on stable storage");
        }

        if (_segments.Count == 0)
            return [];
        var first = Math.Max(0, _segments.FindLastIndex(s => s.BaseOffset <= recoveryPoint));
        for (var i = 0; i < first; i++)
        {
            if (!HasUsableIndexes(_segments[i]))
                RebuildIndexes(_segments[i]);
        }

        var end = _segments[first].BaseOffset;
        for (var i = first; i < _segments.Count; i++)
        {
            var segment = _segments[i];
            if (segment.BaseOffset < end)
            {
                throw new CorruptLogException(
                    segment.File.Path, 0, $"it overlaps with its predecessor, which ends at {end}");
            }

            // A crash may lose the end of one file and keep the next one. Before the recovery point, and in a log that
            // is compacted (Kafka's cleaner does not wait for the recovery point), a gap is compaction's.
            if (i > first && segment.BaseOffset > end && end >= recoveryPoint && !config.IsCompacted)
            {
                context.Logger.LogWarning(
                    "{File} starts behind the end {Offset} of its predecessor; it is removed, with all behind it.",
                    segment.File.Path,
                    end);
                DropFrom(i);
                break;
            }

            segment.TransactionIndex.TruncateTo(segment.BaseOffset);
            var found = new SegmentRecovery(segment, recoveryPoint, config.IndexIntervalBytes)
            {
                OnBatch = header => epochs.Assign(header.PartitionLeaderEpoch, header.BaseOffset),
            }.Run();
            end = found.NextOffset;
            if (found.CutBytes > 0)
                Cut(i, found);
            if (i < _segments.Count - 1)
                segment.SealIndexes();
        }

        // What was deleted at the start may be missing, too.
        if (Math.Max(end, logStartOffset) < recoveryPoint)
        {
            throw new CorruptLogException(
                _segments[^1].File.Path,
                _segments[^1].SizeInBytes,
                $"the log ends with offset {end - 1}, but everything below {recoveryPoint} was on stable storage");
        }

        CrashPoint.Reached("recovery.scanned");
        return [.. _segments.Skip(first)];
    }

    private void RebuildIndexes(LogSegment segment)
    {
        context.Logger.LogWarning("The indexes of {File} are missing or damaged and are made anew.", segment.File.Path);
        segment.OffsetIndex.Reset();
        segment.TimeIndex.Reset();
        new SegmentRecovery(segment, long.MaxValue, config.IndexIntervalBytes).Run();
        segment.SealIndexes();
    }

    private void Cut(int index, RecoveredSegment found)
    {
        var segment = _segments[index];
        context.Logger.LogWarning(
            "{File}: {Bytes} bytes behind offset {Offset} are cut, because {Problem}.",
            segment.File.Path,
            found.CutBytes,
            found.NextOffset - 1,
            found.Problem);
        segment.TruncateTo(segment.SizeInBytes, found.NextOffset);
        CrashPoint.Reached("recovery.cut");
        if (index == _segments.Count - 1)
            return;
        context.Logger.LogWarning(
            "{Directory}: {Count} segments behind the cut are removed.", path, _segments.Count - 1 - index);
        DropFrom(index + 1);
    }

    private void DropFrom(int index)
    {
        foreach (var segment in _segments.Skip(index))
        {
            segment.Dispose();
            context.Files.DeleteFile(segment.File.Path);
            context.Files.DeleteFile(segment.OffsetIndex.Path);
            context.Files.DeleteFile(segment.TimeIndex.Path);
            context.Files.DeleteFile(segment.TransactionIndex.Path);
        }

        _segments.RemoveRange(index, _segments.Count - index);
    }

    private void AddEmptySegment(long baseOffset) => _segments.Add(
        LogSegment.Create(context.Files, path, baseOffset, context.NowMs, context.RollJitterMs(config)));

    private void LoadProducers(long end, LogSegment[] unflushed)
    {
        // A snapshot from within the scanned segments may know of batches that were cut.
        var scannedFrom = unflushed.Length == 0 ? long.MaxValue : unflushed[0].BaseOffset;
        new ProducerReplay(context, path, producers) { IndexTransactionsFrom = scannedFrom }
            .Run([.. _segments], end, Math.Min(end, scannedFrom));
    }

    [SkipLocalsInit]
    private void RebuildEpochs(LogSegment segment)
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var scanner = new BatchScanner(segment.File.File, 0, segment.SizeInBytes, buffer);
        while (scanner.MoveNext())
            epochs.Assign(scanner.Header.PartitionLeaderEpoch, scanner.Header.BaseOffset);
    }
}
