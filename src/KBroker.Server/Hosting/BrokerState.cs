using System.Collections.Concurrent;
using System.Collections.Immutable;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Storage;
using KBroker.Storage.Files;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>
/// The broker below its sockets: logs, metadata, controller, partitions. <see cref="Open"/> replays what is on disk;
/// <see cref="RegisterAsync"/> makes the broker a member of its cluster.
/// </summary>
internal sealed class BrokerState
{
    // Kafka's default is never, and so flush.ms does nothing there unless this is set, too.
    private const long DefaultFlushCheckIntervalMs = 1000;

    private readonly BrokerOptions _options;
    private readonly ILoggerFactory _loggers;
    private readonly TimeProvider _time;
    private readonly IFileSystem _files;
    private readonly Action<Exception> _fail;
    private LocalMetadataLog? _metadata;
    private LocalController? _controller;
    private PeriodicWork? _checkpoints;
    private DirectoryAssignments? _assignments;
    private ReplicaMoves? _moves;
    private CordonedDirectories? _cordoned;

    /// <summary>Creates the state; nothing is opened.</summary>
    /// <param name="options">The broker's properties.</param>
    /// <param name="loggers">Where its log goes.</param>
    /// <param name="time">Its clock.</param>
    /// <param name="files">Where its data lies.</param>
    /// <param name="fail">Told when the broker cannot go on.</param>
    public BrokerState(
        BrokerOptions options,
        ILoggerFactory loggers,
        TimeProvider time,
        IFileSystem files,
        Action<Exception> fail)
    {
        _options = options;
        _fail = fail;
        _loggers = loggers;
        _time = time;
        _files = files;
        Configs = new ConfigView(options.Configs, options.NodeId);
        Delayed = new DelayedOperations(time, loggers.CreateLogger<DelayedOperations>());
    }

    public ConfigView Configs { get; }

    public DelayedOperations Delayed { get; }

    public long BrokerEpoch { get; private set; } = -1;

    public LogManager Logs { get => field ?? throw NotOpen(); private set; }

    public PartitionRegistry Partitions { get => field ?? throw NotOpen(); private set; }

    /// <summary>The moves between log directories; from the registration on.</summary>
    public ReplicaMoves Moves => _moves ?? throw NotOpen();

    public IMetadataLog Metadata => _metadata ?? throw NotOpen();

    public IController Controller => _controller ?? throw NotOpen();

    /// <summary>Opens the directories, replays the metadata and opens the logs it names.</summary>
    public void Open()
    {
        var configs = _options.Configs;
        Logs = LogManager.Open(LogManagerOptions());
        foreach (var logDirectory in Logs.Directories)
            logDirectory.Failed += OnDirectoryFailed;
        var directory = Logs.Directories.FirstOrDefault(d => d.Path == _options.MetadataLogDir);
        var metadataLog = Logs.OpenMetadataLog(MetadataLogConfig(), directory);
        _metadata = LocalMetadataLog.Open(new MetadataLogOptions
        {
            Log = metadataLog,
            NodeId = _options.NodeId,
            ClusterId = Logs.ClusterId,
            BootstrapFeatures = _options.BootstrapFeatures,
            MaxBytesBetweenSnapshots = configs.GetLong("metadata.log.max.record.bytes.between.snapshots"),
            MaxSnapshotIntervalMs = configs.GetLong("metadata.log.max.snapshot.interval.ms"),
            MaxRetentionBytes = configs.GetLong("metadata.max.retention.bytes"),
            MaxRetentionMs = configs.GetLong("metadata.max.retention.ms"),
            Files = _files,
            Time = _time,
            Logger = _loggers.CreateLogger<LocalMetadataLog>(),
        });
        _metadata.Subscribe(Configs);
        _cordoned = new CordonedDirectories(
            Logs, Configs, _options.NodeId, _loggers.CreateLogger<CordonedDirectories>());
        _metadata.Subscribe(_cordoned);
        var configsOfTopics = new ConcurrentDictionary<string, LogConfig>();
        Logs.LoadLogs(
            (partition, topicId) => ConfigOf(partition, topicId, configsOfTopics),
            partition => Metadata.Image.Topics.Find(partition.Topic)?.Id ?? Uuid.Zero,
            DirectoryOf);
        _metadata.BecomeLeader();
        // From here on damage in what was replayed is known as such, and not taken for a torn end.
        Logs.CheckpointRecoveryPoints();
        _assignments = new DirectoryAssignments(_options.NodeId, _loggers.CreateLogger<DirectoryAssignments>());
        Partitions = new PartitionRegistry(
            Logs, Configs, _options.NodeId, Delayed, _loggers.CreateLogger<PartitionRegistry>(), _assignments);
        _metadata.Subscribe(Partitions);
        // Behind the partitions, which know the high watermarks.
        Logs.Cleaner.Start();
        _checkpoints = new PeriodicWork(
            Partitions.CheckpointHighWatermarks,
            TimeSpan.FromMilliseconds(configs.GetLong("replica.high.watermark.checkpoint.interval.ms")),
            _time,
            _loggers.CreateLogger<PeriodicWork>());
    }

