using System.Buffers.Binary;
using KBroker.Delivery.CheckBack;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;
using KBroker.Storage;
using KBroker.Storage.Crashing;

namespace KBroker.Delivery.Delay;

/// <summary>
/// Reads the flagged batches of a log in order, from wherever a checkpoint left off, and keeps a schedule in step with
/// them: the same way at the start of a broker as while it runs. Not thread-safe.
/// </summary>
/// <remarks>
/// Records of an open transaction wait, batch by batch, until its marker comes: committed ones are taken then, aborted
/// ones dropped. A cancel takes effect where it stands in the log, or where the marker of its own transaction stands.
/// </remarks>
/// <param name="schedule">What is pending.</param>
/// <param name="origins">Reads records.</param>
/// <param name="halves">Follows half messages and decisions.</param>
internal sealed class FlagFollower(PendingSchedule schedule, OriginReader origins, HalfFollower halves)
{
    /// <summary>The mark when the list of levels changed while the log was followed.</summary>
    private const long SeveralLists = -1;

    private const int BatchesAtOnce = 256;
    private readonly List<FlaggedBatch> _found = [];
    private readonly List<Undecided> _undecided = [];
    private IReadOnlyList<long> _levels = [];
    private readonly HashSet<long> _cancelledElsewhere = [];
    private bool _isLoading;
    private bool _isFirst;

    /// <summary>All flagged batches below this offset were seen.</summary>
    public long FollowedTo { get; private set; }

    /// <summary>Where a later reading of the log has to begin: open transactions are not in the schedule yet.</summary>
    public long SettledTo => _undecided.Count == 0 ? FollowedTo : Math.Min(FollowedTo, _undecided[0].Offset);

    /// <summary>Whether some batch waits for a marker.</summary>
    public bool HasUndecided => _undecided.Count > 0;

    /// <summary>Flagged batches seen since the follower was made.</summary>
    public long Seen { get; private set; }

    /// <summary>
    /// By which list of levels the records that were taken are due: its checksum, or -1 when it changed in between.
    /// </summary>
    public long LevelsMark { get; private set; }

