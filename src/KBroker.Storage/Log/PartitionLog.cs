using System.Buffers;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Crashing;
using KBroker.Storage.Log;
using KBroker.Storage.Segments;

namespace KBroker.Storage;

/// <summary>
/// The log of one partition: a directory of segments, appended to at the end, read anywhere. Any thread may call
/// anything; appends are ordered by one lock, reads take none of it.
/// </summary>
/// <remarks>
/// An append checks and patches the caller's buffer, and hands it to the kernel in one gather write; the records
/// are never
/// copied. A read finds a region of a file; the records are never read. Both offsets that matter move
/// only when the bytes are in their place: <see cref="LogEndOffset"/> after the write,
/// <see cref="RecoveryPoint"/> after the flush.
/// </remarks>
public sealed class PartitionLog
{
    private readonly LogState _state;
    private readonly LogWriter _writer;
    private readonly LogTrimmer _trimmer;
    private readonly LeaderValidator _validator;
    private readonly TimestampLookup _timestamps;
    private readonly Func<long> _getLogStartOffset;

    internal PartitionLog(PartitionLogParts parts)
    {
        _state = new LogState(parts);
        _writer = new LogWriter(_state, this);
        _trimmer = new LogTrimmer(_state, _writer);
        _validator = new LeaderValidator(this, parts.Partition, parts.Context);
        _timestamps = new TimestampLookup(
            _state.Segments, parts.Context.Codecs, parts.Context.MaxDecompressedBytes);
        _getLogStartOffset = () => _state.StartOffset;
        TopicId = parts.TopicId;
        Flagged = new FlaggedBatches(this, _state);
    }

    /// <summary>What is hidden from consumers, and the batches that the broker has marked.</summary>
    public FlaggedBatches Flagged { get; }

    /// <summary>
    /// Who saves what is needed of the log's beginning. Without one, segments with flagged batches are not deleted by
    /// retention.
    /// </summary>
    public ILogStartGuard? StartGuard
    {
        get => _state.StartGuard;
        set => _state.StartGuard = value;
    }

    /// <summary>Which partition.</summary>
    public TopicPartition TopicPartition => _state.Partition;

    /// <summary>Id of the topic, from <c>partition.metadata</c>; zero when the file is missing.</summary>
    public Uuid TopicId { get; private set; }

    /// <summary>The log directory that it lies in.</summary>
    public LogDirectory Directory => _state.Directory;

    /// <summary>Full path of the partition's directory; changes when the log is deleted.</summary>
    public string Path => _state.Path;

    /// <summary>The topic's configs.</summary>
    public LogConfig Config => _state.Config;

    /// <summary>The first offset that may be read.</summary>
    public long LogStartOffset => _state.StartOffset;

    /// <summary>The start that a checkpoint written now must tell.</summary>
    internal long LogStartOffsetToCheckpoint => _state.AnnouncedStartOffset;

    /// <summary>The offset that the next record gets.</summary>
    public long LogEndOffset => _state.End.Offset;

    /// <summary>Everything below this offset is on stable storage.</summary>
    public long RecoveryPoint => _state.Flush.RecoveryPoint;

    /// <summary>Its writing half, for who moves it to another directory.</summary>
    internal LogWriter Writer => _writer;

    /// <summary>
    /// Whether a copy is being made in another log directory. Compaction leaves such a log alone: a copy that has a
    /// key's old record, and then misses its tombstone because both were compacted away meanwhile, would bring the key
    /// back.
    /// </summary>
    public bool IsBeingMoved
    {
        get => _state.IsBeingMoved;
        internal set => _state.IsBeingMoved = value;
    }

    /// <summary>When the last flush ended, ms.</summary>
    internal long LastFlushMs => _state.Flush.LastFlushMs;

    /// <summary>The leader epochs and where each begins.</summary>
    public EpochCache LeaderEpochs => _state.Epochs;

    /// <summary>Bytes of all segments' log files.</summary>
    public long SizeInBytes => _state.Segments.All.Sum(static s => (long)s.SizeInBytes);

    /// <summary>Base offset of the oldest segment.</summary>
    internal long FirstSegmentOffset => _state.Segments.All[0].BaseOffset;

