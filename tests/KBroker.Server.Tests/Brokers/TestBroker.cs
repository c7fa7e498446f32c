using System.Collections.Concurrent;
using KBroker.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Tests.Brokers;

/// <summary>
/// A real broker in this process: own directory, ports chosen by the system, log kept for assertions.
/// </summary>
internal sealed class TestBroker : IAsyncDisposable
{
    public const int NodeId = 7;

    private readonly Broker? _broker;
    private readonly string _folder;
    private readonly bool _ownsFolder;

    private TestBroker(Broker? broker, string folder, bool ownsFolder, BrokerLog log)
    {
        _broker = broker;
        _folder = folder;
        _ownsFolder = ownsFolder;
        Log = log;
    }

    /// <summary>
    /// The port of another broker on this machine to test instead, Apache Kafka for one (KBROKER_TEST_PORT); it must
    /// be node 7 with fresh data. Tells a wrong broker from a wrong test; tests that look inside are skipped.
    /// </summary>
    public static int? OtherPort { get; } =
        int.TryParse(Environment.GetEnvironmentVariable("KBROKER_TEST_PORT"), out var port) ? port : null;

    public Broker Broker
    {
        get
        {
            Assert.SkipWhen(_broker is null, "looks inside the broker");
            return _broker!;
        }
    }

    public BrokerLog Log { get; }

    public BrokerState State => Broker.State!;

    public int Port => _broker is null ? OtherPort!.Value : PortOf("PLAINTEXT");

    /// <summary>Stands for the other broker.</summary>
    public static TestBroker Other() => new(null, string.Empty, ownsFolder: false, new BrokerLog());

    /// <summary>Starts a broker.</summary>
    /// <param name="folder">Where its data lies; null for a new folder that goes with it.</param>
    /// <param name="properties">What differs from the defaults of tests.</param>
    public static async Task<TestBroker> StartAsync(string? folder = null,
        params (string Name, string Value)[] properties)
    {
        var owns = folder is null;
        folder ??= Directory.CreateTempSubdirectory("kbroker-broker-").FullName;
        var all = new Dictionary<string, string>
        {
            ["node.id"] = "7",
            ["listeners"] = "PLAINTEXT://127.0.0.1:0",
            ["log.dirs"] = Path.Combine(folder, "data"),
            ["log.flush.offset.checkpoint.interval.ms"] = "3600000",
            ["group.initial.rebalance.delay.ms"] = "0",
        };
        foreach (var (name, value) in properties)
            all[name] = value;
        var log = new BrokerLog();
        var broker = new Broker(BrokerOptions.Create(all), log, TimeProvider.System);
        await broker.StartAsync(TestContext.Current.CancellationToken);
        return new TestBroker(broker, folder, owns, log);
    }

    public int PortOf(string listener) => Broker.BoundListeners.First(l => l.ListenerName == listener).Port;

    public Task<ProtocolClient> ConnectAsync(string listener = "PLAINTEXT") =>
        ProtocolClient.ConnectAsync(_broker is null ? Port : PortOf(listener));

    public async Task StopAsync() => await Broker.StopAsync(CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        if (_broker is not null)
            await _broker.DisposeAsync();
        if (_ownsFolder)
            Directory.Delete(_folder, recursive: true);
    }
}

/// <summary>Keeps what a broker logs. A test that provokes no fault asserts that there is no error in it.</summary>
internal sealed class BrokerLog : ILoggerFactory
{
    private readonly ConcurrentQueue<string> _lines = new();

    public IReadOnlyCollection<string> Lines => _lines;

    public IEnumerable<string> Errors => _lines.Where(static line => line.StartsWith("Error", StringComparison.Ordinal)
        || line.StartsWith("Critical", StringComparison.Ordinal));

    public ILogger CreateLogger(string categoryName) => new Logger(categoryName, _lines);

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public void Dispose()
    {
    }

    private sealed class Logger(string category, ConcurrentQueue<string> lines) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                lines.Enqueue($"{logLevel} {category}: {formatter(state, exception)} {exception}");
        }
    }
}

/// <summary>One broker and one connection for all tests of a class; each test has topics of its own.</summary>
public sealed class BrokerFixture : IAsyncLifetime
{
    private readonly string _prefix = Guid.NewGuid().ToString("N")[..6];
    private int _topics;

    internal TestBroker Broker { get; private set; } = null!;

    internal ProtocolClient Client { get; private set; } = null!;

    /// <summary>Starts the broker.</summary>
    public async ValueTask InitializeAsync()
    {
        Broker = TestBroker.OtherPort is null ? await TestBroker.StartAsync() : TestBroker.Other();
        Client = await Broker.ConnectAsync();
    }

    /// <summary>Stops the broker, and fails when it logged an error.</summary>
    public async ValueTask DisposeAsync()
    {
        await Client.DisposeAsync();
        await Broker.DisposeAsync();
        Assert.Empty(Broker.Log.Errors);
    }

    /// <summary>A topic name that no other test has.</summary>
    internal string NewName() => $"topic-{_prefix}-{Interlocked.Increment(ref _topics)}";

    /// <summary>Creates a topic.</summary>
    internal Task<TestTopic> CreateTopicAsync(int partitions = 1, params (string Name, string Value)[] configs) =>
        TestTopic.CreateAsync(Client, NewName(), partitions, configs);
}
