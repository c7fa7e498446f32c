using System.Buffers;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Indexes;
using KBroker.Storage.Log;
using KBroker.Storage.Producers;
using KBroker.Storage.Segments;

namespace KBroker.Storage;

/// <summary>
/// The log of one partition: a directory of segments, appended to at the end, read anywhere. Any thread may call
/// anything; appends are ordered by one lock, reads take none of it.
/// </summary>
/// <remarks>
/// An append checks and patches the caller's buffer, and hands it to the kernel in one gather write; the records are never
/// copied. A read finds a region of a file; the records are never read. Both offsets that matter move
/// only when the bytes are in their place: <see cref="LogEndOffset"/> after the write,
/// <see cref="RecoveryPoint"/> after the flush.
/// </remarks>
public sealed class PartitionLog
{
    private readonly Lock _lock = new();
    private readonly LogContext _context;
    private readonly SegmentList _segments;
    private readonly LogEnd _end = new();
    private readonly LogFlush _flush;
    private readonly LogReader _reader;
    private readonly LeaderValidator _validator;
    private readonly TimestampLookup _timestamps;
    private readonly ProducerStates _producers;
    private readonly Func<long> _getLogStartOffset;
    private readonly Action<IReadOnlyList<LogSegment>, long> _deleteLater;
    private LogConfig _config;
    private string _path;
    private long _logStartOffset;
    private long _lastSnapshotOffset = -1;
    private bool _closed;

    internal PartitionLog(PartitionLogParts parts)
    {
        _context = parts.Context;
        Directory = parts.Directory;
        TopicPartition = parts.Partition;
        TopicId = parts.TopicId;
        LeaderEpochs = parts.Epochs;
        _path = parts.Path;
        _config = parts.Config;
        _producers = parts.Producers;
        _deleteLater = parts.DeleteLater;
        _segments = new SegmentList(parts.Loaded.Segments);
        _flush = new LogFlush(_context, Directory, LeaderEpochs);
        _validator = new LeaderValidator(TopicPartition, _context);
        _timestamps = new TimestampLookup(_segments, _context.Codecs, _context.MaxDecompressedBytes);
        _reader = new LogReader(TopicPartition, _segments, _end);
        _logStartOffset = parts.Loaded.StartOffset;
        _getLogStartOffset = () => Volatile.Read(ref _logStartOffset);
        _end.Reset(parts.Loaded.EndOffset, _segments.Active, _segments.Active.SizeInBytes);
        _flush.Reset(parts.Loaded.RecoveryPoint);
        foreach (var segment in parts.Loaded.Unflushed)
        {
            if (segment != _segments.Active)
                _flush.AddSealed(segment, SegmentPaths.Of(_path, segment.BaseOffset, SegmentPaths.Snapshot));
        }

        _flush.NamesChanged(parts.IsNew);
    }

    /// <summary>Which partition.</summary>
    public TopicPartition TopicPartition { get; }

    /// <summary>Id of the topic, from <c>partition.metadata</c>; zero when the file is missing.</summary>
    public Uuid TopicId { get; private set; }

    /// <summary>The log directory that it lies in.</summary>
    public LogDirectory Directory { get; }

    /// <summary>Full path of the partition's directory; changes when the log is deleted.</summary>
    public string Path => Volatile.Read(ref _path);

    /// <summary>The topic's configs.</summary>
    public LogConfig Config => Volatile.Read(ref _config);

    /// <summary>The first offset that may be read.</summary>
    public long LogStartOffset => Volatile.Read(ref _logStartOffset);

    /// <summary>The offset that the next record gets.</summary>
    public long LogEndOffset => _end.Offset;

    /// <summary>Everything below this offset is on stable storage.</summary>
    public long RecoveryPoint => _flush.RecoveryPoint;

    /// <summary>When the last flush ended, ms.</summary>
    internal long LastFlushMs => _flush.LastFlushMs;

    /// <summary>The leader epochs and where each begins.</summary>
    public EpochCache LeaderEpochs { get; }

    /// <summary>Bytes of all segments' log files.</summary>
    public long SizeInBytes => _segments.All.Sum(static s => (long)s.SizeInBytes);

    /// <summary>Base offset of the oldest segment.</summary>
    internal long FirstSegmentOffset => _segments.All[0].BaseOffset;

    /// <summary>Number of segments.</summary>
    public int SegmentCount => _segments.All.Length;