    /// <summary>Starts the controller, and registers controller and broker with what others are told of them.</summary>
    /// <param name="endpoints">The advertised listeners.</param>
    /// <param name="controllerEndpoints">The controller listeners, advertised.</param>
    /// <param name="cancellation">Stops the waiting.</param>
    public async Task RegisterAsync(
        ImmutableArray<NodeEndpoint> endpoints,
        ImmutableArray<NodeEndpoint> controllerEndpoints,
        CancellationToken cancellation)
    {
        _controller = await LocalController.StartAsync(new LocalControllerOptions
        {
            Log = _metadata ?? throw NotOpen(),
            NodeId = _options.NodeId,
            StaticConfigs = _options.Configs,
            Registration = new ControllerRegistration
            {
                Id = _options.NodeId,
                IncarnationId = Uuid.Random(),
                Endpoints = controllerEndpoints,
                Features = _options.SupportedFeatures,
            },
            Logger = _loggers.CreateLogger<LocalController>(),
        }).ConfigureAwait(false);
        var registration = new BrokerRegistration
        {
            Id = _options.NodeId,
            Epoch = -1,
            IncarnationId = Uuid.Random(),
            Endpoints = endpoints,
            Features = _options.SupportedFeatures,
            Rack = _options.Rack,
            LogDirs = [.. Logs.Directories.Where(static d => !d.IsOffline).Select(static d => d.DirectoryId)],
            CordonedLogDirs = [.. _cordoned!.Ids],
        };
        var isClean = Logs.Directories.All(static d => d.WasCleanlyShutDown);
        BrokerEpoch = await Controller.RegisterBrokerAsync(registration, isClean, cancellation).ConfigureAwait(false);
        _assignments!.Start(Controller, BrokerEpoch);
        _cordoned.Start(Controller, BrokerEpoch);
        _moves = CreateMoves(_assignments);
        _moves.Resume();
        // A directory that failed while the registration was on its way was told to nobody.
        var failed = Logs.Directories.Where(d => d.IsOffline && registration.LogDirs.Contains(d.DirectoryId)).ToList();
        if (failed.Count > 0)
            await FailDirectoriesAsync(failed).ConfigureAwait(false);
    }

    /// <summary>Says farewell and puts everything on stable storage.</summary>
    public async Task CloseAsync()
    {
        Delayed.Dispose();
        if (_checkpoints is not null)
            await _checkpoints.DisposeAsync().ConfigureAwait(false);
        if (_moves is not null)
            await _moves.DisposeAsync().ConfigureAwait(false);
        if (_assignments is not null)
            await _assignments.DisposeAsync().ConfigureAwait(false);
        if (_controller is not null)
            await _controller.DisposeAsync().ConfigureAwait(false);
        if (_metadata is not null)
            await _metadata.CloseAsync().ConfigureAwait(false);
        Logs.Close(BrokerEpoch);
    }

    /// <summary>
    /// One directory of several may be lost: its partitions answer KAFKA_STORAGE_ERROR. Without the metadata, or
    /// without any directory, there is nothing left to serve, and the process ends as Kafka's does.
    /// </summary>
    private void OnDirectoryFailed(LogDirectory directory, Exception failure)
    {
        if (directory.Path == _options.MetadataLogDir || Logs.Directories.All(static d => d.IsOffline))
            _fail(new StorageException($"Log directory {directory.Path} has failed: {failure.Message}", failure));
        else if (BrokerEpoch >= 0)
            _ = FailDirectoriesAsync([directory]);
    }

