using System.Collections.Concurrent;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Crashing;
using KBroker.Timing;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Transactions;

/// <summary>What the transaction coordinator needs of its broker.</summary>
public sealed record TransactionCoordinatorOptions
{
    /// <summary>The configs in force.</summary>
    public required ConfigView Configs { get; init; }

    /// <summary>The metadata; the partitions have subscribed before.</summary>
    public required IMetadataLog Metadata { get; init; }

    /// <summary>The partitions of this broker.</summary>
    public required PartitionRegistry Partitions { get; init; }

    /// <summary>The group coordinator, for the markers of transactional commits.</summary>
    public required GroupCoordinator Groups { get; init; }

    /// <summary>Gives a producer id that nobody has, or an error.</summary>
    public required Func<CancellationToken, ValueTask<(ErrorCode Error, long ProducerId)>> NextProducerId
    {
        get;
        init;
    }

    /// <summary>The broker's timing wheel.</summary>
    public required ITaskTimer Timer { get; init; }

    /// <summary>The clock.</summary>
    public required TimeProvider Time { get; init; }

    /// <summary>Codecs of compressed batches.</summary>
    public required CompressionCodecs Codecs { get; init; }

    /// <summary>Where timeouts, loads and failures are told.</summary>
    public required ILogger Logger { get; init; }
}

/// <summary>
/// Kafka's transaction coordinator, on the partitions of <c>__transaction_state</c> that this broker leads: the state
/// of transactional ids (<see cref="TransactionShard"/>), and the markers that end transactions.
/// </summary>
public sealed class TransactionCoordinator : ITransactionShards, IAsyncDisposable
{
    private readonly TransactionCoordinatorOptions _options;
    private readonly CoordinatorRuntime<TransactionShard> _runtime;
    private readonly CoordinatorMetrics _metrics = new();
    private readonly MarkerWriter _writer;
    private readonly ConcurrentDictionary<Task, bool> _writing = new();
    private readonly CancellationTokenSource _stopping = new();

    /// <summary>Creates the coordinator; <see cref="Start"/> loads its transactional ids.</summary>
    /// <param name="options">What it needs of its broker.</param>
    public TransactionCoordinator(TransactionCoordinatorOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        Markers = new PartitionMarkers(options.Partitions, options.Groups, options.Time);
        _writer = new MarkerWriter(Markers, Exists, options.Time, options.Logger);
        Api = new TransactionApi(this, options.NextProducerId);
        var broker = options.Configs.Broker;
        _runtime = new CoordinatorRuntime<TransactionShard>(
            new CoordinatorOptions
            {
                Topic = TopicNames.TransactionState,
                Codec = CoordinatorRecordCodec.Transactions,
                Partitions = options.Partitions,
                Metadata = options.Metadata,
                Timer = options.Timer,
                Time = options.Time,
                Codecs = options.Codecs,
                LoadBufferBytes = broker.GetInt("transaction.state.log.load.buffer.size"),
                Logger = options.Logger,
                Metrics = _metrics,
            },
            CreateShard);
    }

    /// <summary>What producers and brokers ask.</summary>
    public TransactionApi Api { get; }

    /// <summary>Writes markers into partitions of this broker.</summary>
    public PartitionMarkers Markers { get; }

    /// <summary>Begins to load and to serve the partitions that this broker leads.</summary>
    public void Start() => _runtime.Start();

    /// <summary>Ends service. Markers that are not written yet are written after the next start.</summary>
    /// <returns>Done when the logs are used no more.</returns>
    public async Task StopAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        await _runtime.StopAsync().ConfigureAwait(false);
        await Task.WhenAll(_writing.Keys).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await StopAsync().ConfigureAwait(false);
        _metrics.Dispose();
        _stopping.Dispose();
    }

    /// <summary>The partition of <c>__transaction_state</c> that a transactional id belongs to.</summary>
    /// <param name="transactionalId">The id.</param>
    /// <returns>The partition; null while there is no such topic.</returns>
    public int? PartitionOf(string transactionalId) =>
        _options.Metadata.Image.Topics.Find(TopicNames.TransactionState) is { } topic
            ? GroupPartitions.Of(transactionalId, topic.Partitions.Length)
            : null;

    /// <inheritdoc/>
    Task<T> ITransactionShards.RunAsync<T>(
        string transactionalId, Action<TransactionShard, ICoordinatorTurn, Reply<T>> step) =>
        PartitionOf(transactionalId) is { } partition
            ? _runtime.RunAsync(partition, step)
            : Task.FromException<T>(new CoordinatorException(ErrorCode.NotCoordinator));

    /// <inheritdoc/>
    Task<IReadOnlyList<T>> ITransactionShards.RunOnAllAsync<T>(Func<TransactionShard, ICoordinatorTurn, T> step) =>
        _runtime.RunOnAllAsync(step);

    private TransactionShard CreateShard(int index)
    {
        _options.Partitions.Find(new TopicPartition(TopicNames.TransactionState, index), out var partition);
        return new TransactionShard(new TransactionShardOptions
        {
            Configs = _options.Configs,
            CoordinatorEpoch = partition?.LeaderEpoch ?? 0,
            WriteMarkers = work => Begin(index, work),
            Logger = _options.Logger,
        });
    }

    private bool Exists(TopicPartition partition) =>
        _options.Metadata.Image.Topics.FindPartition(partition.Topic, partition.Partition) is not null;

    private void Begin(int index, MarkerWork work)
    {
        var task = EndAsync(index, work);
        if (task.IsCompleted || !_writing.TryAdd(task, true))
            return;
        task.ContinueWith(
            (ended, _) => _writing.TryRemove(ended, out var _),
            null, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    private async Task EndAsync(int index, MarkerWork work)
    {
        CrashPoint.Reached("txn.prepare-durable", work.IsCommit ? "commit" : "abort");
        try
        {
            if (!await _writer.WriteAsync(work, _stopping.Token).ConfigureAwait(false))
                return;
            CrashPoint.Reached("txn.markers-durable", work.IsCommit ? "commit" : "abort");
            await _runtime.RunAsync<bool>(index, (shard, turn, reply) =>
            {
                shard.OnMarkersWritten(turn, work);
                turn.Send(reply, true);
            }).ConfigureAwait(false);
            CrashPoint.Reached("txn.complete-durable", work.IsCommit ? "commit" : "abort");
        }
        catch (Exception ended) when (ended is OperationCanceledException or CoordinatorException)
        {
            // Whoever loads the partition next finds the decision in its log, and writes the markers again.
        }
        catch (Exception failure)
        {
            _options.Logger.LogError(
                failure, "The transaction of {TransactionalId} cannot be ended", work.TransactionalId);
        }
    }
}
