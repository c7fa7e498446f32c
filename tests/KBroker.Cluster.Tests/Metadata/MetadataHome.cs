using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;
using KBroker.Storage.Files;

namespace KBroker.Cluster.Tests.Metadata;

/// <summary>A broker's metadata in a directory of its own: opened, closed, and opened again at will.</summary>
internal sealed class MetadataHome : IAsyncDisposable
{
    private readonly Dictionary<string, string> _properties;
    private readonly bool _ownsDirectory;
    private bool _isStopped = true;

    public MetadataHome(string? directory = null, params (string Name, string Value)[] properties)
    {
        _ownsDirectory = directory is null;
        Directory = directory ?? System.IO.Directory.CreateTempSubdirectory("kbroker-metadata-").FullName;
        _properties = properties.ToDictionary(p => p.Name, p => p.Value);
    }

    public string Directory { get; }

    public IFileSystem Files { get; init; } = new PhysicalFileSystem();

    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>How a snapshot is written in the background; null for a task.</summary>
    public Func<Action, Task>? RunInBackground { get; init; }

    public string LogDirectory => Path.Combine(Directory, "__cluster_metadata-0");

    public LogManager Logs { get; private set; } = null!;

    public LocalMetadataLog Log { get; private set; } = null!;

    public IController Controller { get; private set; } = null!;

    public long BrokerEpoch { get; private set; } = -1;

    public MetadataImage Image => Log.Image;

    public BrokerConfigValues Configs => new(ConfigCatalog.Default, _properties);

    /// <summary>Opens the log, and does nothing else.</summary>
    public LocalMetadataLog OpenLog()
    {
        _isStopped = false;
        var files = Files;
        Logs = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [Directory],
            NodeId = 1,
            RunInline = true,
            Files = files
        });
        return Log = LocalMetadataLog.Open(new MetadataLogOptions
        {
            Log = Logs.OpenMetadataLog(new LogConfig { MaxMessageBytes = int.MaxValue, RetentionMs = -1 }),
            NodeId = 1,
            ClusterId = Logs.ClusterId,
            BootstrapFeatures = SupportedFeatures.ParseLevels(
                _properties.GetValueOrDefault("kbroker.bootstrap.features")),
            MaxBytesBetweenSnapshots = Configs.GetLong("metadata.log.max.record.bytes.between.snapshots"),
            MaxRetentionBytes = Configs.GetLong("metadata.max.retention.bytes"),
            Files = files,
            Time = Time,
            RunInBackground = RunInBackground,
        });
    }

    /// <summary>Lets go of everything as a crash does.</summary>
    public async Task CrashAsync()
    {
        _isStopped = true;
        if (Controller is not null)
            await Controller.DisposeAsync();
        if (Log is not null)
            await Log.CloseAsync();
        Logs.Abandon();
    }

    /// <summary>Starts everything: this node leads, and is registered as controller and as broker.</summary>
    public async Task<MetadataHome> StartAsync(bool cleanShutdown = true)
    {
        OpenLog();
        Logs.LoadLogs((_, _) => null);
        Log.BecomeLeader();
        Logs.CheckpointRecoveryPoints();
        Controller = await LocalController.StartAsync(new LocalControllerOptions
        {
            Log = Log,
            NodeId = 1,
            StaticConfigs = Configs,
            Registration = new ControllerRegistration
            {
                Id = 1,
                IncarnationId = Uuid.Random(),
                Endpoints = [new("CONTROLLER", "localhost", 9093, 0)],
                Features = SupportedFeatures.Ranges,
            },
        });
        BrokerEpoch = await Controller.RegisterBrokerAsync(Broker(), cleanShutdown);
        return this;
    }

    public async Task StopAsync()
    {
        if (_isStopped)
            return;
        _isStopped = true;
        if (Controller is not null)
            await Controller.DisposeAsync();
        await Log.CloseAsync();
        Logs.Dispose();
    }

    public async Task RestartAsync(bool cleanShutdown = true)
    {
        await StopAsync();
        await StartAsync(cleanShutdown);
    }

    public BrokerRegistration Broker() => new()
    {
        Id = 1,
        Epoch = -1,
        IncarnationId = Uuid.Random(),
        Endpoints = [new("PLAINTEXT", "localhost", 9092, 0)],
        Features = SupportedFeatures.Ranges,
        LogDirs = [Logs.Directories[0].DirectoryId],
        CordonedLogDirs = [],
    };

    public async Task<CreateTopicsResponse.CreatableTopicResult> CreateAsync(
        string name, int partitions = 1, short factor = 1, bool validateOnly = false, params (string,
            string?)[] configs)
    {
        var topic = new CreateTopicsRequest.CreatableTopic
        {
            Name = name,
            NumPartitions = partitions,
            ReplicationFactor = factor
        };
        topic.Configs.AddRange(configs.Select(c =>
            new CreateTopicsRequest.CreatableTopicConfig { Name = c.Item1, Value = c.Item2 }));
        var response = await Controller.CreateTopicsAsync(new() { Topics = [topic], ValidateOnly = validateOnly });
        return response.Topics.Single();
    }

    public async Task<(ErrorCode Error, string? Message)> SetAsync(
        ConfigResourceType type, string resource, string name, string? value, sbyte operation = 0)
    {
        var response = await Controller.IncrementalAlterConfigsAsync(new()
        {
            Resources =
            [
                new()
                {
                    ResourceType = (sbyte)type, ResourceName = resource,
                    Configs = [new() { Name = name, Value = value, ConfigOperation = operation }],
                },
            ],
        });
        return (response.Responses[0].ErrorCode, response.Responses[0].ErrorMessage);
    }

    /// <summary>The image as text: equal texts mean equal images.</summary>
    public static string[] Text(MetadataImage image) =>
        [.. MetadataImageWriter.Records(image).Select(r =>
            Convert.ToHexString(MetadataRecordCodec.Encode(r.Message, r.Version))).Order()];

    public async ValueTask DisposeAsync()
    {
        if (Logs is not null)
            await StopAsync();
        if (_ownsDirectory)
            System.IO.Directory.Delete(Directory, recursive: true);
    }
}