    /// <summary>
    /// First offset of the oldest transaction that is still open; null without one. Together with the high watermark it
    /// bounds what a read_committed consumer may see.
    /// </summary>
    public long? FirstUnstableOffset
    {
        get
        {
            lock (_lock)
                return _producers.FirstOpenTransactionOffset;
        }
    }

    /// <summary>What is known of the producers that wrote here, for DescribeProducers.</summary>
    /// <returns>A copy of the moment.</returns>
    public IReadOnlyList<ActiveProducer> GetActiveProducers()
    {
        lock (_lock)
        {
            return [.. _producers.All.Select(static p => new ActiveProducer(
                p.ProducerId,
                p.Epoch,
                p.Last.LastSequence,
                p.LastTimestamp,
                p.CoordinatorEpoch,
                p.CurrentTransactionFirstOffset ?? -1))];
        }
    }

    /// <summary>Appends as the partition's leader: checks, assigns offsets, writes.</summary>
    /// <param name="records">
    /// Record batches, whole. The memory is the caller's own and is written to: offsets, leader epoch, timestamps and
    /// checksum of the headers are set in place. It may be used again when the call returns.
    /// </param>
    /// <param name="leaderEpoch">The epoch of this leader, stored in each batch.</param>
    /// <param name="options">Who appends.</param>
    /// <returns>The offsets, or why nothing was stored.</returns>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public AppendResult AppendAsLeader(in ReadOnlySequence<byte> records, int leaderEpoch, in AppendOptions options)
    {
        var work = _context.RentWork();
        try
        {
            var config = Config;
            var nowMs = _context.NowMs;
            if (_validator.Prepare(work, records, config, options, nowMs) is { } refusal)
                return AppendResult.Refused(refusal.Error, refusal.Message, LogStartOffset, refusal.RecordErrors);
            AppendResult result;
            lock (_lock)
                result = AppendPrepared(work, leaderEpoch, options, config, nowMs);
            FlushIfDue(config);
            return result;
        }
        finally
        {
            _context.Return(work);
        }
    }

    /// <summary>Appends what was fetched from the leader: offsets and epochs are kept.</summary>
    /// <param name="records">Record batches; an incomplete one at the end is left out.</param>
    /// <returns>The offsets, or why nothing was stored.</returns>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public AppendResult AppendAsFollower(in ReadOnlySequence<byte> records)
    {
        var work = _context.RentWork();
        try
        {
            var rest = records;
            RecordBatchStatus status;
            while ((status = RecordBatches.Inspect(rest, out var header)) == RecordBatchStatus.Whole)
            {
                var batch = rest.Slice(0, header.SizeInBytes);
                if (!RecordBatches.HasValidCrc(batch))
                    return Corrupt($"The checksum of the batch with offset {header.BaseOffset} does not hold.");
                work.Add(header, batch);
                rest = rest.Slice(header.SizeInBytes);
            }

            if (status is not (RecordBatchStatus.End or RecordBatchStatus.Incomplete))
                return Corrupt($"No record batch stands behind {work.TotalBytes} bytes ({status}).");
            AppendResult result;
            lock (_lock)
                result = AppendFetched(work);
            FlushIfDue(Config);
            return result;
        }
        finally
        {
            _context.Return(work);
        }

        AppendResult Corrupt(string message) =>
            AppendResult.Refused(AppendError.CorruptMessage, $"{message} (partition {TopicPartition})", LogStartOffset);
    }

    /// <summary>Finds the records from an offset on.</summary>
    /// <param name="offset">Where to start; the batch that holds it comes first, whole.</param>
    /// <param name="maxBytes">How much, in bytes.</param>
    /// <param name="maxOffsetExclusive">Nothing at or behind this offset: the high watermark, or the last stable offset;
    /// <see cref="long.MaxValue"/> for a follower.</param>
    /// <param name="minOneMessage">Gives the first batch whole even if it is larger than <paramref name="maxBytes"/>.</param>
    /// <returns>A region of one segment's file, perhaps empty. The caller disposes its records.</returns>
    /// <exception cref="OffsetOutOfRangeException">The offset is before the log's start or behind its end.</exception>
    /// <exception cref="CorruptRecordException">The file is damaged there.</exception>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public ReadResult Read(long offset, int maxBytes, long maxOffsetExclusive, bool minOneMessage)
    {
        Directory.ThrowIfOffline();
        try
        {
            return _reader.Read(offset, maxBytes, maxOffsetExclusive, minOneMessage, _getLogStartOffset);
        }
        catch (IOException exception) when (exception is not StorageException)
        {
            throw Directory.Fail($"reading {Path}", exception);
        }
    }

