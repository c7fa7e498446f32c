using KBroker.Protocol.Records;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Producers;

/// <summary>
/// The producers of one log: refuses what is out of order, recognises what was appended before, and follows open
/// transactions. Used under the log's lock only.
/// </summary>
internal sealed class ProducerStates
{
    private readonly Dictionary<long, ProducerState> _producers = [];
    private readonly SortedSet<long> _openTransactions = [];
    private readonly Dictionary<long, TransactionVerification> _verifications = [];

    /// <summary>Number of producers known.</summary>
    public int Count => _producers.Count;

    /// <summary>First offset of the oldest open transaction; null without one.</summary>
    public long? FirstOpenTransactionOffset => _openTransactions.Count == 0 ? null : _openTransactions.Min;

    /// <summary>All producers, in no order.</summary>
    public IReadOnlyCollection<ProducerState> All => _producers.Values;

    /// <summary>Judges a batch of data before it is appended. Batches without a producer id always pass.</summary>
    /// <param name="header">Its header.</param>
    /// <param name="options">Who appends; sequences are checked for clients only.</param>
    /// <param name="duplicate">The batch that it repeats.</param>
    /// <param name="problem">Why it is refused.</param>
    public ProducerVerdict Check(
        in RecordBatchHeader header, in AppendOptions options, out ProducedBatch duplicate, out string? problem)
    {
        duplicate = default;
        problem = null;
        if (!header.HasProducerId)
            return ProducerVerdict.Append;
        var state = _producers.GetValueOrDefault(header.ProducerId);
        var isClient = options.Origin == AppendOrigin.Client;
        if (isClient && state is not null && state.TryFindDuplicate(header, out duplicate))
            return ProducerVerdict.Duplicate;
        if (header.IsTransactional && options.RequiresVerification
            && !IsInTransaction(header.ProducerId, header.ProducerEpoch, options.Verification))
        {
            problem = "Record was not part of an ongoing transaction";
            return ProducerVerdict.NotInTransaction;
        }

        if (!isClient)
            return ProducerVerdict.Append;
        if (_verifications.Count > 0 && _verifications.TryGetValue(header.ProducerId, out var asked)
            && asked.Epoch == header.ProducerEpoch && Refuses(asked, header, state, out problem))
            return ProducerVerdict.OutOfOrder;
        return state is null ? ProducerVerdict.Append : CheckSequence(state, header, out problem);
    }

    /// <summary>Judges a commit or abort marker before it is appended.</summary>
    /// <param name="header">Header of its batch.</param>
    /// <param name="coordinatorEpoch">Epoch of the coordinator that writes it.</param>
    /// <param name="isEpochBumped">See <see cref="AppendOptions.IsEpochBumped"/>.</param>
    /// <param name="problem">Why it is refused.</param>
    public ProducerVerdict CheckMarker(
        in RecordBatchHeader header, int coordinatorEpoch, bool isEpochBumped, out string? problem)
    {
        problem = null;
        if (!_producers.TryGetValue(header.ProducerId, out var state))
            return ProducerVerdict.Append;
        if (coordinatorEpoch < state.CoordinatorEpoch)
        {
            problem = $"Invalid coordinator epoch for producerId {header.ProducerId}: {coordinatorEpoch} (zombie), "
                + $"{state.CoordinatorEpoch} (current).";
            return ProducerVerdict.FencedCoordinator;
        }

        var isOpen = state.CurrentTransactionFirstOffset is not null;
        if (header.ProducerEpoch >= state.Epoch && (header.ProducerEpoch > state.Epoch || !isEpochBumped || !isOpen))
            return ProducerVerdict.Append;
        problem = $"Epoch of producer {header.ProducerId} is {header.ProducerEpoch} in a marker, the last seen epoch "
            + $"is {state.Epoch}.";
        return ProducerVerdict.FencedEpoch;
    }

    /// <summary>
    /// Begins to ask the coordinator, unless the producer's transaction is open here already; see
    /// <see cref="PartitionLog.BeginVerification"/>.
    /// </summary>
    /// <returns>The question; null when there is no need for one.</returns>
    public TransactionVerification? BeginVerification(
        long producerId, short epoch, int sequence, bool isEpochBumped, long nowMs)
    {
        if (HasOpenTransaction(producerId, epoch))
            return null;
        if (_verifications.TryGetValue(producerId, out var known) && known.Epoch >= epoch)
        {
            if (known.Epoch == epoch)
                known.LowestSequence = Math.Min(known.LowestSequence, sequence);
            return known;
        }

        return _verifications[producerId] =
            new TransactionVerification(producerId, epoch, sequence, isEpochBumped, nowMs);
    }

    /// <summary>Where the open transaction of a producer began; null without one.</summary>
    public long? TransactionStartOf(long producerId) =>
        _producers.GetValueOrDefault(producerId)?.CurrentTransactionFirstOffset;

