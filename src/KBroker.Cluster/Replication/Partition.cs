using System.Buffers;
using System.Collections.Immutable;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Cluster.Replication;

/// <summary>
/// One replica of a partition on this broker: the log, and what the cluster says about it (leader and epoch, in-sync
/// replicas, high watermark). Every append and read of the partition comes through here, from Produce and Fetch as from
/// the coordinators.
/// </summary>
/// <remarks>
/// The high watermark is the lowest log end among the in-sync replicas. With this broker alone in the ISR it follows
/// the log end, at once; a consumer never sees past it.
/// </remarks>
public sealed class Partition
{
    private readonly int _brokerId;
    private readonly IPartitionListener _listener;
    private volatile Leadership _leadership;
    private PartitionLog _log;
    private long _highWatermark;
    private int _minInSyncReplicas = 1;
    private bool _isStopped;
    private ImmutableArray<IPartitionObserver> _observers = [];

    /// <summary>Creates the replica; <see cref="Update"/> then tells it who leads.</summary>
    /// <param name="topicPartition">Its name.</param>
    /// <param name="topicId">Its topic's id.</param>
    /// <param name="log">Its log.</param>
    /// <param name="brokerId">This broker's id.</param>
    /// <param name="listener">Whom to tell of events.</param>
    public Partition(
        TopicPartition topicPartition, Uuid topicId, PartitionLog log, int brokerId, IPartitionListener listener)
    {
        TopicPartition = topicPartition;
        TopicId = topicId;
        _log = log;
        _brokerId = brokerId;
        _listener = listener;
        _leadership = new Leadership(PartitionImage.NoLeader, -1, -1, [], 0);
        _highWatermark = log.LogStartOffset;
    }

    /// <summary>The topic's name and the partition's index.</summary>
    public TopicPartition TopicPartition { get; }

    /// <summary>The topic's id.</summary>
    public Uuid TopicId { get; }

    /// <summary>
    /// The log. Appends and reads of records go through the partition, not to it. A move to another log directory
    /// replaces it.
    /// </summary>
    public PartitionLog Log => Volatile.Read(ref _log);

    /// <summary>Whether its log directory has failed: everything is answered with KAFKA_STORAGE_ERROR.</summary>
    public bool IsOffline => Log.Directory.IsOffline;

    /// <summary>The id of the broker that leads, or -1.</summary>
    public int LeaderId => _leadership.LeaderId;

    /// <summary>The leader epoch: every new leader has a higher one, and every append carries it.</summary>
    public int LeaderEpoch => _leadership.LeaderEpoch;

    /// <summary>The partition epoch: rises with every change of ISR or leader.</summary>
    public int PartitionEpoch => _leadership.PartitionEpoch;

    /// <summary>The ids of the in-sync replicas.</summary>
    public ImmutableArray<int> Isr => _leadership.Isr;

    /// <summary>Whether this broker leads the partition.</summary>
    public bool IsLeader => _leadership.LeaderId == _brokerId && !Volatile.Read(ref _isStopped);

    /// <summary>The offset below which every in-sync replica has all records: consumers see up to it.</summary>
    public long HighWatermark => Volatile.Read(ref _highWatermark);

    /// <summary>The offset below which no transaction is open: read_committed consumers see up to it.</summary>
    public long LastStableOffset => Math.Min(HighWatermark, Log.FirstUnstableOffset ?? long.MaxValue);

    /// <summary>
    /// <c>min.insync.replicas</c>: the fewest in-sync replicas for an append with acks=all. A partition with fewer
    /// replicas than that needs all of them.
    /// </summary>
    public int MinInSyncReplicas
    {
        get => Volatile.Read(ref _minInSyncReplicas);
        set => Volatile.Write(ref _minInSyncReplicas, value);
    }

    /// <summary>Whether there are enough in-sync replicas for acks=all.</summary>
    public bool HasEnoughInSyncReplicas => _leadership.HasEnoughInSync(MinInSyncReplicas);

    /// <summary>Tells an observer of every change from now on.</summary>
    /// <param name="observer">Not yet subscribed.</param>
    public void Subscribe(IPartitionObserver observer) =>
        ImmutableInterlocked.Update(ref _observers, static (all, added) => all.Add(added), observer);

