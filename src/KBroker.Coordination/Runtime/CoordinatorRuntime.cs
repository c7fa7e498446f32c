using System.Collections.Concurrent;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Storage;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// A coordinator: one shard for each partition of its topic that this broker leads. It follows the metadata: loads a
/// shard when the partition comes, closes it when it goes, and tells all of them what changed.
/// </summary>
/// <typeparam name="TState">The state of a shard.</typeparam>
internal sealed class CoordinatorRuntime<TState> : IMetadataSubscriber
    where TState : class, ICoordinatorState
{
    private readonly CoordinatorOptions _options;
    private readonly Func<int, TState> _createState;
    private readonly ConcurrentDictionary<int, CoordinatorShard<TState>> _shards = new();
    private readonly SemaphoreSlim _loadSlots;
    private readonly Lock _lock = new();
    private readonly LoadTally _tally;
    private volatile bool _isRunning;

    /// <summary>Creates a coordinator without shards; <see cref="Start"/> loads them.</summary>
    /// <param name="options">What it works with.</param>
    /// <param name="createState">Makes the empty state of a partition's shard.</param>
    public CoordinatorRuntime(CoordinatorOptions options, Func<int, TState> createState)
    {
        _options = options;
        _createState = createState;
        _loadSlots = new SemaphoreSlim(options.LoadThreads);
        _tally = new LoadTally(options);
    }

    /// <summary>The shards of this broker, by partition; those that load or have failed, too.</summary>
    public IReadOnlyCollection<KeyValuePair<int, CoordinatorShard<TState>>> Shards => _shards;

    /// <summary>Begins to follow the metadata.</summary>
    public void Start()
    {
        _isRunning = true;
        _options.Metadata.Subscribe(this);
    }

    /// <summary>
    /// Closes every shard: who waits gets an error, what was appended is answered when it is durable.
    /// </summary>
    /// <returns>Done when the logs are used no more.</returns>
    public async Task StopAsync()
    {
        List<CoordinatorShard<TState>> shards;
        lock (_lock)
        {
            _isRunning = false;
            shards = [.. _shards.Values];
            _shards.Clear();
        }

        await Task.WhenAll(shards.Select(static shard => shard.CloseAsync(ErrorCode.NotCoordinator)))
            .ConfigureAwait(false);
    }

    /// <summary>Runs a step on a shard.</summary>
    /// <typeparam name="T">The answer.</typeparam>
    /// <param name="partition">The shard's partition.</param>
    /// <param name="step">The step.</param>
    /// <returns>The answer, once what it rests on is durable.</returns>
    /// <exception cref="CoordinatorException">Through the task.</exception>
    public Task<T> RunAsync<T>(int partition, Action<TState, ICoordinatorTurn, Reply<T>> step) =>
        RunAsync(partition, TransactionProducer.None, step);

    /// <summary>Runs a step whose records belong to a transaction: they hold when its marker has come.</summary>
    /// <typeparam name="T">The answer.</typeparam>
    /// <param name="partition">The shard's partition.</param>
    /// <param name="producer">The transaction's producer.</param>
    /// <param name="step">The step.</param>
    /// <returns>The answer, once what it rests on is durable.</returns>
    /// <exception cref="CoordinatorException">Through the task.</exception>
    public Task<T> RunAsync<T>(
        int partition, TransactionProducer producer, Action<TState, ICoordinatorTurn, Reply<T>> step)
    {
        var posted = new ReplyStep<TState, T>(step, producer);
        if (Find(partition, out var error) is { } shard)
            shard.Post(posted);
        else
            posted.Fail(error, null);
        return posted.Reply.Task;
    }

    /// <summary>Writes the marker of a transaction that has records in a shard, and applies it.</summary>
    /// <param name="partition">The shard's partition.</param>
    /// <param name="end">What the marker says.</param>
    /// <returns>Done when the marker is durable.</returns>
    /// <exception cref="CoordinatorException">Through the task; INVALID_PRODUCER_EPOCH and
    /// TRANSACTION_COORDINATOR_FENCED where the marker comes too late.</exception>
    public Task EndTransactionAsync(int partition, TransactionEnd end)
    {
        var reply = new Reply<bool>();
        if (Find(partition, out var error) is { } shard)
            shard.PostTransactionEnd(end, reply);
        else
            reply.Fail(error);
        return reply.Task;
    }

    /// <summary>Runs a step on every shard led here.</summary>
    /// <typeparam name="T">A shard's part of the answer.</typeparam>
    /// <param name="step">The step.</param>
    /// <returns>The parts, in the order of the partitions.</returns>
    /// <exception cref="CoordinatorException">Through the task. COORDINATOR_LOAD_IN_PROGRESS when one is
    /// loading.</exception>
    public async Task<IReadOnlyList<T>> RunOnAllAsync<T>(Func<TState, ICoordinatorTurn, T> step)
    {
        if (!_isRunning)
            throw new CoordinatorException(ErrorCode.CoordinatorNotAvailable);
        var shards = _shards.OrderBy(static pair => pair.Key).ToList();
        if (shards.Exists(static pair => pair.Value.Phase == ShardPhase.Loading))
            throw new CoordinatorException(ErrorCode.CoordinatorLoadInProgress);
        var parts = shards
            .Where(static pair => pair.Value.Phase == ShardPhase.Active)
            .Select(pair => RunAsync<T>(pair.Key, (state, turn, reply) => turn.Send(reply, step(state, turn))));
        return await Task.WhenAll(parts).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void OnMetadata(MetadataUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        lock (_lock)
        {
            if (!_isRunning)
                return;
            foreach (var topic in update.DeletedTopics)
            {
                if (topic.Name == _options.Topic)
                    CloseAll();
            }

            // A shard that is created here has this metadata already.
            var older = _shards.Values.ToList();
            foreach (var topic in update.ChangedTopics)
            {
                if (topic.Name == _options.Topic)
                    Follow(topic, update.Current);
            }

            foreach (var shard in older)
                shard.OnMetadata(update);
        }
    }

    private CoordinatorShard<TState>? Find(int partition, out ErrorCode error)
    {
        if (!_isRunning)
            error = ErrorCode.CoordinatorNotAvailable;
        else if (!_shards.TryGetValue(partition, out var shard))
            error = ErrorCode.NotCoordinator;
        else if (shard.Phase == ShardPhase.Loading)
            error = ErrorCode.CoordinatorLoadInProgress;
        else
        {
            error = ErrorCode.None;
            return shard;
        }

        return null;
    }

    private void Follow(TopicImage topic, MetadataImage image)
    {
        foreach (var described in topic.Partitions)
        {
            var index = described.PartitionId;
            var isHere = _options.Partitions.Find(new TopicPartition(topic.Name, index), out var partition)
                == ErrorCode.None && partition!.IsLeader;
            var known = _shards.GetValueOrDefault(index);
            if (known is not null && isHere && known.Partition == partition
                && known.LeaderEpoch == partition!.LeaderEpoch)
                continue;
            var closed = Task.CompletedTask;
            if (known is not null && _shards.TryRemove(index, out _))
                closed = known.CloseAsync(ErrorCode.NotCoordinator);
            if (isHere)
                Begin(index, partition!, image, closed);
        }
    }

    private void CloseAll()
    {
        foreach (var (index, shard) in _shards)
        {
            if (_shards.TryRemove(index, out _))
                _ = shard.CloseAsync(ErrorCode.NotCoordinator);
        }
    }

    private void Begin(int index, Partition partition, MetadataImage image, Task after)
    {
        var shard = new CoordinatorShard<TState>(_options, partition, _createState(index), image, OnBroken);
        _shards[index] = shard;
        _ = LoadAsync(shard, after);
    }

    private async Task LoadAsync(CoordinatorShard<TState> shard, Task after)
    {
        _tally.Begin();
        LoadSummary? summary = null;
        try
        {
            // The one before may still append.
            await after.ConfigureAwait(false);
            await _loadSlots.WaitAsync().ConfigureAwait(false);
            try
            {
                summary = await Task.Run(shard.Load).ConfigureAwait(false);
            }
            finally
            {
                _loadSlots.Release();
            }
        }
        finally
        {
            _tally.End(summary);
        }
    }

    private void OnBroken(CoordinatorShard<TState> broken)
    {
        lock (_lock)
        {
            var index = broken.Partition.TopicPartition.Partition;
            if (!_isRunning || !_shards.TryGetValue(index, out var current) || current != broken)
                return;
            // Without leadership or disk there is nothing to load; the metadata will tell when that changes.
            if (broken.Partition.IsLeader && !broken.Partition.IsOffline)
                Begin(index, broken.Partition, _options.Metadata.Image, broken.Closed);
        }
    }
}

/// <summary>Sums up loads that run at the same time, for one line in the log at their end.</summary>
/// <param name="options">The coordinator's.</param>
internal sealed class LoadTally(CoordinatorOptions options)
{
    private readonly Lock _lock = new();
    private int _running;
    private int _loaded;
    private long _records;
    private long _bytes;
    private long _began;

    /// <summary>A load begins.</summary>
    public void Begin()
    {
        lock (_lock)
        {
            if (_running++ == 0)
                _began = options.Time.GetTimestamp();
        }
    }

    /// <summary>A load ended.</summary>
    /// <param name="summary">What it read, or null when it failed.</param>
    public void End(LoadSummary? summary)
    {
        lock (_lock)
        {
            if (summary is not null)
            {
                _loaded++;
                _records += summary.RecordsCount;
                _bytes += summary.SizeInBytes;
            }

            if (--_running > 0 || _loaded == 0)
                return;
            options.Logger.LogInformation(
                "{Topic}: {Partitions} partitions loaded, {Records} records, {Megabytes:0.0} MB in {Milliseconds:0} ms",
                options.Topic, _loaded, _records, _bytes / 1e6,
                options.Time.GetElapsedTime(_began).TotalMilliseconds);
            _loaded = 0;
            _records = _bytes = 0;
        }
    }
}