    /// <summary>Finds the first record whose timestamp is at or above a time.</summary>
    /// <param name="timestamp">ms since 1970.</param>
    /// <returns>The record, or null when all are older. It may lie behind the high watermark.</returns>
    public TimestampOffset? FindOffsetByTimestamp(long timestamp) =>
        Lookup(() => _timestamps.Find(timestamp, LogStartOffset));

    /// <summary>Finds the first record that has the largest timestamp of the log.</summary>
    /// <returns>The record, or null for a log without records.</returns>
    public TimestampOffset? MaxTimestampOffset() => Lookup(() => _timestamps.FindMax(LogStartOffset));

    /// <summary>The aborted transactions that overlap a range, in order of their markers.</summary>
    /// <param name="fromOffset">First offset of the range.</param>
    /// <param name="toOffset">First offset behind it.</param>
    /// <returns>The transactions.</returns>
    public IReadOnlyList<AbortedTransaction> GetAbortedTransactions(long fromOffset, long toOffset)
    {
        var result = new List<AbortedTransaction>();
        var all = _segments.All;
        for (var i = Math.Max(0, SegmentList.Floor(all, fromOffset)); i < all.Length; i++)
        {
            foreach (var transaction in all[i].TransactionIndex.ReadAll())
            {
                if (transaction.LastOffset >= fromOffset && transaction.FirstOffset < toOffset)
                    result.Add(transaction);
                if (transaction.LastStableOffset >= toOffset)
                    return result;
            }
        }

        return result;
    }

    /// <summary>Waits until everything below an offset is on stable storage; many waiters share one flush.</summary>
    /// <param name="offset">For an append, its <see cref="AppendResult.NextOffset"/>.</param>
    /// <returns>Completes at once when that is so already; fails with <see cref="StorageException"/>.</returns>
    public ValueTask FlushUpToAsync(long offset)
    {
        if (offset <= RecoveryPoint)
            return ValueTask.CompletedTask;
        if (Directory.Flusher.IsInline)
        {
            Flush();
            return ValueTask.CompletedTask;
        }

        var round = _flush.NextRound(out var mustEnqueue);
        if (mustEnqueue)
            Directory.Flusher.Enqueue(this);
        return new ValueTask(round);
    }

    /// <summary>Puts everything appended so far on stable storage.</summary>
    /// <exception cref="StorageException">It failed, and the log directory is offline.</exception>
    public void Flush() => _flush.Run(_segments, _end, Path);

    /// <summary>Moves the log's start; segments wholly before it are deleted.</summary>
    /// <param name="offset">The new first offset; nothing happens when the log starts behind it already.</param>
    /// <exception cref="OffsetOutOfRangeException">The offset is behind the log's end.</exception>
    public void DeleteRecordsBefore(long offset)
    {
        IReadOnlyList<LogSegment> removed;
        lock (_lock)
        {
            if (offset > LogEndOffset)
                throw new OffsetOutOfRangeException($"Offset {offset} is behind the end {LogEndOffset} of {TopicPartition}.");
            if (offset <= LogStartOffset)
                return;
            MoveStart(offset);
        }

        // The new start is safe before a file goes, so that a crash cannot bring it back.
        Directory.CheckpointLogStartOffsets();
        lock (_lock)
            removed = RemoveSegmentsBeforeStart();
        _deleteLater(removed, Config.FileDeleteDelayMs);
    }

    /// <summary>Applies retention by log start, time and size.</summary>
    /// <param name="highWatermark">Nothing at or behind it is deleted.</param>
    /// <returns>Number of segments deleted.</returns>
    public int DeleteOldSegments(long highWatermark)
    {
        IReadOnlyList<LogSegment> removed;
        lock (_lock)
        {
            if (_closed || Directory.IsOffline)
                return 0;
            var all = _segments.All;
            var count = Retention.CountDeletable(all, Config, LogStartOffset, LogEndOffset, highWatermark, _context.NowMs);
            if (count == 0)
                return 0;
            if (count == all.Length)
                Roll();
            MoveStart(Math.Max(LogStartOffset, _segments.All[count].BaseOffset));
        }

        Directory.CheckpointLogStartOffsets();
        lock (_lock)
            removed = RemoveSegmentsBeforeStart();
        _deleteLater(removed, Config.FileDeleteDelayMs);
        return removed.Count;
    }