    /// <summary>Tells an observer no more; a call under way may still reach it.</summary>
    /// <param name="observer">Ignored when it is not subscribed.</param>
    public void Unsubscribe(IPartitionObserver observer) =>
        ImmutableInterlocked.Update(ref _observers, static (all, gone) => all.Remove(gone), observer);

    /// <summary>Takes over what the metadata says about leader, epochs and ISR.</summary>
    /// <param name="image">The partition in the newest metadata.</param>
    public void Update(PartitionImage image)
    {
        var wasLeader = IsLeader;
        _leadership = new Leadership(
            image.Leader, image.LeaderEpoch, image.PartitionEpoch, image.Isr, image.Replicas.Length);
        if (IsLeader)
            AdvanceHighWatermark();
        else if (wasLeader)
            _listener.OnLeadershipLost(this);
        NotifyObservers();
    }

    /// <summary>
    /// Takes the log in another directory for the one that was moved there; the old one may be read until its caller
    /// has closed it.
    /// </summary>
    /// <param name="log">The same records in the other directory.</param>
    public void ReplaceLog(PartitionLog log)
    {
        ArgumentNullException.ThrowIfNull(log);
        var old = Interlocked.Exchange(ref _log, log);
        // A change of the configs may have met the old log meanwhile.
        log.UpdateConfig(old.Config);
    }

    /// <summary>Ends service: the partition was deleted or its directory failed. Whatever waits is told.</summary>
    public void Stop()
    {
        Volatile.Write(ref _isStopped, true);
        _listener.OnLeadershipLost(this);
        NotifyObservers();
    }

    /// <summary>Checks the leader epoch a client believes in (KIP-320).</summary>
    /// <param name="epoch">The client's epoch, or -1 when it does not say.</param>
    /// <returns>KAFKA_STORAGE_ERROR, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, or
    /// none.</returns>
    public ErrorCode CheckLeader(int epoch)
    {
        var leadership = _leadership;
        if (IsOffline && !Volatile.Read(ref _isStopped))
            return ErrorCode.KafkaStorageError;
        if (epoch >= 0 && epoch < leadership.LeaderEpoch)
            return ErrorCode.FencedLeaderEpoch;
        if (epoch > leadership.LeaderEpoch)
            return ErrorCode.UnknownLeaderEpoch;
        return IsLeader ? ErrorCode.None : ErrorCode.NotLeaderOrFollower;
    }

    /// <summary>
    /// Begins to verify that the partition is in a producer's open transaction; see
    /// <see cref="PartitionLog.BeginVerification"/>.
    /// </summary>
    /// <param name="batch">Header of the transactional batch that is to be appended.</param>
    /// <param name="isEpochBumped">Whether the client's epoch rises with each transaction (KIP-890).</param>
    /// <returns>Null when the transaction has records here already.</returns>
    public TransactionVerification? BeginVerification(in RecordBatchHeader batch, bool isEpochBumped) =>
        Log.BeginVerification(batch.ProducerId, batch.ProducerEpoch, batch.BaseSequence, isEpochBumped);

    /// <summary>Appends record batches as the leader and lets the high watermark follow.</summary>
    /// <param name="records">The batches; offsets and epochs are written into this very buffer.</param>
    /// <param name="requiredAcks">-1 asks for <see cref="MinInSyncReplicas"/> in-sync replicas.</param>
    /// <param name="options">Who appends.</param>
    /// <returns>What became of it; no exception for bad records or a failed directory.</returns>
    public PartitionAppend AppendAsLeader(
        in ReadOnlySequence<byte> records, short requiredAcks, in AppendOptions options)
    {
        var leadership = _leadership;
        if (!IsLeader)
            return PartitionAppend.Refused(CheckLeader(-1));
        if (requiredAcks == -1 && !leadership.HasEnoughInSync(MinInSyncReplicas))
        {
            return PartitionAppend.Refused(
                ErrorCode.NotEnoughReplicas,
                $"The size of the current ISR {leadership.Isr.Length} is insufficient to satisfy the "
                + $"min.insync.replicas requirement of {Math.Min(MinInSyncReplicas, leadership.ReplicasCount)} for "
                + $"partition {TopicPartition}");
        }

        while (true)
        {
            try
            {
                var result = Log.AppendAsLeader(records, leadership.LeaderEpoch, options);
                if (result.IsSuccess && !result.IsDuplicate)
                {
                    AdvanceHighWatermark();
                    NotifyObservers();
                }

                return new PartitionAppend((ErrorCode)result.Error, result, result.ErrorMessage);
            }
            catch (LogMovedException)
            {
                // Nothing was appended; the log in the other directory takes it.
            }
            catch (StorageException failure)
            {
                // A log that was deleted while the append was on its way is closed: that is not the disk's fault.
                var error = CheckLeader(-1);
                return error is ErrorCode.None or ErrorCode.KafkaStorageError
                    ? PartitionAppend.Refused(ErrorCode.KafkaStorageError, failure.Message)
                    : PartitionAppend.Refused(error);
            }
        }
    }