    /// <summary>
    /// Whether a producer's transaction is open here, or the coordinator has consented and no marker came since.
    /// </summary>
    public bool IsInTransaction(long producerId, short epoch, TransactionVerification? verification) =>
        HasOpenTransaction(producerId, epoch)
        || (verification is not null && verification.Epoch == epoch
            && _verifications.TryGetValue(producerId, out var asked) && ReferenceEquals(asked, verification));

    private bool HasOpenTransaction(long producerId, short epoch) =>
        _producers.TryGetValue(producerId, out var state) && state.CurrentTransactionFirstOffset is not null
        && state.Epoch == epoch;

    /// <summary>The first batch of a transaction is the one with the smallest sequence that was seen.</summary>
    private static bool Refuses(
        TransactionVerification asked, in RecordBatchHeader header, ProducerState? state, out string? problem)
    {
        problem = null;
        if (asked.IsEpochBumped && header.BaseSequence != 0 && state is null)
        {
            problem = $"Invalid sequence number for producer {header.ProducerId}: {header.BaseSequence} (incoming "
                + "sequence number). Expected sequence number 0 for transactions v2 idempotent producer with no "
                + "existing producer state.";
        }
        else if (header.BaseSequence > asked.LowestSequence)
        {
            problem = $"Out of order sequence number for producer {header.ProducerId}: {header.BaseSequence} "
                + $"(incoming sequence number), {asked.LowestSequence} (earliest seen sequence).";
        }

        return problem is not null;
    }

    private static ProducerVerdict CheckSequence(ProducerState state, in RecordBatchHeader header, out string? problem)
    {
        problem = null;
        if (header.ProducerEpoch < state.Epoch)
        {
            problem = $"Epoch of producer {header.ProducerId} is {header.ProducerEpoch}, which is smaller than the "
                + $"last seen epoch {state.Epoch}.";
            return ProducerVerdict.FencedEpoch;
        }

        if (header.ProducerEpoch != state.Epoch)
        {
            // A producer whose batches are all gone has epoch -1 here and may go on with any sequence.
            if (header.BaseSequence == 0 || state.Epoch < 0)
                return ProducerVerdict.Append;
            problem = $"Invalid sequence number for new epoch of producer {header.ProducerId}: {header.ProducerEpoch} "
                + $"(request epoch), {header.BaseSequence} (sequence number), {state.Epoch} (current epoch).";
            return ProducerVerdict.OutOfOrder;
        }

        var last = state.Last.LastSequence;
        if (IsNext(last, header.BaseSequence))
            return ProducerVerdict.Append;
        problem = $"Out of order sequence number for producer {header.ProducerId}: {header.BaseSequence} (incoming "
            + $"sequence number), {last} (current end sequence number).";
        return ProducerVerdict.OutOfOrder;
    }

    /// <summary>
    /// Looks into the log for earlier batches of the producer, if it may have some there that are not known here.
    /// </summary>
    /// <returns>Whether something was looked for, so that <see cref="Check"/> may say something else.</returns>
    public bool TryComplete(in RecordBatchHeader header, LogSegment[] segments)
    {
        if (!_producers.TryGetValue(header.ProducerId, out var state) || !state.IsPartial
            || header.ProducerEpoch != state.Epoch)
        {
            return false;
        }

        ProducerWindowSearch.Complete(state, segments);
        return true;
    }

    /// <summary>Notes an appended batch of data, offsets assigned.</summary>
    public void Append(in RecordBatchHeader header)
    {
        if (!header.HasProducerId || header.IsControl)
            return;
        var state = GetOrAdd(header.ProducerId);
        state.SetEpoch(header.ProducerEpoch);
        state.Add(new ProducedBatch(
            header.LastSequence, header.LastOffset, header.LastOffsetDelta, header.MaxTimestamp));
        state.LastTimestamp = header.MaxTimestamp;
        if (_verifications.Count > 0)
            _verifications.Remove(header.ProducerId);
        if (!header.IsTransactional || state.CurrentTransactionFirstOffset is not null)
            return;
        state.CurrentTransactionFirstOffset = header.BaseOffset;
        _openTransactions.Add(header.BaseOffset);
    }