    /// <summary>Cuts the log so that it ends with an offset (a follower whose leader has another history).</summary>
    /// <param name="offset">The new end; the first batch that reaches it goes, too.</param>
    public void TruncateTo(long offset)
    {
        lock (_lock)
        {
            ThrowIfUnusable();
            if (offset >= LogEndOffset)
                return;
            try
            {
                TruncateLocked(Math.Max(offset, LogStartOffset));
            }
            catch (Exception exception) when (IsFailure(exception))
            {
                throw Directory.Fail($"truncating {Path}", exception);
            }
        }
    }

    /// <summary>Changes the configs; they hold from the next append on.</summary>
    /// <param name="config">The new ones.</param>
    public void UpdateConfig(LogConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        Volatile.Write(ref _config, config);
    }

    /// <summary>Starts a new segment if the active one has records.</summary>
    public void RollSegment()
    {
        lock (_lock)
        {
            ThrowIfUnusable();
            Roll();
        }
    }

    /// <summary>Gives a log without <c>partition.metadata</c> its topic id.</summary>
    /// <param name="topicId">The id.</param>
    public void AssignTopicId(Uuid topicId)
    {
        lock (_lock)
        {
            PartitionMetadataFile.Write(_context.Files, Path, topicId);
            TopicId = topicId;
            _flush.NamesChanged(parentToo: true);
        }
    }

    /// <summary>Flushes and closes everything; afterwards the next open needs no scan.</summary>
    public void Close()
    {
        lock (_lock)
        {
            if (_closed)
                return;
            _closed = true;
            try
            {
                if (!Directory.IsOffline)
                    CloseCleanly();
            }
            catch (Exception exception) when (IsFailure(exception))
            {
                Directory.Fail($"closing {Path}", exception);
            }
            finally
            {
                foreach (var segment in _segments.All)
                    segment.Dispose();
            }
        }
    }

    /// <summary>Closes the files without flushing, as a crash or a deletion does.</summary>
    internal void Abandon()
    {
        lock (_lock)
        {
            _closed = true;
            foreach (var segment in _segments.All)
                segment.Dispose();
        }
    }

    /// <summary>Gives the directory another name; reads in flight go on.</summary>
    internal void RenameDirectory(string path)
    {
        lock (_lock)
        {
            _context.Files.Rename(_path, path);
            LeaderEpochs.Moved(path);
            Volatile.Write(ref _path, path);
        }
    }

    /// <summary>One round of the group flusher.</summary>
    internal void RunFlushRound()
    {
        var round = _flush.BeginRound();
        try
        {
            Flush();
            round?.SetResult();
        }
        catch (ObjectDisposedException) when (Volatile.Read(ref _closed))
        {
            round?.SetException(new StorageException($"The log of {TopicPartition} was deleted."));
        }
        catch (Exception exception)
        {
            round?.SetException(exception as StorageException ?? Directory.Fail($"flushing {Path}", exception));
        }
    }

    internal void RemoveExpiredProducers()
    {
        lock (_lock)
            _producers.RemoveExpired(_context.NowMs, _context.ProducerIdExpirationMs);
    }

    private static bool IsFailure(Exception exception) =>
        exception is (IOException or UnauthorizedAccessException) and not StorageException;