    /// <summary>Whether every in-sync replica has all records below an offset.</summary>
    /// <param name="offset">The offset after the last record.</param>
    /// <returns>True when acks=all is satisfied as far as replication goes.</returns>
    public bool IsReplicated(long offset) => HighWatermark >= offset;

    /// <summary>
    /// Waits until the records below an offset are on stable storage, sharing one flush with everybody who waits
    /// (<c>kbroker.flush.acks.all</c>; done at once where that is off).
    /// </summary>
    /// <param name="offset">The offset after the last record.</param>
    /// <returns>Done when they are; a <see cref="StorageException"/> when the flush failed.</returns>
    public ValueTask WaitDurableAsync(long offset) =>
        Log.Config.FlushAcksAll ? Log.FlushUpToAsync(offset) : ValueTask.CompletedTask;

    /// <summary>Plans a read: whole batches, as file regions.</summary>
    /// <param name="offset">The first offset wanted.</param>
    /// <param name="maxBytes">The most bytes.</param>
    /// <param name="limit">How far the reader may see.</param>
    /// <param name="currentLeaderEpoch">The reader's idea of the leader epoch, or -1.</param>
    /// <param name="lastFetchedEpoch">The epoch of the follower's last record, or -1 (KIP-595).</param>
    /// <param name="minOneMessage">Whether a first batch larger than <paramref name="maxBytes"/> is given
    /// whole.</param>
    /// <param name="hiddenTo">Where an earlier read of a consumer from this offset found the hidden records to end
    /// (<see cref="PartitionRead.HiddenTo"/>); -1 without one.</param>
    /// <returns>The regions and the partition's offsets, or an error.</returns>
    public PartitionRead Read(
        long offset,
        int maxBytes,
        ReadLimit limit,
        int currentLeaderEpoch,
        int lastFetchedEpoch,
        bool minOneMessage,
        long hiddenTo = -1)
    {
        var error = CheckLeader(currentLeaderEpoch);
        if (error != ErrorCode.None)
            return PartitionRead.Failed(error);

        var log = Log;
        try
        {
            if (lastFetchedEpoch >= 0 && FindDivergence(offset, lastFetchedEpoch) is { } diverging)
                return Offsets() with { Diverging = diverging };

            // The watermark is taken before the read: what the answer says may be older than its records, never newer.
            var offsets = Offsets();
            var end = limit switch
            {
                ReadLimit.LastStableOffset => offsets.LastStableOffset,
                ReadLimit.HighWatermark => offsets.HighWatermark,
                _ => log.LogEndOffset,
            };
            if (offset < offsets.LogStartOffset || offset > log.LogEndOffset)
                return PartitionRead.Failed(ErrorCode.OffsetOutOfRange);
            if (offset >= end || (maxBytes <= 0 && !minOneMessage))
                return offsets;
            if (limit == ReadLimit.LogEnd)
                return offsets with { Records = log.Read(offset, maxBytes, end, minOneMessage).Records };
            var visible = log.Flagged.ReadVisible(offset, hiddenTo, maxBytes, end, minOneMessage);
            return offsets with
            {
                Records = visible.Read.Records,
                HiddenTo = visible.HiddenTo,
                IsCut = visible.IsCut,
                IsFiller = visible.IsFiller,
                AbortedTransactions =
                    limit == ReadLimit.LastStableOffset ? AbortedIn(log, offset, visible.Read) : [],
            };
        }
        catch (OffsetOutOfRangeException)
        {
            return PartitionRead.Failed(ErrorCode.OffsetOutOfRange);
        }
        catch (ObjectDisposedException) when (log != Log)
        {
            // It was moved to another directory, and the old one is closed.
            return Read(offset, maxBytes, limit, currentLeaderEpoch, lastFetchedEpoch, minOneMessage, hiddenTo);
        }
        catch (ObjectDisposedException) when (!IsLeader)
        {
            return PartitionRead.Failed(ErrorCode.NotLeaderOrFollower);
        }
        catch (RecordException failure)
        {
            return PartitionRead.Failed((ErrorCode)failure.Kind);
        }
        catch (IOException)
        {
            // A damaged file, or a directory that failed; storage has logged which.
            return PartitionRead.Failed(ErrorCode.KafkaStorageError);
        }
    }

