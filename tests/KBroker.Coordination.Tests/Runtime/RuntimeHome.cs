using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Files;
using KBroker.Storage.Tests;
using KBroker.Timing;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Tests.Runtime;

/// <summary>
/// A coordinator of notes on real partitions over a file system that fails when the test says so. The metadata is what
/// the test publishes; <see cref="RestartAsync"/> is a stop, or a power cut, and a start.
/// </summary>
internal sealed class RuntimeHome : IAsyncDisposable, IPartitionListener
{
    public const string Topic = "notes";
    private const int BrokerId = 1;
    private readonly string _folder = Directory.CreateTempSubdirectory("kbroker-runtime-").FullName;
    private readonly CompressionCodecs _codecs = new();
    private readonly CompressionType _compression;
    private readonly (string Name, string Value)[] _configs;
    private readonly Uuid _topicId = Uuid.Random();
    private LogManager _logs = null!;
    private SystemTimer _timer = null!;
    private TestMetadata _metadata = null!;
    private int _epoch;

    public RuntimeHome(
        CompressionType compression = CompressionType.None, params (string Name, string Value)[] topicConfigs)
    {
        _compression = compression;
        _configs = topicConfigs;
        Files = new FaultInjectingFileSystem(new PhysicalFileSystem(), _folder);
        Open();
    }

    public FaultInjectingFileSystem Files { get; }

    public TestLog Log { get; } = new();

    public CoordinatorRuntime<NoteState> Runtime { get; private set; } = null!;

    public PartitionRegistry Partitions { get; private set; } = null!;

    /// <summary>The states that were made, newest last.</summary>
    public List<NoteState> States { get; } = [];

    /// <summary>Called with every record that is replayed.</summary>
    public Action<string>? OnReplay { get; set; }

    public Partition Partition(int index = 0)
    {
        Assert.Equal(ErrorCode.None, Partitions.Find(new TopicPartition(Topic, index), out var partition));
        return partition!;
    }

    /// <summary>The topic's log file on disk.</summary>
    public string LogFile(int index = 0) =>
        Path.Combine(_folder, "data", $"{Topic}-{index}", "00000000000000000000.log");

    /// <summary>Creates the topic with this broker as leader, and starts the coordinator.</summary>
    public async Task<RuntimeHome> StartAsync(int partitions = 1)
    {
        _metadata.Publish([new TopicRecord { Name = Topic, TopicId = _topicId },
            .. _configs.Select(static c => new ConfigRecord
            {
                ResourceType = (sbyte)ConfigResourceType.Topic,
                ResourceName = Topic,
                Name = c.Name,
                Value = c.Value,
            }),
            .. Enumerable.Range(0, partitions).Select(Describe)]);
        Runtime.Start();
        for (var i = 0; i < partitions; i++)
            await LoadedAsync(i);
        return this;
    }

    /// <summary>Waits until a shard does not load any more.</summary>
    public Task LoadedAsync(int index = 0) => Eventually(
        () => Runtime.Shards.Any(s => s.Key == index && s.Value.Phase is ShardPhase.Active or ShardPhase.Failed),
        $"shard {index} is loaded");

    /// <summary>Makes another broker the leader, or this one again, in a new epoch.</summary>
    public void SetLeader(int leader, int index = 0, params int[] isr)
    {
        _metadata.Publish([new PartitionChangeRecord
        {
            TopicId = _topicId,
            PartitionId = index,
            Leader = leader,
            Isr = isr.Length == 0 ? [leader] : [.. isr],
        }]);
    }

    /// <summary>Changes the in-sync replicas alone.</summary>
    public void SetIsr(params int[] isr) => _metadata.Publish([new PartitionChangeRecord
    {
        TopicId = _topicId,
        PartitionId = 0,
        Leader = PartitionImage.NoLeaderChange,
        Isr = [.. isr],
    }]);

    public void DeleteTopic() => _metadata.Publish([new RemoveTopicRecord { TopicId = _topicId }]);

    /// <summary>Adds a note.</summary>
    public Task<int> WriteAsync(string note, int index = 0) => Runtime.RunAsync<int>(
        index,
        (state, turn, reply) =>
        {
            turn.Append(NoteState.Record(note));
            turn.Send(reply, state.Notes.Count);
        });

    /// <summary>Reads the notes.</summary>
    public Task<List<string>> ReadAsync(int index = 0) => Runtime.RunAsync<List<string>>(
        index, (state, turn, reply) => turn.Send(reply, [.. state.Notes]));

    /// <summary>Reads the notes as a client does, which asks again while the shard loads.</summary>
    public async Task<List<string>> ReadAgainAsync(int index = 0)
    {
        List<string>? notes = null;
        var began = TimeProvider.System.GetTimestamp();
        while (notes is null)
        {
            try
            {
                notes = await ReadAsync(index);
            }
            catch (CoordinatorException refused) when (refused.Error == ErrorCode.CoordinatorLoadInProgress)
            {
                Assert.True(TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(60), "it loads and loads");
                await Task.Delay(2);
            }
        }

        return notes;
    }

    /// <summary>Stops everything and starts it on what the disk has.</summary>
    public async Task RestartAsync(bool isPowerCut, Random? luck = null)
    {
        Files.Fault = null;
        if (isPowerCut)
        {
            _logs.Abandon();
            await Runtime.StopAsync();
            _timer.Dispose();
            Files.CutPower(luck);
        }
        else
        {
            await Runtime.StopAsync();
            _timer.Dispose();
            _logs.Close(-1);
        }

        var partitions = _metadata.Image.Topics.Find(Topic)!.Partitions.Length;
        Open();
        await StartAsync(partitions);
    }

