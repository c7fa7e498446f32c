using KBroker.Cluster.Metadata;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Transactions;

/// <summary>
/// The state of one partition of <c>__transaction_state</c>: its transactional ids. Each change of one is one record,
/// the whole entry; the last record of an id is its state.
/// </summary>
/// <remarks>
/// A transaction ends in two records. The first (Prepare) decides; once it is durable the markers are written into the
/// partitions, and when those are durable the second (Complete) allows the next transaction. A crash between them
/// leaves Prepare as the last record, and whoever loads the log writes the markers again: partitions that have one
/// already take a second one as harmless.
/// </remarks>
internal sealed class TransactionShard : ICoordinatorState
{
    private const string ExpiryTimer = "expiry";
    private const short FirstFlexibleVersion = 1;

    private readonly Dictionary<string, TransactionEntry> _entries = [];
    private readonly TransactionShardOptions _options;

    /// <summary>Creates an empty shard.</summary>
    /// <param name="options">What it shares with the rest of the broker.</param>
    public TransactionShard(TransactionShardOptions options)
    {
        _options = options;
        Initialization = new ProducerInitialization(this);
        Partitions = new TransactionPartitions(this);
        Ending = new TransactionEnding(this);
        Waiters = new CompletionWaiters(
            () => options.Configs.Broker.GetInt("add.partitions.to.txn.retry.backoff.max.ms"));
    }

    /// <summary>All entries.</summary>
    public IReadOnlyCollection<TransactionEntry> All => _entries.Values;

    /// <summary>InitProducerId.</summary>
    public ProducerInitialization Initialization { get; }

    /// <summary>AddPartitionsToTxn, AddOffsetsToTxn and the checks of partitions.</summary>
    public TransactionPartitions Partitions { get; }

    /// <summary>EndTxn and the end by timeout.</summary>
    public TransactionEnding Ending { get; }

    /// <summary>Requests that wait until a transaction is complete.</summary>
    public CompletionWaiters Waiters { get; }

    /// <summary>The longest transaction timeout that a producer may ask for, milliseconds.</summary>
    internal int MaxTimeoutMs => _options.Configs.Broker.GetInt("transaction.max.timeout.ms");

    /// <summary>Finds an id.</summary>
    /// <param name="transactionalId">The id.</param>
    /// <returns>Its entry, or null.</returns>
    public TransactionEntry? Find(string transactionalId) => _entries.GetValueOrDefault(transactionalId);

    /// <inheritdoc/>
    public void Replay(in ReplayContext context, IRecordMessage key, IRecordMessage? value)
    {
        if (key is not TransactionLogKey { TransactionalId: var id })
            return;
        if (value is TransactionLogValue entry)
            _entries[id] = TransactionEntry.FromValue(id, entry);
        else
            _entries.Remove(id);
    }

    /// <inheritdoc/>
    public void ReplayTransactionEnd(long producerId, short producerEpoch, bool isCommit)
    {
        // The coordinator's own log has no transactions.
    }

    /// <inheritdoc/>
    public void OnLoaded(ICoordinatorTurn turn)
    {
        foreach (var entry in _entries.Values.ToList())
        {
            if (entry.IsEnding)
                Finish(turn, entry);
            else if (entry.State == TransactionState.Ongoing)
                SetTimeout(turn, entry);
        }

        turn.Schedule(ExpiryTimer, ExpiryIntervalMs(), Expire);
    }

    /// <inheritdoc/>
    public void OnUnloaded(ErrorCode error)
    {
        Waiters.Fail(error);
    }

    /// <inheritdoc/>
    public void OnMetadata(ICoordinatorTurn turn, MetadataUpdate update)
    {
        // Markers for topics that are gone are dropped by whoever writes them.
    }

    /// <summary>Every marker of a transaction is durable, or its partition is gone for good.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="work">The markers.</param>
    public void OnMarkersWritten(ICoordinatorTurn turn, MarkerWork work)
    {
        if (Find(work.TransactionalId) is not { IsEnding: true } entry
            || entry.ProducerId != work.ProducerId
            || entry.Epoch != work.ProducerEpoch)
            return;
        entry.Complete(turn.NowMs);
        CrashPoint.ReachedOnceAppended("txn.complete-appended", work.IsCommit ? "commit" : "abort");
        Write(turn, entry);
        Waiters.Completed(turn, entry.TransactionalId);
    }

    /// <summary>Adds the entry of a new id; its first record comes with its first incarnation.</summary>
    internal TransactionEntry Create(string transactionalId) =>
        _entries[transactionalId] = new TransactionEntry(transactionalId);

    /// <summary>Writes an entry as it is now.</summary>
    internal void Write(ICoordinatorTurn turn, TransactionEntry entry)
    {
        var level = turn.Metadata.Features.Level(SupportedFeatures.TransactionVersion);
        turn.AppendOnly(new CoordinatorRecord(
            new TransactionLogKey { TransactionalId = entry.TransactionalId },
            entry.ToValue(),
            level > 0 ? FirstFlexibleVersion : (short)0));
    }

    /// <summary>Ends an ongoing transaction when it takes too long.</summary>
    internal void SetTimeout(ICoordinatorTurn turn, TransactionEntry entry)
    {
        var id = entry.TransactionalId;
        var start = entry.StartMs;
        turn.Schedule(TimeoutTimer(id), start + entry.TimeoutMs - turn.NowMs, step =>
        {
            if (Find(id) is { State: TransactionState.Ongoing } late && late.StartMs == start)
            {
                _options.Logger.LogTimeout(id, late.ProducerId, late.TimeoutMs);
                CrashPoint.ReachedOnceAppended("txn.fence-appended", "timeout");
                Ending.Fence(step, late);
            }
        });
    }

    /// <summary>Writes the markers of a decided transaction, once its record is durable.</summary>
    internal void Finish(ICoordinatorTurn turn, TransactionEntry entry)
    {
        turn.Cancel(TimeoutTimer(entry.TransactionalId));
        if (entry.Partitions.Count == 0)
        {
            entry.Complete(turn.NowMs);
            Write(turn, entry);
            return;
        }

        var work = new MarkerWork(
            entry.TransactionalId,
            entry.ProducerId,
            entry.Epoch,
            _options.CoordinatorEpoch,
            entry.State == TransactionState.PrepareCommit,
            entry.ClientProtocol,
            [.. entry.Partitions]);
        var decided = new Reply<MarkerWork>();
        turn.Send(decided, work);
        decided.Task.ContinueWith(
            (task, state) => ((Action<MarkerWork>)state!)(task.Result),
            _options.WriteMarkers,
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnRanToCompletion,
            TaskScheduler.Default);
    }

    private static string TimeoutTimer(string transactionalId) => $"timeout/{transactionalId}";

    private long ExpiryIntervalMs() =>
        _options.Configs.Broker.GetInt("transaction.remove.expired.transaction.cleanup.interval.ms");

    /// <summary>Forgets ids that were not used for <c>transactional.id.expiration.ms</c>.</summary>
    private void Expire(ICoordinatorTurn turn)
    {
        var before = turn.NowMs - _options.Configs.Broker.GetInt("transactional.id.expiration.ms");
        foreach (var entry in _entries.Values.Where(e => e.IsIdle && e.LastUpdateMs <= before).ToList())
        {
            turn.Append(CoordinatorRecord.Tombstone(
                new TransactionLogKey { TransactionalId = entry.TransactionalId }));
        }

        turn.Schedule(ExpiryTimer, ExpiryIntervalMs(), Expire);
    }
}