    /// <summary>Finds the offset that ListOffsets asks for.</summary>
    /// <param name="timestamp">Epoch milliseconds, or one of <see cref="SpecialTimestamps"/>.</param>
    /// <param name="limit">How far the client may see.</param>
    /// <param name="currentLeaderEpoch">The client's idea of the leader epoch, or -1.</param>
    /// <returns>The offset; -1 when no record is that new.</returns>
    public PartitionOffset FindOffset(long timestamp, ReadLimit limit, int currentLeaderEpoch)
    {
        var error = CheckLeader(currentLeaderEpoch);
        if (error != ErrorCode.None)
            return PartitionOffset.Failed(error);
        var end = limit switch
        {
            ReadLimit.LastStableOffset => LastStableOffset,
            ReadLimit.HighWatermark => HighWatermark,
            _ => Log.LogEndOffset,
        };
        var log = Log;
        try
        {
            return timestamp switch
            {
                SpecialTimestamps.Latest => new(ErrorCode.None, -1, end, LeaderEpoch),
                SpecialTimestamps.Earliest or SpecialTimestamps.EarliestLocal =>
                    new(ErrorCode.None, -1, Log.LogStartOffset, EpochOf(Log.LogStartOffset)),
                SpecialTimestamps.LatestTiered or SpecialTimestamps.EarliestPendingUpload =>
                    new(ErrorCode.None, -1, -1, -1),
                SpecialTimestamps.MaxTimestamp => Found(log.MaxTimestampOffset(), end),
                _ => Found(log.FindOffsetByTimestamp(timestamp), end),
            };
        }
        catch (ObjectDisposedException) when (log != Log)
        {
            return FindOffset(timestamp, limit, currentLeaderEpoch);
        }
        catch (ObjectDisposedException) when (!IsLeader)
        {
            return PartitionOffset.Failed(ErrorCode.NotLeaderOrFollower);
        }
        catch (RecordException failure)
        {
            return PartitionOffset.Failed((ErrorCode)failure.Kind);
        }
        catch (IOException)
        {
            return PartitionOffset.Failed(ErrorCode.KafkaStorageError);
        }
    }

    /// <summary>Finds where an epoch ended, for clients that check for truncation (KIP-320).</summary>
    /// <param name="epoch">The epoch asked for.</param>
    /// <param name="currentLeaderEpoch">The client's idea of the leader epoch, or -1.</param>
    /// <param name="endOffset">The epoch found, at most the one asked for, and the offset after its last
    /// record.</param>
    /// <returns>The error, or none.</returns>
    public ErrorCode FindEpochEnd(int epoch, int currentLeaderEpoch, out EpochEndOffset endOffset)
    {
        endOffset = EpochEndOffset.Unknown;
        var error = CheckLeader(currentLeaderEpoch);
        if (error == ErrorCode.None)
            endOffset = EndOf(epoch);
        return error;
    }

    /// <summary>Moves the log start offset up, so that earlier records are gone for every reader.</summary>
    /// <param name="offset">The new first offset, or -1 for the high watermark.</param>
    /// <param name="lowWatermark">The log start offset afterwards, or -1 after an error.</param>
    /// <returns>OFFSET_OUT_OF_RANGE above the high watermark, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR,
    /// REQUEST_TIMED_OUT when delayed records could not be carried forward, or none.</returns>
    public ErrorCode DeleteRecords(long offset, out long lowWatermark)
    {
        lowWatermark = -1;
        if (!IsLeader)
            return CheckLeader(-1);
        if ((Log.Config.CleanupPolicy & CleanupPolicy.Delete) == 0)
            return ErrorCode.PolicyViolation;
        var target = offset == -1 ? HighWatermark : offset;
        if (target < 0 || target > HighWatermark)
            return ErrorCode.OffsetOutOfRange;
        try
        {
            Log.DeleteRecordsBefore(target);
        }
        catch (LogMovedException)
        {
            return DeleteRecords(offset, out lowWatermark);
        }
        catch (TimeoutException)
        {
            return ErrorCode.RequestTimedOut;
        }
        catch (StorageException)
        {
            var error = CheckLeader(-1);
            return error == ErrorCode.None ? ErrorCode.KafkaStorageError : error;
        }

        lowWatermark = Log.LogStartOffset;
        _listener.OnLogStartOffsetAdvanced(this);
        NotifyObservers();
        return ErrorCode.None;
    }

