using KBroker.Protocol.Records;
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

    /// <summary>Told how many bytes of log files were scanned.</summary>
    public Action<long> OnScanned { get; init; } = static _ => { };

    /// <summary>Opens the log.</summary>
    /// <param name="checkpoints">What the checkpoint files say of it.</param>
    /// <param name="isClean">Whether the last run closed the log.</param>
    /// <exception cref="CorruptLogException">What was on stable storage is damaged.</exception>
    public LoadedLog Load(in LogCheckpoints checkpoints, bool isClean)
    {
        ListFiles();
        var epochsAreRead = TryLoadEpochs();
        var logStart = checkpoints.LogStartOffset;
        var unflushed = isClean ? CheckIndexes(checkpoints) : Recover(checkpoints.RecoveryPoint, logStart);
        if (_segments.Count == 0)
            AddEmptySegment(logStart);
        var last = ReadLastHeader(checkpoints, ref isClean, ref unflushed);
        var end = last?.NextOffset ?? _segments[^1].BaseOffset;
        CheckEnd(end, checkpoints, isClean);
        var start = Math.Max(logStart, _segments[0].BaseOffset);
        if (epochsAreRead && checkpoints.AreStartsLost)
            start = Math.Max(start, StartByEpochs(end));
        else if (epochsAreRead && isClean)
            CheckStart(start, end);
        if (!epochsAreRead || !EpochCheck.IsSound(epochs, _segments, last ?? LastBefore(), start))
            RebuildEpochs();
        epochs.TruncateFromEnd(end);
        epochs.TruncateFromStart(start);
        CheckTransactionIndexes(unflushed);
        LoadProducers(end, unflushed);
        foreach (var segment in _segments)
            segment.CloseFiles();
        return new LoadedLog(
            [.. _segments], end, start, isClean ? end : Math.Min(checkpoints.RecoveryPoint, end), unflushed);
    }

    /// <summary>Bytes behind the end of a closed log were never its own: they are scanned, and cut, as after a
    /// crash.</summary>
    private RecordBatchHeader? ReadLastHeader(
        in LogCheckpoints checkpoints, ref bool isClean, ref LogSegment[] unflushed)
    {
        try
        {
            return _segments[^1].ReadLastHeader();
        }
        catch (CorruptLogException) when (isClean && checkpoints.IsRecoveryPointKnown)
        {
            isClean = false;
        }

        unflushed = Recover(checkpoints.RecoveryPoint, checkpoints.LogStartOffset);
        return _segments[^1].ReadLastHeader();
    }

    /// <summary>The start is on stable storage only after everything before it is, so it cannot lie behind the
    /// end.</summary>
    private void CheckEnd(long end, in LogCheckpoints checkpoints, bool isClean)
    {
        var active = _segments[^1];
        if (end < checkpoints.LogStartOffset)
        {
            throw new CorruptLogException(active.File.Path, active.SizeInBytes,
                $"the log ends with offset {end - 1}, but log-start-offset-checkpoint lets it start at "
                + $"{checkpoints.LogStartOffset}");
        }

        // A clean close leaves a snapshot at the end, too: with that, it is the checkpoint that is damaged.
        var snapshot = Path.GetFileName(SegmentPaths.Of(path, end, SegmentPaths.Snapshot));
        if (isClean && checkpoints.IsRecoveryPointKnown && end != checkpoints.RecoveryPoint
            && !_files.ContainsKey(snapshot))
        {
            throw new CorruptLogException(active.File.Path, active.SizeInBytes,
                $"the log ends with offset {end - 1}, but was closed with {checkpoints.RecoveryPoint - 1}");
        }
    }

    /// <summary>After a clean stop the epochs begin where the log does; neither file has a checksum.</summary>
    private void CheckStart(long start, long end)
    {
        var byEpochs = StartByEpochs(end);
        if (byEpochs <= start || EpochCheck.BeginsAt(_segments, byEpochs))
            return;
        throw new CorruptLogException(Path.Combine(path, EpochCache.FileName), 0,
            $"the log starts at offset {byEpochs} by this file, at {start} by log-start-offset-checkpoint",
            "Nothing was changed. With the broker stopped, remove this file if the other one is right; else write "
            + $"the line '{Path.GetFileName(path)}', its last dash a space, and {byEpochs} into the other one.");
    }

    private RecordBatchHeader? LastBefore()
    {
        for (var i = _segments.Count - 2; i >= 0; i--)
        {
            if (_segments[i].ReadLastHeader() is { } header)
                return header;
        }

        return null;
    }

    /// <summary>
    /// The start that the epochs tell: every batch behind the start has its epoch there, and the start is written to
    /// both files.
    /// </summary>
    private long StartByEpochs(long end)
    {
        if (epochs.Entries is not [var first, ..] || first.StartOffset > end
            || !_segments[0].TryFindBatch(_segments[0].BaseOffset, _segments[0].SizeInBytes, out _, out var header)
            || header.PartitionLeaderEpoch < 0)
        {
            return 0;
        }

        return first.StartOffset;
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
            var segment = LogSegment.Open(context.Files, path, offset, _files[name], context.RollJitterMs(config));
            // A segment without flagged batches has no such file, and most have none: ten thousand looks at a start.
            if (!_files.ContainsKey(Path.GetFileName(segment.FlagIndex.Path)))
                segment.FlagIndex.SetAbsent();
            _segments.Add(segment);
        }
    }

    private bool TryLoadEpochs()
    {
        try
        {
            epochs.Load();
            return true;
        }
        catch (InvalidDataException exception)
        {
            context.Logger.LogWarning("{Problem} It is made anew from the log.", exception.Message);
            return false;
        }
    }

    private void RebuildEpochs()
    {
        context.Logger.LogWarning(
            "{File} is missing or does not fit the log, and is made anew from it.",
            Path.Combine(path, EpochCache.FileName));
        EpochCheck.Rebuild(epochs, _segments);
    }

    /// <summary>After a clean stop: makes indexes anew that are missing, or not of whole entries.</summary>
    private LogSegment[] CheckIndexes(in LogCheckpoints checkpoints)
    {
        if (_segments.Count == 0 && checkpoints.RecoveryPoint > checkpoints.LogStartOffset)
            throw NoLogFile(checkpoints.RecoveryPoint);
        foreach (var segment in _segments)
        {
            if (!HasUsableIndexes(segment))
                RebuildIndexes(segment);
        }

        return [];
    }

    private CorruptLogException NoLogFile(long recoveryPoint) => new(
        path, 0, $"there is no log file, but everything below offset {recoveryPoint} was on stable storage");

    /// <summary>Transaction indexes of segments that were not scanned.</summary>
    private void CheckTransactionIndexes(LogSegment[] unflushed)
    {
        for (var i = 0; i < _segments.Count - unflushed.Length; i++)
        {
            var segment = _segments[i];
            if (!_files.ContainsKey(Path.GetFileName(segment.TransactionIndex.Path))
                || TransactionIndexCheck.IsSound(i, _segments))
            {
                continue;
            }

            context.Logger.LogWarning(
                "{File} is damaged, and is made anew from the log.", segment.TransactionIndex.Path);
            segment.TransactionIndex.Reset();
            var rebuilt = new ProducerStates();
            new ProducerReplay(context, path, rebuilt)
            {
                IndexTransactionsFrom = segment.BaseOffset,
                IndexTransactionsTo = segment.BaseOffset,
                KeepsSnapshots = true,
            }.Run([.. _segments.Take(i + 1)], long.MaxValue, segment.BaseOffset);
        }
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
            throw NoLogFile(recoveryPoint);
        }

        if (_segments.Count == 0)
            return [];
        // A flush that ended exactly here may have been made before the roll, and without the indexes: the segment
        // that ends at the recovery point is scanned, too.
        var first = Math.Max(0, _segments.FindLastIndex(s => s.BaseOffset < recoveryPoint));
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

            // It is written anew from the markers; what a power cut left of it need not be in order.
            segment.TransactionIndex.Reset();
            var found = new SegmentRecovery(segment, recoveryPoint, config.IndexIntervalBytes)
            {
                OnBatch = header => epochs.Assign(header.PartitionLeaderEpoch, header.BaseOffset),
                OnScanned = OnScanned,
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
        new SegmentRecovery(segment, long.MaxValue, config.IndexIntervalBytes) { OnScanned = OnScanned }.Run();
        segment.SealIndexes();
    }

    private void Cut(int index, RecoveredSegment found)
    {
        var segment = _segments[index];
        context.Logger.LogWarning(
            "{File}: cut at position {Position}, behind offset {Offset}: {Bytes} bytes are gone, because {Problem}.",
            segment.File.Path,
            segment.SizeInBytes,
            found.NextOffset - 1,
            found.CutBytes,
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
            context.Files.DeleteFile(segment.FlagIndex.Path);
        }

        _segments.RemoveRange(index, _segments.Count - index);
    }

    private void AddEmptySegment(long baseOffset) => _segments.Add(
        LogSegment.Create(context.Files, path, baseOffset, context.NowMs, context.RollJitterMs(config)));

    private void LoadProducers(long end, LogSegment[] unflushed)
    {
        // A snapshot from within the scanned segments may know of batches that were cut.
        var scannedFrom = unflushed.Length == 0 ? long.MaxValue : unflushed[0].BaseOffset;
        new ProducerReplay(context, path, producers)
        {
            IndexTransactionsFrom = scannedFrom,
            FileNames = _files.Keys,
            WritesSnapshots = unflushed.Length > 0,
        }.Run([.. _segments], end, Math.Min(end, scannedFrom));
    }
}
