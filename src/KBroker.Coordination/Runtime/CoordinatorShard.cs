using System.Collections.Concurrent;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Storage.Crashing;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Runtime;

/// <summary>Where a shard stands.</summary>
internal enum ShardPhase
{
    /// <summary>Its log is being replayed: clients ask again.</summary>
    Loading,

    /// <summary>It serves.</summary>
    Active,

    /// <summary>Its log cannot be read: nothing is served until the partition changes.</summary>
    Failed,

    /// <summary>It serves no more.</summary>
    Closed,
}

/// <summary>
/// One life of a partition's state: loaded, served, closed. A shard that has to be loaded anew (its leader epoch
/// changed, or its log refused what its state has already) is closed, and another one takes its place.
/// </summary>
/// <remarks>
/// <para>Steps wait in a mailbox. Who posts the first one puts the shard on the thread pool, where one drain runs a
/// bounded number of steps, appends the records of all of them (<see cref="ShardLog"/>), and makes room for others: a
/// shard holds no thread, and never runs on two. Answers wait in the <see cref="AnswerQueue"/> for stable storage while
/// the next drain runs.</para>
/// <para>Example: 40 commits come while a flush runs. The first posts the shard; the drain runs 40 steps, appends one
/// batch of 40 records, and asks for a flush. When the one under way ends, the next covers all of them, and 40 answers
/// leave.</para>
/// </remarks>
/// <typeparam name="TState">The state.</typeparam>
internal sealed class CoordinatorShard<TState> : IThreadPoolWorkItem
    where TState : class, ICoordinatorState
{
    private const int StepsOfDrainMax = 512;
    private readonly CoordinatorOptions _options;
    private readonly ConcurrentQueue<ShardStep<TState>> _mailbox = new();
    private readonly AnswerQueue _answers;
    private readonly ShardTimers _timers;
    private readonly Action<CoordinatorShard<TState>> _onBroken;
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _closing = new();
    private ShardLog? _log;
    private ShardTurn? _turn;
    private int _phase = (int)ShardPhase.Loading;
    private int _scheduled = 1;
    private ErrorCode _closeError = ErrorCode.NotCoordinator;

    /// <summary>Creates a shard that has to be loaded: <see cref="Load"/>.</summary>
    /// <param name="options">What it works with.</param>
    /// <param name="partition">Its log.</param>
    /// <param name="state">An empty state.</param>
    /// <param name="image">The metadata; changes follow by <see cref="OnMetadata"/>.</param>
    /// <param name="onBroken">Told when it closed itself, and should be loaded anew.</param>
    public CoordinatorShard(
        CoordinatorOptions options,
        Partition partition,
        TState state,
        MetadataImage image,
        Action<CoordinatorShard<TState>> onBroken)
    {
        _options = options;
        Partition = partition;
        State = state;
        LeaderEpoch = partition.LeaderEpoch;
        InitialImage = image;
        _onBroken = onBroken;
        _answers = new AnswerQueue(partition, OnAnswersFailed);
        _timers = new ShardTimers(
            options.Timer, step => Post(new InternalStep<TState>((_, turn) => step(turn))));
    }

    /// <summary>Its log.</summary>
    public Partition Partition { get; }

    /// <summary>The leader epoch in which it serves.</summary>
    public int LeaderEpoch { get; }

    /// <summary>The state; touched by steps only, but for counts.</summary>
    public TState State { get; }

    /// <summary>Where it stands.</summary>
    public ShardPhase Phase => (ShardPhase)Volatile.Read(ref _phase);

    /// <summary>Done when it is closed and everything it had appended is answered.</summary>
    public Task Closed => _closed.Task;

    private MetadataImage InitialImage { get; }

    /// <summary>Replays the log, and begins to serve. Runs on the caller's thread.</summary>
    /// <returns>What was read; null when that failed.</returns>
    public LoadSummary? Load()
    {
        LoadSummary? summary = null;
        try
        {
            var loader = new ShardLoader(_options, Partition, _closing.Token);
            summary = loader.Load(State);
            _log = new ShardLog(
                Partition, _options.Codecs, _options.Compression, _answers, summary.EndOffset);
            _turn = new ShardTurn(State, _log, _timers) { Metadata = InitialImage };
            // What a crash left may not be on stable storage yet: nobody is told of it before it is.
            _answers.Add(summary.EndOffset, Partition.WaitDurableAsync(summary.EndOffset), []);
            Interlocked.CompareExchange(ref _phase, (int)ShardPhase.Active, (int)ShardPhase.Loading);
            RunFirst();
        }
        catch (OperationCanceledException)
        {
            // Closed while it loaded.
        }
        catch (Exception failure)
        {
            summary = null;
            if (!_closing.IsCancellationRequested)
            {
                _options.Logger.LogError(
                    failure is ShardLoadException or IOException ? null : failure,
                    "{Partition} cannot be loaded, and what it coordinates is not available: {Reason}",
                    Partition.TopicPartition,
                    failure.Message);
            }

            _timers.Clear();
            Interlocked.CompareExchange(ref _phase, (int)ShardPhase.Failed, (int)ShardPhase.Loading);
            Interlocked.CompareExchange(ref _phase, (int)ShardPhase.Failed, (int)ShardPhase.Active);
        }

        // From here on posting puts the shard on the pool.
        Volatile.Write(ref _scheduled, 0);
        Schedule();
        return summary;
    }

    /// <summary>Adds a step; it fails when the shard does not serve by then.</summary>
    /// <param name="step">The step.</param>
    public void Post(ShardStep<TState> step)
    {
        step.PostedTimestamp = _options.Metrics.MeasuresQueue ? _options.Time.GetTimestamp() : 0;
        _mailbox.Enqueue(step);
        Schedule();
    }

    /// <summary>Tells the state of new metadata.</summary>
    /// <param name="update">What changed.</param>
    public void OnMetadata(MetadataUpdate update) => Post(new InternalStep<TState>((state, turn) =>
    {
        _turn!.Metadata = update.Current;
        state.OnMetadata(turn, update);
    }));

    /// <summary>Appends the marker of a transaction and applies it.</summary>
    /// <param name="end">What the marker says.</param>
    /// <param name="reply">Answered when the marker is durable.</param>
    public void PostTransactionEnd(TransactionEnd end, Reply<bool> reply) =>
        Post(new TransactionEndStep(this, end, reply));

    /// <summary>Ends the shard behind the steps that wait already.</summary>
    /// <param name="error">What later ones, and those who wait for answers, are told.</param>
    /// <returns><see cref="Closed"/>.</returns>
    public Task CloseAsync(ErrorCode error)
    {
        _closing.Cancel();
        Post(new CloseStep<TState>(error));
        return Closed;
    }

    void IThreadPoolWorkItem.Execute()
    {
        var began = _options.Metrics.MeasuresDrains ? _options.Time.GetTimestamp() : 0;
        Drain();
        if (began != 0)
            _options.Metrics.Drained(_options.Time.GetElapsedTime(began));
        Volatile.Write(ref _scheduled, 0);
        // Who posted meanwhile found the shard scheduled.
        Interlocked.MemoryBarrier();
        if (!_mailbox.IsEmpty)
            Schedule();
    }

    private void Schedule()
    {
        if (Interlocked.CompareExchange(ref _scheduled, 1, 0) == 0)
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    private void Drain()
    {
        if (Phase == ShardPhase.Active && !_log!.IsInStep)
        {
            Break(
                new ShardFailure(
                    ErrorCode.NotCoordinator, "the log does not end where it was left: somebody else wrote to it"),
                LogLevel.Warning);
        }

        for (var steps = 0; steps < StepsOfDrainMax && _mailbox.TryDequeue(out var step); steps++)
        {
            if (step.PostedTimestamp != 0)
                _options.Metrics.Dequeued(_options.Time.GetElapsedTime(step.PostedTimestamp));
            if (step is CloseStep<TState> close)
                Close(close.Error);
            else if (Phase == ShardPhase.Active)
                RunStep(step);
            else
                step.Fail(Phase == ShardPhase.Closed ? _closeError : ErrorCode.NotCoordinator, null);
            if (Phase == ShardPhase.Active && _log!.IsFull)
                break;
        }

        if (Phase == ShardPhase.Active)
            Guard(null, static log => log.Flush());
    }

    /// <summary>The first step; one that fails leaves the shard failed.</summary>
    private void RunFirst()
    {
        _turn!.Begin(NowMs(), TransactionProducer.None);
        State.OnLoaded(_turn);
        if ((_turn.End() ?? _log!.Flush()) is { } failure)
        {
            _log!.Abandon(failure);
            throw new ShardLoadException($"after it was read, {failure.Message}");
        }
    }

    private void RunStep(ShardStep<TState> step)
    {
        var producer = step.Producer;
        if (producer.IsTransactional
            && !Partition.Log.IsInTransaction(producer.Id, producer.Epoch, producer.Verification))
        {
            // Markers come by this mailbox, too: what holds now holds when the records are appended.
            step.Fail(ErrorCode.InvalidTxnState, null);
            return;
        }

        var turn = _turn!;
        turn.Begin(NowMs(), producer);
        ShardFailure? failure = null;
        try
        {
            step.Run(State, turn);
        }
        catch (CoordinatorException refused) when (turn.Records.Count == 0)
        {
            step.Fail(refused.Error, refused.ClientMessage);
        }
        catch (Exception thrown)
        {
            _options.Logger.LogError(thrown, "A step of {Partition} failed", Partition.TopicPartition);
            if (turn.Records.Count == 0)
                step.Fail(ErrorCode.UnknownServerError, null);
            else
                failure = new ShardFailure(ErrorCode.UnknownServerError, "a step threw behind its first record");
        }

        if (failure is null)
        {
            Guard(step, _ => turn.End());
            return;
        }

        step.Fail(failure.Error, null);
        turn.Drop(failure);
        Break(failure);
    }

    /// <summary>Runs a part that appends; whatever goes wrong there ends this life of the shard.</summary>
    private void Guard(ShardStep<TState>? step, Func<ShardLog, ShardFailure?> append)
    {
        ShardFailure? failure;
        try
        {
            failure = append(_log!);
        }
        catch (Exception thrown)
        {
            _options.Logger.LogError(thrown, "An append to {Partition} failed", Partition.TopicPartition);
            failure = new ShardFailure(ErrorCode.UnknownServerError, thrown.Message);
            _turn!.Drop(failure);
        }

        if (failure is null)
            return;
        step?.Fail(failure.Error, null);
        Break(failure);
    }

    private void OnAnswersFailed(ErrorCode error, string message) =>
        Post(new InternalStep<TState>((_, _) => Break(new ShardFailure(error, message))));

    /// <summary>Ends this life of the shard: its state is not what its log says.</summary>
    private void Break(ShardFailure failure, LogLevel level = LogLevel.Error)
    {
        if (Phase != ShardPhase.Active)
            return;
        // The end of leadership is no fault; the metadata tells of it, too.
        _options.Logger.Log(
            Partition.IsLeader ? level : LogLevel.Information,
            "{Partition} is loaded anew: {Reason}",
            Partition.TopicPartition,
            failure.Message);
        _log!.Abandon(failure);
        Close(Partition.IsLeader && !Partition.IsOffline
            ? ErrorCode.CoordinatorLoadInProgress
            : ErrorCode.NotCoordinator);
        _onBroken(this);
    }

    private void Close(ErrorCode error)
    {
        if (Phase == ShardPhase.Closed)
            return;
        // Nothing is left of it when the log was abandoned.
        if (Phase == ShardPhase.Active && _log!.Flush() is { } failure)
            _log.Abandon(failure);
        _closeError = error;
        var wasLoaded = Phase == ShardPhase.Active;
        Volatile.Write(ref _phase, (int)ShardPhase.Closed);
        _timers.Clear();
        if (wasLoaded)
        {
            // Whoever waits here looks for the coordinator again, also when it is this broker.
            State.OnUnloaded(ErrorCode.NotCoordinator);
            _log!.Dispose();
            _turn!.Dispose();
        }

        _ = CompleteAsync();
    }

    private async Task CompleteAsync()
    {
        await _answers.DrainAsync().ConfigureAwait(false);
        _closed.TrySetResult();
    }

    private long NowMs() => _options.Time.GetUtcNow().ToUnixTimeMilliseconds();

    private sealed class TransactionEndStep(
        CoordinatorShard<TState> shard, TransactionEnd end, Reply<bool> reply) : ShardStep<TState>
    {
        public override void Run(TState state, ICoordinatorTurn turn)
        {
            if (shard._log!.AppendMarker(end, turn.NowMs) is { } failure)
            {
                reply.Fail(failure.Error);
                // A marker that comes too late is not written, and nothing else is amiss.
                if (failure.Error is not (ErrorCode.InvalidProducerEpoch or ErrorCode.TransactionCoordinatorFenced))
                    shard.Break(failure);
                return;
            }

            CrashPoint.Reached("txn.offsets-marker-appended", end.IsCommit ? "commit" : "abort");
            state.ReplayTransactionEnd(end.ProducerId, end.ProducerEpoch, end.IsCommit);
            turn.Send(reply, true);
        }

        public override void Fail(ErrorCode error, string? message) => reply.Fail(error, message);
    }
}