    private TimestampOffset? Lookup(Func<TimestampOffset?> find)
    {
        Directory.ThrowIfOffline();
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                return find();
            }
            catch (ObjectDisposedException) when (attempt < 16)
            {
                // A segment was deleted meanwhile; the list of segments has changed by now.
                Thread.Yield();
            }
            catch (IOException exception) when (exception is not StorageException)
            {
                throw Directory.Fail($"reading {Path}", exception);
            }
        }
    }

    private AppendResult AppendPrepared(
        AppendWork work, int leaderEpoch, in AppendOptions options, LogConfig config, long nowMs)
    {
        ThrowIfUnusable();
        if (work.TotalBytes > config.SegmentBytes && options.Origin != AppendOrigin.MetadataLog)
        {
            return AppendResult.Refused(
                AppendError.RecordListTooLarge,
                $"Message batch size is {work.TotalBytes} bytes in append to partition {TopicPartition}, which exceeds "
                    + $"the maximum configured segment size of {config.SegmentBytes}.",
                LogStartOffset);
        }

        var headers = work.Headers;
        var isAppendTime = config.MessageTimestampType == TimestampType.LogAppendTime;
        foreach (ref readonly var header in headers)
        {
            var verdict = _producers.Check(header, options.Origin, out var duplicate, out var problem);
            if (verdict == ProducerVerdict.Duplicate)
                return Duplicate(duplicate, isAppendTime);
            if (verdict != ProducerVerdict.Append)
                return AppendResult.Refused(ErrorOf(verdict), $"{problem} (partition {TopicPartition})", LogStartOffset);
        }

        var first = LogEndOffset;
        var next = first;
        for (var i = 0; i < headers.Length; i++)
        {
            RecordBatchEditor.AssignOffsets(work.Batches[i], next, leaderEpoch);
            headers[i] = headers[i] with { BaseOffset = next, PartitionLeaderEpoch = leaderEpoch };
            next = headers[i].NextOffset;
        }

        Write(work, config, nowMs);
        return new AppendResult
        {
            FirstOffset = first,
            LastOffset = next - 1,
            LogAppendTimeMs = isAppendTime ? nowMs : -1,
            LogStartOffset = LogStartOffset,
            RecordsCount = work.RecordsCount,
            SizeInBytes = work.TotalBytes,
        };
    }

    private AppendResult AppendFetched(AppendWork work)
    {
        ThrowIfUnusable();
        var headers = work.Headers;
        var first = LogEndOffset;
        if (headers.IsEmpty)
        {
            return new AppendResult
            {
                FirstOffset = first, LastOffset = first - 1, LogAppendTimeMs = -1, LogStartOffset = LogStartOffset,
            };
        }

        var next = first;
        foreach (ref readonly var header in headers)
        {
            if (header.BaseOffset < next || header.LastOffsetDelta < 0)
            {
                return AppendResult.Refused(
                    AppendError.CorruptMessage,
                    $"A batch with offsets {header.BaseOffset} to {header.LastOffset} follows offset {next - 1} "
                        + $"(partition {TopicPartition}).",
                    LogStartOffset);
            }

            next = header.NextOffset;
        }

        Write(work, Config, _context.NowMs);
        return new AppendResult
        {
            FirstOffset = headers[0].BaseOffset,
            LastOffset = next - 1,
            LogAppendTimeMs = -1,
            LogStartOffset = LogStartOffset,
            RecordsCount = work.RecordsCount,
            SizeInBytes = work.TotalBytes,
        };
    }

    /// <summary>Writes batches whose offsets are assigned, and moves everything that follows from them.</summary>
    private void Write(AppendWork work, LogConfig config, long nowMs)
    {
        var headers = work.Headers;
        try
        {
            var maxTimestamp = -1L;
            foreach (ref readonly var header in headers)
                maxTimestamp = Math.Max(maxTimestamp, header.MaxTimestamp);
            if (_segments.Active.ShouldRoll(config, work.TotalBytes, maxTimestamp, headers[^1].LastOffset, nowMs))
                Roll();
            var segment = _segments.Active;
            segment.Append(work.BuildGather(), headers, work.TotalBytes, config.IndexIntervalBytes);
            for (var i = 0; i < headers.Length; i++)
                Follow(segment, headers[i], work.Batches[i]);
            _end.Set(headers[^1].NextOffset, segment, segment.SizeInBytes);
        }
        catch (Exception exception) when (IsFailure(exception))
        {
            throw Directory.Fail($"appending to {Path}", exception);
        }

        _context.Metrics.Appended(work.TotalBytes, work.RecordsCount);
    }

    private void Follow(LogSegment segment, in RecordBatchHeader header, in ReadOnlySequence<byte> bytes)
    {
        LeaderEpochs.Assign(header.PartitionLeaderEpoch, header.BaseOffset);
        if (!header.IsControl)
            _producers.Append(header);
        else if (Markers.Follow(_producers, header, bytes, _context) is { } aborted)
            segment.TransactionIndex.Append(aborted);
    }

    private AppendResult Duplicate(in ProducedBatch batch, bool isAppendTime) => new()
    {
        FirstOffset = batch.FirstOffset,
        LastOffset = batch.LastOffset,
        LogAppendTimeMs = isAppendTime ? batch.Timestamp : -1,
        LogStartOffset = LogStartOffset,
        IsDuplicate = true,
    };

    private static AppendError ErrorOf(ProducerVerdict verdict) => verdict == ProducerVerdict.FencedEpoch
        ? AppendError.InvalidProducerEpoch
        : AppendError.OutOfOrderSequenceNumber;

    private void Roll()
    {
        var active = _segments.Active;
        var offset = LogEndOffset;
        if (active.SizeInBytes == 0 && active.BaseOffset == offset)
            return;
        active.SealIndexes();
        var snapshot = TakeSnapshot(offset);
        _flush.AddSealed(active, snapshot);
        var segment = LogSegment.Create(_context.Files, _path, offset, _context.NowMs, _context.RollJitterMs(Config));
        _segments.Add(segment);
        _end.Set(offset, segment, 0);
        _context.Metrics.Rolled();
        // Inline flushers run nothing here: the append that rolls must not wait for the disk.
        if (!Directory.Flusher.IsInline && _flush.TryQueue())
            Directory.Flusher.Enqueue(this);
    }

    private string? TakeSnapshot(long offset)
    {
        if (offset <= _lastSnapshotOffset || offset == 0)
            return null;
        var path = SegmentPaths.Of(_path, offset, SegmentPaths.Snapshot);
        ProducerSnapshotFile.Write(_context.Files, path, _producers.ToSnapshot());
        _lastSnapshotOffset = offset;
        return path;
    }

    private void CloseCleanly()
    {
        var active = _segments.Active;
        active.SealIndexes();
        _flush.AddSealed(active, TakeSnapshot(LogEndOffset));
        _flush.Run(_segments, _end, _path);
    }

    private void MoveStart(long offset)
    {
        Volatile.Write(ref _logStartOffset, offset);
        LeaderEpochs.TruncateFromStart(offset);
    }

    /// <summary>Takes the segments that end at or before the log's start out of the list.</summary>
    private IReadOnlyList<LogSegment> RemoveSegmentsBeforeStart()
    {
        var all = _segments.All;
        var count = 0;
        while (count < all.Length - 1 && all[count + 1].BaseOffset <= LogStartOffset)
            count++;
        if (count == 0)
            return [];
        var removed = all[..count];
        _segments.Replace(all[count..]);
        try
        {
            foreach (var segment in removed)
            {
                segment.RenameWithSuffix(SegmentPaths.Deleted);
                _context.Files.DeleteFile(SegmentPaths.Of(_path, segment.BaseOffset, SegmentPaths.Snapshot));
            }
        }
        catch (Exception exception) when (IsFailure(exception))
        {
            throw Directory.Fail($"deleting segments of {Path}", exception);
        }

        _flush.NamesChanged();
        return removed;
    }

    private void TruncateLocked(long offset)
    {
        var place = _reader.Translate(offset);
        var newEnd = offset;
        if (place.Segment.TryFindBatch(offset, place.Segment.SizeInBytes, out var position, out var header))
            newEnd = Math.Min(offset, header.BaseOffset);
        // A recovery point behind the end would look like damage after a crash.
        _flush.Reset(Math.Min(RecoveryPoint, newEnd));
        Directory.CheckpointRecoveryPoints();
        var all = _segments.All;
        var keep = Math.Max(0, Array.IndexOf(all, place.Segment));
        _segments.Replace(all[..(keep + 1)]);
        foreach (var segment in all[(keep + 1)..])
            DeleteNow(segment);
        place.Segment.TruncateTo(position, newEnd);
        LeaderEpochs.TruncateFromEnd(newEnd);
        _end.Reset(newEnd, place.Segment, position);
        new ProducerReplay(_context, _path, _producers).Run(_segments.All, newEnd, newEnd);
        _lastSnapshotOffset = -1;
        _flush.NamesChanged();
    }

    private void DeleteNow(LogSegment segment)
    {
        segment.Dispose();
        _context.Files.DeleteFile(segment.File.Path);
        _context.Files.DeleteFile(segment.OffsetIndex.Path);
        _context.Files.DeleteFile(segment.TimeIndex.Path);
        _context.Files.DeleteFile(segment.TransactionIndex.Path);
        _context.Files.DeleteFile(SegmentPaths.Of(_path, segment.BaseOffset, SegmentPaths.Snapshot));
    }

    private void FlushIfDue(LogConfig config)
    {
        if (config.FlushMessages != long.MaxValue && LogEndOffset - RecoveryPoint >= config.FlushMessages)
            Flush();
    }

    private void ThrowIfUnusable()
    {
        Directory.ThrowIfOffline();
        if (_closed)
            throw new StorageException($"The log of {TopicPartition} is closed.");
    }
}
