using System.Diagnostics.Metrics;
using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Administration;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Groups.Consumer;
using KBroker.Coordination.Groups.Offsets;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Records;

namespace KBroker.Coordination.Groups;

/// <summary>
/// Kafka's group coordinator: consumer groups of both protocols and committed offsets, on the partitions of
/// <c>__consumer_offsets</c> that this broker leads. Handlers use the API objects, one for each family of requests.
/// </summary>
public sealed class GroupCoordinator : IGroupShards, IAsyncDisposable
{
    private readonly GroupCoordinatorOptions _options;
    private readonly CoordinatorRuntime<GroupShard> _runtime;
    private readonly CoordinatorMetrics _metrics = new();

    /// <summary>Creates the coordinator; <see cref="Start"/> loads its groups.</summary>
    /// <param name="options">What it needs of its broker.</param>
    public GroupCoordinator(GroupCoordinatorOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        var broker = options.Configs.Broker;
        var compression = (CompressionType)broker.GetInt("offsets.topic.compression.codec");
        var shards = new GroupShardOptions
        {
            Configs = options.Configs,
            NewUuid = options.NewUuid ?? (static () => Guid.NewGuid().ToString()),
            Logger = options.Logger,
        };
        _runtime = new CoordinatorRuntime<GroupShard>(
            new CoordinatorOptions
            {
                Topic = TopicNames.ConsumerOffsets,
                Codec = CoordinatorRecordCodec.Groups,
                Partitions = options.Partitions,
                Metadata = options.Metadata,
                Timer = options.Timer,
                Time = options.Time,
                Codecs = options.Codecs,
                Compression = () => compression,
                LoadThreads = broker.GetInt("group.coordinator.threads"),
                LoadBufferBytes = broker.GetInt("offsets.load.buffer.size"),
                Logger = options.Logger,
                Metrics = _metrics,
            },
            _ => new GroupShard(shards));
        Offsets = new OffsetApi(this);
        Classic = new ClassicGroupApi(this, options.Configs);
        Administration = new GroupAdministrationApi(this);
        Consumer = new ConsumerGroupApi(this, options.Configs);
        AddGauges();
    }

    /// <summary>The requests of consumer groups (KIP-848).</summary>
    public ConsumerGroupApi Consumer { get; }

    /// <summary>Committed offsets.</summary>
    public OffsetApi Offsets { get; }

    /// <summary>JoinGroup, SyncGroup, Heartbeat, LeaveGroup.</summary>
    public ClassicGroupApi Classic { get; }

    /// <summary>DescribeGroups, ListGroups, DeleteGroups.</summary>
    public GroupAdministrationApi Administration { get; }

    /// <summary>Begins to load and to serve the partitions that this broker leads.</summary>
    public void Start() => _runtime.Start();

    /// <summary>
    /// Ends service: whoever waits in a JoinGroup or SyncGroup gets an error, and what was committed is answered.
    /// </summary>
    /// <returns>Done when the logs are used no more.</returns>
    public Task StopAsync() => _runtime.StopAsync();

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await StopAsync().ConfigureAwait(false);
        _metrics.Dispose();
    }

    /// <inheritdoc/>
    Task<T> IGroupShards.RunAsync<T>(string groupId, Action<GroupShard, ICoordinatorTurn, Reply<T>> step) =>
        PartitionOf(groupId) is { } partition
            ? _runtime.RunAsync(partition, step)
            : Task.FromException<T>(new CoordinatorException(ErrorCode.NotCoordinator));

    /// <inheritdoc/>
    Task<T> IGroupShards.RunAsync<T>(
        string groupId, TransactionProducer producer, Action<GroupShard, ICoordinatorTurn, Reply<T>> step) =>
        PartitionOf(groupId) is { } partition
            ? _runtime.RunAsync(partition, producer, step)
            : Task.FromException<T>(new CoordinatorException(ErrorCode.NotCoordinator));

    /// <inheritdoc/>
    Task<IReadOnlyList<T>> IGroupShards.RunOnAllAsync<T>(Func<GroupShard, ICoordinatorTurn, T> step) =>
        _runtime.RunOnAllAsync(step);

    /// <summary>The partition of <c>__consumer_offsets</c> that a group belongs to.</summary>
    /// <param name="groupId">The group.</param>
    /// <returns>The partition; null while there is no such topic.</returns>
    public int? PartitionOf(string groupId) =>
        _options.Metadata.Image.Topics.Find(TopicNames.ConsumerOffsets) is { } topic
            ? GroupPartitions.Of(groupId, topic.Partitions.Length)
            : null;

    /// <summary>Writes the marker of a transaction into a partition of the groups' topic, and applies it.</summary>
    /// <param name="partition">The partition.</param>
    /// <param name="end">What the marker says.</param>
    /// <returns>Done when it is durable.</returns>
    /// <exception cref="CoordinatorException">Through the task.</exception>
    internal Task EndTransactionAsync(int partition, TransactionEnd end) =>
        _runtime.EndTransactionAsync(partition, end);

    private void AddGauges()
    {
        _metrics.AddGauge(
            "num-partitions", "{partition}", "Partitions of __consumer_offsets led here, by state.",
            () => _runtime.Shards.GroupBy(static pair => pair.Value.Phase).Select(static group =>
                new Measurement<long>(
                    group.Count(), new KeyValuePair<string, object?>("state", PhaseName(group.Key)))));
        _metrics.AddGauge(
            "NumGroups", "{group}", "Groups of both protocols.", () => Sum(shard => shard.Groups.All.Count));
        _metrics.AddGauge(
            "NumOffsets", "{offset}", "Committed offsets.", () => Sum(shard => shard.Offsets.Committed.Count));
    }

    private Measurement<long>[] Sum(Func<GroupShard, int> count) =>
        [new(_runtime.Shards.Where(static pair => pair.Value.Phase == ShardPhase.Active)
            .Sum(pair => (long)count(pair.Value.State)))];

    private static string PhaseName(ShardPhase phase) => phase switch
    {
        ShardPhase.Active => "active",
        ShardPhase.Loading => "loading",
        _ => "failed",
    };
}