    /// <summary>What the parts of the log share; compaction is one of them.</summary>
    internal LogState State => _state;

    /// <summary>Number of segments.</summary>
    public int SegmentCount => _state.Segments.All.Length;

    /// <summary>
    /// First offset of the oldest transaction that is still open; null without one. Together with the high watermark it
    /// bounds what a read_committed consumer may see.
    /// </summary>
    public long? FirstUnstableOffset => _state.FirstUnstableOffset;

    /// <summary>What is known of the producers that wrote here, for DescribeProducers.</summary>
    /// <returns>A copy of the moment.</returns>
    public IReadOnlyList<ActiveProducer> GetActiveProducers()
    {
        lock (_state.Lock)
        {
            return [.. _state.Producers.All.Select(static p => new ActiveProducer(
                p.ProducerId,
                p.Epoch,
                p.Last.LastSequence,
                p.LastTimestamp,
                p.CoordinatorEpoch,
                p.CurrentTransactionFirstOffset ?? -1))];
        }
    }

    /// <summary>
    /// Begins to verify with the transaction coordinator that this partition is in a producer's open transaction
    /// (KIP-890). Whoever asks, asks the coordinator afterwards, and gives the question to the append
    /// (<see cref="AppendOptions.Verification"/>); a marker appended meanwhile makes it void.
    /// </summary>
    /// <param name="producerId">The producer.</param>
    /// <param name="epoch">Its epoch.</param>
    /// <param name="sequence">First sequence of the batch that is to be appended.</param>
    /// <param name="isEpochBumped">Whether the client's epoch rises with each transaction.</param>
    /// <returns>Null when the transaction has records here already: then nobody needs to be asked.</returns>
    public TransactionVerification? BeginVerification(long producerId, short epoch, int sequence, bool isEpochBumped)
    {
        using (_state.EnterForChange())
        {
            return _state.Producers.BeginVerification(
                producerId, epoch, sequence, isEpochBumped, _state.Context.NowMs);
        }
    }

    /// <summary>Whether a producer's transactional records may be appended now.</summary>
    /// <param name="producerId">The producer.</param>
    /// <param name="epoch">Its epoch.</param>
    /// <param name="verification">The question that was answered with consent, or null.</param>
    /// <returns>True when its transaction is open here, or no marker came since the question.</returns>
    public bool IsInTransaction(long producerId, short epoch, TransactionVerification? verification)
    {
        using (_state.EnterForChange())
            return _state.Producers.IsInTransaction(producerId, epoch, verification);
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
        var work = _state.Context.RentWork();
        try
        {
            var config = Config;
            var nowMs = _state.Context.NowMs;
            if (_validator.Prepare(work, records, config, options, nowMs) is { } refusal)
                return AppendResult.Refused(refusal.Error, refusal.Message, LogStartOffset, refusal.RecordErrors);
            AppendResult result;
            using (_state.EnterForChange())
                result = _writer.AppendPrepared(work, leaderEpoch, options, config, nowMs);
            FlushIfDue(config);
            return result;
        }
        finally
        {
            _state.Context.Return(work);
        }
    }

    /// <summary>Appends what was fetched from the leader: offsets and epochs are kept.</summary>
    /// <param name="records">Record batches; an incomplete one at the end is left out.</param>
    /// <returns>The offsets, or why nothing was stored.</returns>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public AppendResult AppendAsFollower(in ReadOnlySequence<byte> records)
    {
        var work = _state.Context.RentWork();
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
            using (_state.EnterForChange())
                result = _writer.AppendFetched(work);
            FlushIfDue(Config);
            return result;
        }
        finally
        {
            _state.Context.Return(work);
        }