    private static PartitionOffset Found(TimestampOffset? found, long end) =>
        found is { } hit && hit.Offset < end
            ? new PartitionOffset(ErrorCode.None, hit.Timestamp, hit.Offset, hit.LeaderEpoch)
            : new PartitionOffset(ErrorCode.None, -1, -1, -1);

    private static IReadOnlyList<AbortedTransaction> AbortedIn(PartitionLog log, long offset, in ReadResult read)
    {
        try
        {
            return log.GetAbortedTransactions(offset, read);
        }
        catch
        {
            read.Records.Dispose();
            throw;
        }
    }

    private PartitionRead Offsets()
    {
        var highWatermark = HighWatermark;
        return new PartitionRead
        {
            HighWatermark = highWatermark,
            LastStableOffset = Math.Min(highWatermark, Log.FirstUnstableOffset ?? long.MaxValue),
            LogStartOffset = Log.LogStartOffset,
        };
    }

    private EpochEndOffset? FindDivergence(long fetchOffset, int lastFetchedEpoch)
    {
        var end = EndOf(lastFetchedEpoch);
        return end.Epoch < lastFetchedEpoch || end.EndOffset < fetchOffset ? end : null;
    }

    /// <summary>The epoch of an offset. Where the log has no record, the next one will be of the leader's.</summary>
    private int EpochOf(long offset) =>
        offset >= Log.LogEndOffset ? LeaderEpoch : Log.LeaderEpochs.EpochOf(offset);

    /// <summary>
    /// Where an epoch ended. The log knows the epochs that have records; those behind them, up to the leader's, begin
    /// and end with the log.
    /// </summary>
    private EpochEndOffset EndOf(int epoch)
    {
        var leaderEpoch = LeaderEpoch;
        var end = Log.LogEndOffset;
        if (epoch == leaderEpoch)
            return new EpochEndOffset(epoch, end);
        if (epoch < 0 || epoch > leaderEpoch)
            return EpochEndOffset.Unknown;
        var latest = Log.LeaderEpochs.LatestEpoch;
        return epoch <= latest
            ? Log.LeaderEpochs.EndOffsetFor(epoch, end)
            : new EpochEndOffset(latest < 0 ? epoch : latest, end);
    }

    private void NotifyObservers()
    {
        // The change is visible before anybody is asked whether he knows already that there is one.
        Interlocked.MemoryBarrier();
        foreach (var observer in _observers)
            observer.OnPartitionChanged();
    }

    private void AdvanceHighWatermark()
    {
        // What followers in the ISR have is known when replication arrives; until then one of them holds it back.
        foreach (var replica in _leadership.Isr)
        {
            if (replica != _brokerId)
                return;
        }

        var target = Log.LogEndOffset;
        var current = HighWatermark;
        while (target > current)
        {
            var seen = Interlocked.CompareExchange(ref _highWatermark, target, current);
            if (seen == current)
            {
                _listener.OnHighWatermarkAdvanced(this);
                return;
            }

            current = seen;
        }
    }

    private sealed record Leadership(
        int LeaderId, int LeaderEpoch, int PartitionEpoch, ImmutableArray<int> Isr, int ReplicasCount)
    {
        /// <summary>More in-sync replicas than there are replicas cannot be asked for.</summary>
        public bool HasEnoughInSync(int minimum) => Isr.Length >= Math.Min(minimum, ReplicasCount);
    }
}

/// <summary>How far a read may go.</summary>
public enum ReadLimit
{
    /// <summary>Consumers with read_uncommitted.</summary>
    HighWatermark,

    /// <summary>Consumers with read_committed.</summary>
    LastStableOffset,

    /// <summary>Followers.</summary>
    LogEnd,
}