    /// <summary>The checksum of a list of levels: CRC-32C of its int64s, big-endian.</summary>
    public static long MarkOf(IReadOnlyList<long> levelsMs)
    {
        var bytes = new byte[levelsMs.Count * sizeof(long)];
        for (var i = 0; i < levelsMs.Count; i++)
            BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(i * sizeof(long)), levelsMs[i]);
        return Crc32C.Compute(bytes);
    }

    /// <summary>Begins at an offset.</summary>
    /// <param name="offset">The offset.</param>
    /// <param name="levelsMs">The list of levels by which what lies before is due.</param>
    public void Reset(long offset, IReadOnlyList<long> levelsMs)
    {
        FollowedTo = offset;
        _isFirst = true;
        _undecided.Clear();
        _levels = levelsMs;
        LevelsMark = MarkOf(levelsMs);
        _cancelledElsewhere.Clear();
    }

    /// <summary>Reads on up to the end of the log.</summary>
    /// <param name="log">The log.</param>
    /// <param name="isLoading">Whether deliveries are news; while running they are this broker's own.</param>
    /// <param name="onProgress">Told after each portion.</param>
    /// <exception cref="IOException">The log cannot be read.</exception>
    /// <exception cref="RecordException">It is damaged.</exception>
    public void Follow(PartitionLog log, bool isLoading, Action<long>? onProgress = null)
    {
        UseLevels(log.Config.DelayLevelsMs);
        _isLoading = isLoading;
        // A log may start within a batch, of which the records behind the start are still there; and a reading may
        // begin with an open half message in the middle of one.
        var isStart = _isFirst || FollowedTo <= log.LogStartOffset;
        _isFirst = false;
        while (true)
        {
            var end = Math.Max(log.LogEndOffset, log.Flagged.FollowedEnd);
            if (FollowedTo < log.LogStartOffset)
                FollowedTo = log.LogStartOffset;
            if (FollowedTo >= end)
                break;
            _found.Clear();
            var next = log.Flagged.List(FollowedTo, end, BatchesAtOnce, isStart, _found);
            isStart = false;
            foreach (var flagged in _found)
            {
                // A batch may be indexed a moment before it can be read.
                if (flagged.BaseOffset >= log.LogEndOffset)
                    return;
                Take(log, flagged, isLoading);
                if (isLoading)
                    CrashPoint.Reached("delays.load-followed");
                FollowedTo = flagged.BaseOffset + 1;
                Seen++;
            }

            FollowedTo = Math.Max(FollowedTo, Math.Min(next, log.LogEndOffset));
            onProgress?.Invoke(FollowedTo);
            if (_found.Count == 0)
                break;
        }

        Decide(log);
        CancelElsewhere();
    }

    /// <summary>What the log says of a delayed record: due time and origin, pending or not any more.</summary>
    /// <param name="log">The log.</param>
    /// <param name="offset">The offset that the producer was told.</param>
    /// <param name="isCertain">Whether the schedule can have it at that time only: not where it was carried forward, or
    /// where it asked for a level and the list of levels was another one.</param>
    /// <returns>Null when no record at that offset was ever delayed, or the log has it no more.</returns>
    /// <exception cref="IOException">The log cannot be read.</exception>
    /// <exception cref="RecordException">It is damaged.</exception>
    public PendingRecord? ReadScheduled(PartitionLog log, long offset, out bool isCertain)
    {
        // The log's start may move in between.
        isCertain = offset >= log.LogEndOffset;
        if (isCertain || offset < log.LogStartOffset || !origins.TryRead(log, offset, out var record, out var header))
            return null;
        isCertain = true;
        if (!header.IsHiding || (header.Attributes & RecordBatchAttributes.Copying) != 0)
            return null;
        var request = DeliveryRequest.Parse(record.Headers);
        if (request.Kind == DeliveryRequestKind.Cancel || !request.Hides(record.Timestamp))
            return null;
        isCertain = request.Kind != DeliveryRequestKind.Level || LevelsMark != SeveralLists;
        return new PendingRecord(request.DueMs(record.Timestamp, _levels), offset, 0);
    }

    private void UseLevels(IReadOnlyList<long> levelsMs)
    {
        if (ReferenceEquals(levelsMs, _levels))
            return;
        if (!levelsMs.SequenceEqual(_levels))
            LevelsMark = SeveralLists;
        _levels = levelsMs;
    }

    private void Take(PartitionLog log, in FlaggedBatch flagged, bool isLoading)
    {
        var isCopy = (flagged.Attributes & RecordBatchAttributes.Copying) != 0;
        var isHiding = (flagged.Attributes & RecordBatchAttributes.Hiding) != 0;
        if (isCopy && !isHiding && !isLoading)
            return;
        if (origins.ReadBatch(log, Math.Max(flagged.BaseOffset, log.LogStartOffset)) is not { } batch)
            return;
        if (isCopy)
            TakeCopies(log, batch, isHiding, isLoading);
        else if (batch.Header.IsTransactional)
            TakeTransactional(log, batch);
        else
            TakeRequests(log, batch, cancelled: null, isLoading);
    }

    private void TakeCopies(PartitionLog log, OriginBatch batch, bool isCarried, bool isLoading)
    {
        // Originals are in other batches, which may push this one out of the reader.
        List<PendingRecord>? carried = null;
        batch.Rewind();
        while (batch.TryRead(out var record))
        {
            var request = DeliveryRequest.Parse(record.Headers);
            if (!isCarried)
                schedule.NoteDelivered(request.OriginOffset, record.Timestamp);
            else if (!halves.TakeCopy(log, record, request, isLoading))
                (carried ??= []).Add(new PendingRecord(request.Value, request.OriginOffset, record.Offset));
        }

        foreach (var copy in carried ?? [])
        {
            // Where the original is still there, by another list of levels, the copy is what counts.
            if (isLoading && ReadScheduled(log, copy.Origin, out _) is { } original && !original.IsSame(copy))
                schedule.Cancel(original);
            schedule.Add(copy, isNew: false);
        }
    }

    private void TakeTransactional(PartitionLog log, OriginBatch batch)
    {
        switch (log.Flagged.FateOf(batch.Header.ProducerId, batch.Header.BaseOffset))
        {
            case TransactionFate.Open:
                if ((batch.Header.Attributes & RecordBatchAttributes.Commanding) != 0)
                    log.Flagged.ExpectTransactionalCommands();
                _undecided.Add(new Undecided(batch.Header.BaseOffset, batch.Header.LastOffset));
                break;
            case TransactionFate.Committed:
                TakeRequests(log, batch, cancelled: null, isLoading: false);
                break;
        }
    }

    /// <summary>Takes the records of transactions that have ended meanwhile.</summary>
    private void Decide(PartitionLog log)
    {
        for (var i = 0; i < _undecided.Count; i++)
        {
            var one = _undecided[i];
            if (origins.ReadBatch(log, one.Offset) is not { } batch)
            {
                _undecided.RemoveAt(i--);
                continue;
            }

            var fate = log.Flagged.FateOf(batch.Header.ProducerId, one.Offset);
            if (fate == TransactionFate.Open)
                continue;
            _undecided.RemoveAt(i--);
            if (fate == TransactionFate.Committed)
                TakeRequests(log, batch, one.Cancelled, isLoading: false);
            CrashPoint.Reached("delays.decided", fate == TransactionFate.Committed ? "commit" : "abort");
        }
    }

    private void TakeRequests(
        PartitionLog log, OriginBatch batch, HashSet<long>? cancelled, bool isLoading)
    {
        // Cancels and decisions read other batches, which may push this one out of the reader.
        List<(long Target, long By)>? cancels = null;
        List<HalfDecision>? decisions = null;
        batch.Rewind();
        while (batch.TryRead(out var record))
        {
            var request = DeliveryRequest.Parse(record.Headers);
            if (!request.Hides(record.Timestamp))
                continue;
            if (request.Half == HalfRequest.Prepare)
            {
                halves.Open(log, record, request, isLoading);
                continue;
            }

            if (request.Half != HalfRequest.None)
            {
                (decisions ??= []).Add(HalfDecision.Of(record, request));
                continue;
            }

            if (request.Kind == DeliveryRequestKind.Cancel)
            {
                (cancels ??= []).Add((request.Value, record.Offset));
                continue;
            }

            if (cancelled is null || !cancelled.Contains(record.Offset))
            {
                var due = request.DueMs(record.Timestamp, _levels);
                schedule.Add(new PendingRecord(due, record.Offset, record.Offset), isNew: true);
            }
        }

        CrashPoint.Reached("delays.requests-followed");
        decisions?.ForEach(d => halves.Decide(log, d, isLoading));
        if (cancels is not null)
            Cancel(log, cancels);
    }

    private void Cancel(PartitionLog log, List<(long Target, long By)> cancels)
    {
        foreach (var (target, by) in cancels)
        {
            if (target < by && !TryCancel(log, target))
                _cancelledElsewhere.Add(target);
        }

        CrashPoint.Reached("delays.cancels-followed");
        // While loading, a copy may stand between a cancel and the marker that let it take effect: still to come.
        if (!_isLoading)
            CancelElsewhere();
    }

    /// <summary>Cancels what was carried forward, or is due by other levels: only the schedule knows when.</summary>
    private void CancelElsewhere()
    {
        if (_cancelledElsewhere.Count == 0)
            return;
        foreach (var pending in schedule.ReadAll().Where(p => _cancelledElsewhere.Contains(p.Origin)).ToList())
            schedule.Cancel(pending);
        _cancelledElsewhere.Clear();
    }

    /// <returns>False when the schedule may have the record at another time than the log says.</returns>
    private bool TryCancel(PartitionLog log, long target)
    {
        if (_undecided.Find(u => target >= u.Offset && target <= u.LastOffset) is { } open)
        {
            open.Cancelled.Add(target);
            return true;
        }

        return (ReadScheduled(log, target, out var isCertain) is { } record && schedule.Cancel(record)) || isCertain;
    }

    private sealed record Undecided(long Offset, long LastOffset)
    {
        public HashSet<long> Cancelled { get; } = [];
    }
}