        AppendResult Corrupt(string message) =>
            AppendResult.Refused(AppendError.CorruptMessage, $"{message} (partition {TopicPartition})", LogStartOffset);
    }

    /// <summary>Finds the records from an offset on.</summary>
    /// <param name="offset">Where to start; the batch that holds it comes first, whole.</param>
    /// <param name="maxBytes">How much, in bytes.</param>
    /// <param name="maxOffsetExclusive">Nothing at or behind this offset: the high watermark, or the last stable
    /// offset;
    /// <see cref="long.MaxValue"/> for a follower.</param>
    /// <param name="minOneMessage">Gives the first batch whole even if it is larger than <paramref
    /// name="maxBytes"/>.</param>
    /// <returns>A region of one segment's file, perhaps empty. The caller disposes its records.</returns>
    /// <exception cref="OffsetOutOfRangeException">The offset is before the log's start or behind its end.</exception>
    /// <exception cref="CorruptRecordException">The file is damaged there.</exception>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public ReadResult Read(long offset, int maxBytes, long maxOffsetExclusive, bool minOneMessage)
    {
        Directory.ThrowIfOffline();
        try
        {
            return _state.Reader.Read(offset, maxBytes, maxOffsetExclusive, minOneMessage, _getLogStartOffset);
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
    public IReadOnlyList<AbortedTransaction> GetAbortedTransactions(long fromOffset, long toOffset) =>
        GetAbortedTransactions(_state.Segments.All, fromOffset, toOffset);

    /// <summary>The aborted transactions of which records may be in what a read found.</summary>
    /// <param name="fromOffset">The offset that was read from.</param>
    /// <param name="read">What was found.</param>
    /// <returns>The transactions, in order of their markers.</returns>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public IReadOnlyList<AbortedTransaction> GetAbortedTransactions(long fromOffset, in ReadResult read)
    {
        if (read.Region is not { } region)
            return [];
        var all = region.Segments;
        try
        {
            for (var i = Math.Max(0, SegmentList.Floor(all, fromOffset)); i < all.Length; i++)
                if (!all[i].TransactionIndex.IsEmpty)
                    return GetAbortedTransactions(all, fromOffset, region.OffsetBound);
            return [];
        }
        catch (IOException exception) when (exception is not StorageException)
        {
            throw Directory.Fail($"reading {Path}", exception);
        }
    }

    private static List<AbortedTransaction> GetAbortedTransactions(
        LogSegment[] all, long fromOffset, long toOffset)
    {
        var result = new List<AbortedTransaction>();
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

        var round = _state.Flush.NextRound(out var mustEnqueue);
        if (mustEnqueue)
            Directory.Flusher.Enqueue(this);
        return new ValueTask(round);
    }

    /// <summary>Puts everything appended so far on stable storage.</summary>
    /// <exception cref="StorageException">It failed, and the log directory is offline.</exception>
    public void Flush() => _state.Flush.Run(_state);

    /// <summary>Asks the directory's flusher to put everything appended so far on stable storage soon.</summary>
    internal void FlushSoon()
    {
        if (_state.Flush.TryQueue())
            Directory.Flusher.Enqueue(this);
    }

    /// <summary>Moves the log's start; segments wholly before it are deleted.</summary>
    /// <param name="offset">The new first offset; nothing happens when the log starts behind it already.</param>
    /// <exception cref="OffsetOutOfRangeException">The offset is behind the log's end.</exception>
    public void DeleteRecordsBefore(long offset)
    {
        _trimmer.DeleteRecordsBefore(offset);
    }

    /// <summary>Applies retention by log start, time and size.</summary>
    /// <param name="highWatermark">Nothing at or behind it is deleted.</param>
    /// <returns>Number of segments deleted.</returns>
    public int DeleteOldSegments(long highWatermark)
    {
        return _trimmer.DeleteOldSegments(highWatermark);
    }

    /// <summary>Cuts the log so that it ends with an offset (a follower whose leader has another history).</summary>
    /// <param name="offset">The new end; the first batch that reaches it goes, too.</param>
    public void TruncateTo(long offset)
    {
        using var pause = _state.Cleaning.PauseAndWait();
        using (_state.EnterForChange())
        {
            _state.ThrowIfUnusable();
            if (offset >= LogEndOffset)
                return;
            try
            {
                // A flush that ends later would move the recovery point behind the new end.
                _state.Flush.BetweenFlushes(() => _trimmer.TruncateTo(Math.Max(offset, LogStartOffset)));
            }
            catch (Exception exception) when (LogState.IsFailure(exception))
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
        var stopsCompaction = _state.Config.IsCompacted && !config.IsCompacted;
        _state.Config = config;
        if (stopsCompaction)
            _state.Cleaning.PauseAndWait().Dispose();
    }

    /// <summary>Starts a new segment if the active one has records.</summary>
    public void RollSegment()
    {
        using (_state.EnterForChange())
        {
            _state.ThrowIfUnusable();
            _trimmer.RollActive();
        }
    }

    /// <summary>Gives a log without <c>partition.metadata</c> its topic id.</summary>
    /// <param name="topicId">The id.</param>
    public void AssignTopicId(Uuid topicId)
    {
        lock (_state.Lock)
        {
            PartitionMetadataFile.Write(_state.Context.Files, Path, topicId);
            TopicId = topicId;
            _state.Flush.NamesChanged(parentToo: true);
        }
    }

    /// <summary>Flushes and closes everything; afterwards the next open needs no scan.</summary>
    public void Close()
    {
        PrepareClose();
        FinishClose();
    }

    /// <summary>The second part: flushes what nobody has flushed meanwhile, and closes the files.</summary>
    internal void FinishClose()
    {
        try
        {
            if (!Directory.IsOffline)
                Flush();
        }
        catch (StorageException)
        {
            // The directory is offline now, and it was logged.
        }
        catch (ObjectDisposedException)
        {
            // The log was closed before.
        }

        Abandon();
    }

    /// <summary>
    /// The first part of a close, for many logs that are flushed together before <see cref="FinishClose"/>: lets nobody
    /// append any more, and writes indexes and producer state.
    /// </summary>
    /// <returns>Whether there is anything to flush.</returns>
    internal bool PrepareClose()
    {
        using var pause = _state.Cleaning.PauseAndWait();
        lock (_state.Lock)
        {
            if (_state.IsClosed)
                return false;
            _state.IsClosed = true;
            try
            {
                return !Directory.IsOffline && _writer.PrepareClose();
            }
            catch (Exception exception) when (LogState.IsFailure(exception))
            {
                Directory.Fail($"closing {Path}", exception);
                return false;
            }
        }
    }

    /// <summary>Closes the files without flushing, as a crash or a deletion does.</summary>
    internal void Abandon()
    {
        using var pause = _state.Cleaning.PauseAndWait();
        lock (_state.Lock)
        {
            _state.IsClosed = true;
            _state.Flush.Stop();
            foreach (var segment in _state.Segments.All)
                segment.Dispose();
        }
    }

    /// <summary>Gives the directory another name; reads in flight go on.</summary>
    internal void RenameDirectory(string path)
    {
        using var pause = _state.Cleaning.PauseAndWait();
        lock (_state.Lock)
        {
            // Files are opened when they are used, which may be at this moment.
            var segments = _state.Segments.All;
            foreach (var segment in segments)
                segment.BeginMove();
            try
            {
                _state.Flush.BetweenFlushes(() =>
                {
                    _state.Context.Files.Rename(_state.Path, path);
                    LeaderEpochs.Moved(path);
                    _state.Path = path;
                });
            }
            finally
            {
                foreach (var segment in segments)
                    segment.EndMove(_state.Path);
            }
        }
    }

    /// <summary>One round of the group flusher.</summary>
    internal void RunFlushRound()
    {
        var round = _state.Flush.BeginRound();
        try
        {
            Flush();
            CrashPoint.Reached("flush.before-ack");
            round?.SetResult();
        }
        catch (ObjectDisposedException) when (_state.IsClosed)
        {
            round?.SetException(Deleted());
        }
        catch (Exception exception)
        {
            round?.SetException(exception as StorageException ?? Directory.Fail($"flushing {Path}", exception));
        }
    }

    /// <summary>What whoever waits for a flush of a log that is gone is told.</summary>
    internal StorageException Deleted() => new($"The log of {TopicPartition} was deleted.");

    internal void RemoveExpiredProducers()
    {
        lock (_state.Lock)
            _state.Producers.RemoveExpired(_state.Context.NowMs, _state.Context.ProducerIdExpirationMs);
    }

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

    private void FlushIfDue(LogConfig config)
    {
        if (config.FlushMessages != long.MaxValue && LogEndOffset - RecoveryPoint >= config.FlushMessages)
            Flush();
    }
}
