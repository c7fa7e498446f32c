using KBroker.Compat.Harness;
using KBroker.Compat.Interchange.Tests.Portraits;
using KBroker.Compat.Interchange.Tests.Wire;
using KBroker.Compat.Interchange.Tests.Work;

namespace KBroker.Compat.Interchange.Tests;

/// <summary>
/// One set of log directories on which Apache Kafka and KBroker run in turn. At each start everything that a client can
/// see must be as it was before the stop.
/// </summary>
internal sealed class Journey : IAsyncDisposable
{
    private readonly ITestOutputHelper? _output = TestContext.Current.TestOutputHelper;
    private BrokerProcess? _broker;
    private Portrait? _last;
    private bool _kafka;
    private bool _wasClean = true;
    private int _ended;

    private Journey(BrokerSite site) => Site = site;

    public BrokerSite Site { get; }

    public Batches Batches { get; } = new(seed: 42);

    public BrokerProcess Broker => _broker ?? throw new InvalidOperationException("no broker runs");

    /// <summary>A new place, with two log directories and settings that make many files of few records.</summary>
    /// <param name="formatArguments">For kafka-storage; with --standalone the quorum is a dynamic one.</param>
    /// <param name="settings">Added to server.properties.</param>
    public static Journey Begin(string[]? formatArguments = null, params string[] settings)
    {
        var directory = Directory.CreateTempSubdirectory("kbroker-interchange-").FullName;
        var (port, controllerPort) = BrokerSite.FreePorts();
        formatArguments ??= [];
        var quorum = formatArguments.Contains("--standalone")
            ? $"controller.quorum.bootstrap.servers=127.0.0.1:{controllerPort}"
            : $"controller.quorum.voters=1@127.0.0.1:{controllerPort}";
        return new Journey(new BrokerSite(directory, port, controllerPort)
        {
            FormatArguments = formatArguments,
            Settings =
            [
                "process.roles=broker,controller",
                "node.id=1",
                quorum,
                $"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controllerPort}",
                $"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
                "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                $"log.dirs={directory}/data-a,{directory}/data-b",
                "offsets.topic.replication.factor=1",
                "offsets.topic.num.partitions=4",
                "transaction.state.log.replication.factor=1",
                "transaction.state.log.min.isr=1",
                "transaction.state.log.num.partitions=3",
                "share.coordinator.state.topic.replication.factor=1",
                "share.coordinator.state.topic.min.isr=1",
                "share.coordinator.state.topic.num.partitions=2",
                "group.initial.rebalance.delay.ms=0",
                "log.retention.ms=-1",
                "log.cleaner.backoff.ms=200",
                "log.initial.task.delay.ms=500",
                "metadata.log.max.record.bytes.between.snapshots=12000",
                .. settings,
            ],
        });
    }

    /// <summary>Starts Apache Kafka.</summary>
    public Task StartKafkaAsync() => StartAsync(kafka: true);

    /// <summary>Starts KBroker; with --target kafka it is Apache Kafka in its place, to tell a wrong test.</summary>
    public Task StartKBrokerAsync() => StartAsync(CompatEnvironment.TargetIsKafka);

    /// <summary>Does something as a client, then notes what can be seen.</summary>
    public async Task WorkAsync(Func<Commands, Task> work)
    {
        await using var client = await WireClient.ConnectAsync(Site.Port);
        await work(new Commands(client));
        await LookAsync();
    }

    /// <summary>Notes what can be seen, for the comparison after the next start.</summary>
    public async Task LookAsync()
    {
        var now = await Painter.PaintAsync(Site.Port);
        _output?.WriteLine($"{Name}: {now.Count} facts");
        _last = _last is null ? now : now.Over(_last);
    }

    public async Task StopAsync()
    {
        Assert.Equal(_kafka ? 143 : 0, await Broker.StopAsync());
        // What clients did while it ran may be worth a warning, but no error.
        if (_kafka)
            AssertNoComplaints(KafkaLog.Errors(Broker.Log));
        _wasClean = true;
        await EndAsync();
    }

    /// <summary>SIGKILL.</summary>
    public async Task KillAsync()
    {
        await Broker.KillAsync();
        _wasClean = false;
        await EndAsync();
    }

    /// <summary>A second broker on the same directories must refuse to start while the first one runs.</summary>
    public async Task AssertLockedForAsync(bool kafka)
    {
        var (port, controllerPort) = BrokerSite.FreePorts();
        var beside = Directory.CreateDirectory(Path.Combine(Site.Directory, "beside")).FullName;
        var second = Site with
        {
            Directory = beside,
            Port = port,
            ControllerPort = controllerPort,
            Settings =
            [
                .. Site.Settings.Select(s => s.Replace($":{Site.Port}", $":{port}", StringComparison.Ordinal)
                    .Replace($":{Site.ControllerPort}", $":{controllerPort}", StringComparison.Ordinal)),
            ],
        };
        var refused = await Assert.ThrowsAsync<InvalidOperationException>(() =>
            BrokerProcess.StartAtAsync(second, kafka));
        // Kafka says it long before its last lines, which are about what it closes.
        Assert.Contains(".lock", Assert.IsType<string>(refused.Data[BrokerProcess.LogOfFailedStart]));
    }

    public async ValueTask DisposeAsync()
    {
        if (_broker is not null)
        {
            if (TestContext.Current.TestState?.Result != TestResult.Passed)
                _output?.WriteLine($"end of the log of {Name}:\n{_broker.LogTail}");
            await EndAsync();
        }

        Batches.Dispose();
        if (Keeps)
            _output?.WriteLine($"kept: {Site.Directory}");
        else
            Directory.Delete(Site.Directory, recursive: true);
    }

    private static bool Keeps => Environment.GetEnvironmentVariable("KBROKER_KEEP_FILES") is not null;

    private string Name => _kafka ? "Kafka" : "KBroker";

    private async Task StartAsync(bool kafka)
    {
        _kafka = kafka;
        _broker = await BrokerProcess.StartAtAsync(Site, kafka);
        if (_last is null)
            return;
        var now = await Painter.PaintAsync(Site.Port);
        _last.AssertSame(now, $"after the start of {Name}");
        _last = now.Over(_last);
        if (kafka)
            CheckLog();
    }

    /// <summary>Kafka must not find anything wrong, nor anything to repair after a clean stop.</summary>
    private void CheckLog()
    {
        AssertNoComplaints(KafkaLog.Complaints(Broker.Log));
        Assert.Equal(_wasClean, KafkaLog.SkippedRecovery(Broker.Log, Site.LogDirs.Count));
    }

    private static void AssertNoComplaints(List<string> complaints) =>
        Assert.True(complaints.Count == 0, $"Kafka complains:\n{string.Join('\n', complaints.Take(20))}");

    private async Task EndAsync()
    {
        if (Keeps)
            await File.WriteAllTextAsync(Path.Combine(Site.Directory, $"{++_ended}-{Name}.log"), Broker.Log);
        await Broker.DisposeAsync();
        _broker = null;
    }
}