    /// <summary>Tells the controller; whoever met the failure, under whatever locks, does not wait for that.</summary>
    private async Task FailDirectoriesAsync(IReadOnlyList<LogDirectory> directories)
    {
        await Task.Yield();
        try
        {
            await Controller.FailDirectoriesAsync(
                _options.NodeId, BrokerEpoch, [.. directories.Select(static d => d.DirectoryId)])
                .ConfigureAwait(false);
        }
        catch (ControllerException refused)
        {
            _loggers.CreateLogger<BrokerState>().LogError(
                "The controller was not told that {Directories} failed: {Reason}",
                string.Join(", ", directories.Select(static d => d.Path)),
                refused.Message);
        }
    }

    private ReplicaMoves CreateMoves(DirectoryAssignments assignments)
    {
        return new ReplicaMoves(
            Logs,
            Partitions,
            assignments,
            new MoveThrottle(
                _time,
                () => Configs.Broker.GetOptionalLong("replica.alter.log.dirs.io.max.bytes.per.second")
                    ?? long.MaxValue),
            _options.Configs.GetOptionalInt("num.replica.alter.log.dirs.threads") ?? Logs.Directories.Count,
            _loggers.CreateLogger<ReplicaMoves>());
    }

    private static InvalidOperationException NotOpen() => new("The broker's state is not open");

    private LogConfig? ConfigOf(
        TopicPartition topicPartition, Uuid topicId, ConcurrentDictionary<string, LogConfig> known)
    {
        var topic = Metadata.Image.Topics.Find(topicPartition.Topic);
        if (topic?.Partition(topicPartition.Partition) is not { } partition
            || !partition.Replicas.Contains(_options.NodeId)
            || (topicId != Uuid.Zero && topicId != topic.Id))
            return null;
        return known.GetOrAdd(topicPartition.Topic, topic => LogConfigs.From(Configs.OfTopic(topic)));
    }

    private Uuid DirectoryOf(TopicPartition topicPartition) =>
        Metadata.Image.Topics.FindPartition(topicPartition.Topic, topicPartition.Partition)
            ?.DirectoryOf(_options.NodeId) ?? DirectoryIds.Migrating;

    private LogConfig MetadataLogConfig()
    {
        var configs = _options.Configs;
        return new LogConfig
        {
            SegmentBytes = configs.GetInt("metadata.log.segment.bytes"),
            SegmentMs = configs.GetLong("metadata.log.segment.ms"),
            RetentionMs = -1,
            RetentionBytes = -1,
            MaxMessageBytes = 8 * 1024 * 1024,
        };
    }

    private LogManagerOptions LogManagerOptions()
    {
        var configs = _options.Configs;
        var directories = _options.LogDirs.Contains(_options.MetadataLogDir)
            ? _options.LogDirs
            : [.. _options.LogDirs, _options.MetadataLogDir];
        var flushCheckIntervalMs = configs.GetLong("log.flush.scheduler.interval.ms");
        return new LogManagerOptions
        {
            LogDirectories = directories,
            Files = _files,
            NodeId = _options.NodeId,
            ClusterId = _options.BootstrapClusterId,
            LostDirectories = _options.LostLogDirs,
            Time = _time,
            Logger = _loggers.CreateLogger<LogManager>(),
            Cleaner = CleanerConfigs.From(Configs.Broker),
            RecoveryThreadsPerDirectory = configs.GetInt("num.recovery.threads.per.data.dir"),
            RecoveryPointCheckpointIntervalMs = configs.GetLong("log.flush.offset.checkpoint.interval.ms"),
            LogStartCheckpointIntervalMs = configs.GetLong("log.flush.start.offset.checkpoint.interval.ms"),
            FlushCheckIntervalMs =
                flushCheckIntervalMs == long.MaxValue ? DefaultFlushCheckIntervalMs : flushCheckIntervalMs,
            RetentionCheckIntervalMs = configs.GetLong("log.retention.check.interval.ms"),
            ProducerIdExpirationMs = configs.GetLong("producer.id.expiration.ms"),
            ProducerIdExpirationCheckIntervalMs = configs.GetLong("producer.id.expiration.check.interval.ms"),
        };
    }
}
