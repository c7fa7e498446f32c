using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace KBroker.Throughput;

/// <summary>
/// A real broker process on free ports of 127.0.0.1, with the same server.properties whichever broker it is. Its
/// directory stays until <see cref="Dispose"/>, so that it can be started again.
/// </summary>
internal sealed class BrokerProcess : IDisposable
{
    private const int StopLimitMs = 120_000;
    private readonly Settings _settings;
    private readonly int _controllerPort = FreePort();
    private Process? _process;
    private Task _output = Task.CompletedTask;

    internal BrokerProcess(Settings settings, string target)
    {
        _settings = settings;
        Target = target;
        if (target == "kbroker" && !File.Exists(settings.KBroker))
            throw new InvalidOperationException($"no broker at {settings.KBroker}; ./run --build-only builds it");
        Folder = Path.Combine(settings.Directory, $"kbroker-bench-{Environment.ProcessId}-{target}-{Port}");
        Directory.CreateDirectory(Folder);
        File.WriteAllLines(Config, Properties());
    }

    internal string Target { get; }

    internal string Folder { get; }

    internal string DataFolder => Path.Combine(Folder, "data");

    internal int Port { get; } = FreePort();

    internal int Id => _process?.Id ?? throw new InvalidOperationException($"{Target} does not run");

    private string Config => Path.Combine(Folder, "server.properties");

    private string LogFile => Path.Combine(Folder, "server.log");

    /// <summary>Kafka formats its directory in a step of its own; KBroker needs none.</summary>
    internal void Format()
    {
        if (Target != "kafka" || File.Exists(Path.Combine(DataFolder, "meta.properties"))) return;
        string[] arguments = ["format", "-t", "KBrokerBenchKafkaCluster", "-c", Config];
        using var format = Process.Start(Kafka("kafka-storage.sh", arguments))!;
        var errors = format.StandardError.ReadToEndAsync();
        string output = format.StandardOutput.ReadToEnd();
        format.WaitForExit();
        if (format.ExitCode != 0) throw new InvalidOperationException($"kafka-storage format: {output}{errors.Result}");
    }

    /// <summary>Spawns the process, without waiting for it.</summary>
    internal void Start()
    {
        var start = Target == "kafka"
            ? Kafka("kafka-server-start.sh", [Config])
            : Plain(_settings.KBroker, ["serve", "--config", Config]);
        start.WorkingDirectory = Folder;
        _process = Process.Start(start)!;
        var log = TextWriter.Synchronized(new StreamWriter(LogFile, append: true) { AutoFlush = true });
        _output = Task.WhenAll(Copy(_process.StandardOutput, log), Copy(_process.StandardError, log))
            .ContinueWith(_ => log.Dispose(), TaskScheduler.Default);
    }

    /// <summary>Tries to connect each millisecond until the broker accepts.</summary>
    internal ProtocolConnection Connect()
    {
        var limit = Stopwatch.StartNew();
        while (true)
        {
            EnsureRunning();
            try
            {
                return new ProtocolConnection(Port);
            }
            catch (SocketException) when (limit.Elapsed < TimeSpan.FromSeconds(90))
            {
                Thread.Sleep(1);
            }
        }
    }

    /// <summary>What the broker has logged so far; whole lines.</summary>
    internal IEnumerable<string> LogLines()
    {
        using var file = new FileStream(LogFile, FileMode.OpenOrCreate, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file);
        var lines = reader.ReadToEnd().Split('\n');
        return lines.SkipLast(1);
    }

    internal void EnsureRunning()
    {
        if (_process is not { HasExited: true }) return;
        string tail = string.Join('\n', File.ReadLines(LogFile).TakeLast(30));
        throw new InvalidOperationException($"{Target} ended with {_process.ExitCode}\n{tail}");
    }

    /// <summary>SIGTERM, and SIGKILL after two minutes.</summary>
    internal void Stop()
    {
        if (_process is null) return;
        if (!_process.HasExited)
        {
            using var kill = Process.Start("kill", ["-TERM", $"{_process.Id}"]);
            if (!_process.WaitForExit(StopLimitMs)) _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        _output.Wait();
        _process.Dispose();
        _process = null;
    }

    /// <summary>SIGKILL: nothing is closed in order.</summary>
    internal void Kill()
    {
        _process?.Kill();
        _process?.WaitForExit();
        Stop();
    }

    public void Dispose()
    {
        Stop();
        Directory.Delete(Folder, recursive: true);
    }

    internal static int FreePort()
    {
        while (true)
        {
            // Below the ports of outgoing connections: such a one could be gone before a slow start binds it.
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            int port = Random.Shared.Next(10_000, 20_000);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException taken) when (taken.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // Try another.
            }
        }
    }

    private IEnumerable<string> Properties() =>
    [
        "process.roles=broker,controller",
        "node.id=1",
        $"controller.quorum.voters=1@127.0.0.1:{_controllerPort}",
        $"listeners=PLAINTEXT://127.0.0.1:{Port},CONTROLLER://127.0.0.1:{_controllerPort}",
        $"advertised.listeners=PLAINTEXT://127.0.0.1:{Port}",
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        $"log.dirs={DataFolder}",
        "offsets.topic.replication.factor=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "share.coordinator.state.topic.replication.factor=1",
        "share.coordinator.state.topic.min.isr=1",
        // Data of a measurement that is over shall not fill the disk, nor be written back during the next one.
        "log.segment.delete.delay.ms=0",
        .. _settings.Overrides,
    ];

    private ProcessStartInfo Kafka(string tool, string[] arguments)
    {
        string home = _settings.KafkaHome ?? throw new InvalidOperationException("no Apache Kafka here (--kafka-home)");
        var start = Plain(Path.Combine(home, "bin", tool), arguments);
        start.Environment["LOG_DIR"] = Folder;
        start.Environment["KAFKA_HEAP_OPTS"] = "-Xms1G -Xmx1G";
        string logging = Path.Combine(home, "config", "server-log4j2.yaml");
        if (File.Exists(logging)) start.Environment["KAFKA_LOG4J_OPTS"] = $"-Dlog4j2.configurationFile={logging}";
        return start;
    }

    private static ProcessStartInfo Plain(string program, string[] arguments) =>
        new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };

    private static async Task Copy(StreamReader from, TextWriter to)
    {
        while (await from.ReadLineAsync().ConfigureAwait(false) is { } line)
            await to.WriteLineAsync(line).ConfigureAwait(false);
    }
}