    /// <summary>Notes an appended marker, which ends the producer's transaction.</summary>
    /// <param name="header">Header of its batch.</param>
    /// <param name="type">How the transaction ended.</param>
    /// <param name="coordinatorEpoch">Epoch of the coordinator that wrote it.</param>
    /// <param name="isEpochBumped">See <see cref="AppendOptions.IsEpochBumped"/>; without meaning where nobody
    /// verifies, as in a replay.</param>
    /// <returns>The transaction, if it was aborted and had records here; its last stable offset counts the
    /// rest.</returns>
    public AbortedTransaction? AppendMarker(
        in RecordBatchHeader header, ControlRecordType type, int coordinatorEpoch, bool isEpochBumped)
    {
        // A marker of the newer protocol has the epoch of the next transaction: what is asked for that one stands.
        if (_verifications.TryGetValue(header.ProducerId, out var asked)
            && !(asked.Epoch > header.ProducerEpoch || (isEpochBumped && asked.Epoch == header.ProducerEpoch)))
            _verifications.Remove(header.ProducerId);
        var state = GetOrAdd(header.ProducerId);
        state.SetEpoch(header.ProducerEpoch);
        state.CoordinatorEpoch = coordinatorEpoch;
        state.LastTimestamp = header.MaxTimestamp;
        if (state.CurrentTransactionFirstOffset is not { } first)
            return null;
        state.CurrentTransactionFirstOffset = null;
        _openTransactions.Remove(first);
        return type == ControlRecordType.Abort
            ? new AbortedTransaction(
                header.ProducerId, first, header.BaseOffset, FirstOpenTransactionOffset ?? header.NextOffset)
            : null;
    }

    /// <summary>Forgets producers that have not written for a while and have no open transaction.</summary>
    public void RemoveExpired(long nowMs, long expirationMs)
    {
        foreach (var (id, state) in _producers)
        {
            if (state.CurrentTransactionFirstOffset is null && nowMs - state.LastTimestamp >= expirationMs)
                _producers.Remove(id);
        }

        foreach (var (id, asked) in _verifications)
        {
            if (nowMs - asked.CreatedMs >= expirationMs)
                _verifications.Remove(id);
        }
    }

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        _producers.Clear();
        _openTransactions.Clear();
        _verifications.Clear();
    }

    /// <summary>Takes over the questions that are asked just now.</summary>
    public void TakeVerifications(ProducerStates other)
    {
        foreach (var (id, asked) in other._verifications)
            _verifications[id] = asked;
    }

    /// <summary>Takes over what another log with the same records knows.</summary>
    public void Replace(IEnumerable<ProducerState> others)
    {
        Clear();
        foreach (var other in others)
        {
            var state = other.Copy();
            _producers[state.ProducerId] = state;
            if (state.CurrentTransactionFirstOffset is { } first)
                _openTransactions.Add(first);
        }
    }

    /// <summary>What a snapshot file holds.</summary>
    public List<ProducerSnapshotEntry> ToSnapshot()
    {
        var entries = new List<ProducerSnapshotEntry>(_producers.Count);
        foreach (var state in _producers.Values)
        {
            var last = state.Last;
            entries.Add(new ProducerSnapshotEntry(
                state.ProducerId,
                state.Epoch,
                last.LastSequence,
                last.LastOffset,
                last.OffsetDelta,
                state.LastTimestamp,
                state.CoordinatorEpoch,
                state.CurrentTransactionFirstOffset ?? -1));
        }

        return entries;
    }

    /// <summary>Takes over what a snapshot file holds.</summary>
    public void Load(IEnumerable<ProducerSnapshotEntry> entries)
    {
        foreach (var entry in entries)
        {
            var state = GetOrAdd(entry.ProducerId);
            state.SetEpoch(entry.Epoch);
            state.CoordinatorEpoch = entry.CoordinatorEpoch;
            state.LastTimestamp = entry.Timestamp;
            if (entry.LastSequence >= 0)
            {
                state.AddFromSnapshot(new ProducedBatch(
                    entry.LastSequence, entry.LastOffset, entry.OffsetDelta, entry.Timestamp));
            }

            if (entry.CurrentTransactionFirstOffset < 0)
                continue;
            state.CurrentTransactionFirstOffset = entry.CurrentTransactionFirstOffset;
            _openTransactions.Add(entry.CurrentTransactionFirstOffset);
        }
    }

    private static bool IsNext(int lastSequence, int sequence) =>
        sequence == (long)lastSequence + 1 || (sequence == 0 && lastSequence == int.MaxValue);

    private ProducerState GetOrAdd(long producerId)
    {
        if (!_producers.TryGetValue(producerId, out var state))
            _producers[producerId] = state = new ProducerState(producerId);
        return state;
    }
}

/// <summary>What <see cref="ProducerStates.Check"/> says.</summary>
internal enum ProducerVerdict
{
    /// <summary>Append it.</summary>
    Append,

    /// <summary>It was appended before.</summary>
    Duplicate,

    /// <summary>A batch is missing before it.</summary>
    OutOfOrder,

    /// <summary>A newer epoch has written.</summary>
    FencedEpoch,

    /// <summary>A newer coordinator has written.</summary>
    FencedCoordinator,

    /// <summary>The coordinator did not say that the partition is in the producer's transaction.</summary>
    NotInTransaction,
}