    public async ValueTask DisposeAsync()
    {
        Files.Fault = null;
        await Runtime.StopAsync();
        _timer.Dispose();
        _logs.Dispose();
        Files.DeleteTrash();
        _codecs.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    public static async Task Eventually(Func<bool> condition, string what)
    {
        var began = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(60), "not so: " + what);
            await Task.Delay(2);
        }
    }

    public void OnHighWatermarkAdvanced(Partition partition)
    {
    }

    public void OnLeadershipLost(Partition partition)
    {
    }

    public void OnLogStartOffsetAdvanced(Partition partition)
    {
    }

    private PartitionRecord Describe(int index) => new()
    {
        TopicId = _topicId,
        PartitionId = index,
        Leader = BrokerId,
        LeaderEpoch = ++_epoch,
        Replicas = [BrokerId, 2],
        Isr = [BrokerId],
        Directories = [DirectoryIds.Unassigned, DirectoryIds.Unassigned],
    };

    private void Open()
    {
        _logs = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [Path.Combine(_folder, "data")],
            NodeId = BrokerId,
            Files = Files,
            Cleaner = new CleanerSettings { Enabled = false },
        });
        _logs.LoadLogs((_, _) => new LogConfig(), _ => _topicId, _ => DirectoryIds.Unassigned);
        var configs = new ConfigView(
            new BrokerConfigValues(ConfigCatalog.Default, new Dictionary<string, string>()), BrokerId);
        _metadata = new TestMetadata();
        _metadata.Subscribe(configs);
        Partitions = new PartitionRegistry(_logs, configs, BrokerId, this, Log);
        _metadata.Subscribe(Partitions);
        _timer = new SystemTimer(TimeProvider.System);
        Runtime = new CoordinatorRuntime<NoteState>(
            new CoordinatorOptions
            {
                Topic = Topic,
                Codec = CoordinatorRecordCodec.Groups,
                Partitions = Partitions,
                Metadata = _metadata,
                Timer = _timer,
                Time = TimeProvider.System,
                Codecs = _codecs,
                Compression = () => _compression,
                Logger = Log,
                Metrics = new CoordinatorMetrics(),
            },
            _ =>
            {
                var state = new NoteState(note => OnReplay?.Invoke(note));
                lock (States)
                    States.Add(state);
                return state;
            });
    }

    private sealed class TestMetadata : IMetadataLog
    {
        private readonly List<IMetadataSubscriber> _subscribers = [];

        public MetadataImage Image { get; private set; } = MetadataImage.Empty;

        public void Subscribe(IMetadataSubscriber subscriber)
        {
            _subscribers.Add(subscriber);
            subscriber.OnMetadata(new MetadataUpdate(MetadataImage.Empty, Image, null));
        }

        public QuorumDescription DescribeQuorum() => throw new NotSupportedException();

        public void Publish(IEnumerable<IMessage> records)
        {
            var delta = new MetadataDelta(Image);
            foreach (var record in records)
                delta.Replay(record);
            var update = new MetadataUpdate(
                Image, delta.Apply(new MetadataProvenance(Image.Provenance.LastContainedOffset + 1, 1, 0)), delta);
            Image = update.Current;
            foreach (var subscriber in _subscribers)
                subscriber.OnMetadata(update);
        }
    }
}

/// <summary>A state of notes: each record adds one. A note is the group id of an offset, which is a record that
/// exists.</summary>
internal sealed class NoteState(Action<string> onReplay) : ICoordinatorState
{
    private readonly Dictionary<long, List<string>> _pending = [];

    public List<string> Notes { get; } = [];

    public List<long> Offsets { get; } = [];

    /// <summary>Someone who waits for something.</summary>
    public Reply<int>? Waiting { get; set; }

    public int Updates { get; private set; }

    public bool WasLoaded { get; private set; }

    public static CoordinatorRecord Record(string note) => new(
        new OffsetCommitKey { Group = note, Topic = "t" }, new OffsetCommitValue { Metadata = "" }, 4);

    public void Replay(in ReplayContext context, IRecordMessage key, IRecordMessage? value)
    {
        var note = ((OffsetCommitKey)key).Group;
        onReplay(note);
        if (context.IsTransactional)
        {
            if (!_pending.TryGetValue(context.ProducerId, out var notes))
                _pending[context.ProducerId] = notes = [];
            notes.Add(note);
            return;
        }

        Notes.Add(note);
        Offsets.Add(context.Offset);
    }

    public void ReplayTransactionEnd(long producerId, short producerEpoch, bool isCommit)
    {
        if (_pending.Remove(producerId, out var notes) && isCommit)
            Notes.AddRange(notes);
    }

    public void OnLoaded(ICoordinatorTurn turn) => WasLoaded = true;

    public void OnUnloaded(ErrorCode error) => Waiting?.Fail(error);

    public void OnMetadata(ICoordinatorTurn turn, MetadataUpdate update) => Updates++;
}

/// <summary>Keeps what is logged.</summary>
internal sealed class TestLog : ILogger
{
    private readonly List<(LogLevel Level, string Text)> _lines = [];

    public IReadOnlyList<string> Errors => Of(LogLevel.Error);

    public IReadOnlyList<string> Of(LogLevel level)
    {
        lock (_lines)
            return [.. _lines.Where(line => line.Level == level).Select(static line => line.Text)];
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception,
        Func<TState, Exception?, string> formatter)
    {
        lock (_lines)
            _lines.Add((logLevel, formatter(state, exception)));
    }
}
