using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace KBroker.Compat.Harness;

/// <summary>
/// One real broker process, KBroker or Apache Kafka, on a free port of 127.0.0.1 with a fresh temporary directory, both
/// given the same server.properties. Disposing stops it by SIGTERM and removes the directory.
/// </summary>
public sealed class BrokerProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(30);
    private readonly StringBuilder _log = new();
    private readonly Process _process;

    private BrokerProcess(string directory, int port, ProcessStartInfo start)
    {
        Directory = directory;
        Port = port;
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Append(line.Data);
        _process.ErrorDataReceived += (_, line) => Append(line.Data);
    }

    /// <summary>The temporary directory: server.properties and <c>data/</c>.</summary>
    public string Directory { get; }

    /// <summary>The port of the client listener on 127.0.0.1.</summary>
    public int Port { get; }

    /// <summary>What clients take as bootstrap servers.</summary>
    public string Bootstrap => $"127.0.0.1:{Port}";

    /// <summary>The log directory, with one folder a partition.</summary>
    public string DataDirectory => Path.Combine(Directory, "data");

    /// <summary>False after the process has ended, by itself or stopped.</summary>
    public bool IsRunning => !_process.HasExited;

    /// <summary>Everything the process has written to its two output streams.</summary>
    public string Log
    {
        get
        {
            lock (_log)
                return _log.ToString();
        }
    }

    /// <summary>The last lines of <see cref="Log"/>, for a failure message.</summary>
    public string LogTail => string.Join('\n', Log.Split('\n').TakeLast(40).Select(l => l.Length > 240 ? l[..240] : l));

    /// <summary>The process's resident memory in bytes (VmRSS of /proc/PID/status).</summary>
    public long ResidentBytes
    {
        get
        {
            var line = File.ReadLines($"/proc/{_process.Id}/status")
                .First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal));
            var kilobytes = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1];
            return long.Parse(kilobytes, CultureInfo.InvariantCulture) * 1024;
        }
    }

    /// <summary>The number of files and sockets that the process has open.</summary>
    public int OpenFiles => System.IO.Directory.GetFileSystemEntries($"/proc/{_process.Id}/fd").Length;

    /// <summary>Starts a broker of the chosen target and waits until it answers.</summary>
    /// <param name="overrides">Broker settings beside the harness's own, as <c>key=value</c>.</param>
    /// <exception cref="InvalidOperationException">It ended while starting, or was not ready in two minutes.</exception>
    public static async Task<BrokerProcess> StartAsync(params string[] overrides)
    {
        var directory = System.IO.Directory.CreateTempSubdirectory("kbroker-compat-").FullName;
        var (port, controllerPort) = FreePorts();
        var config = Path.Combine(directory, "server.properties");
        await File.WriteAllLinesAsync(config, Settings(directory, port, controllerPort).Concat(overrides));
        var start = CompatEnvironment.TargetIsKafka ? await KafkaAsync(directory, config) : KBroker(config);
        start.WorkingDirectory = directory;
        var broker = new BrokerProcess(directory, port, start);
        broker._process.Start();
        broker._process.BeginOutputReadLine();
        broker._process.BeginErrorReadLine();
        try
        {
            await Poll.UntilAsync("the broker answers", broker.AnswersAsync, StartLimit);
        }
        catch (Exception problem)
        {
            var log = broker.LogTail;
            await broker.DisposeAsync();
            throw new InvalidOperationException($"{problem.Message}\n{log}", problem);
        }

        return broker;
    }

    /// <summary>Stops the process by SIGTERM (SIGKILL when that takes half a minute); removes its directory.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            using var kill = Process.Start("kill", ["-TERM", _process.Id.ToString(CultureInfo.InvariantCulture)]);
            using var limit = new CancellationTokenSource(StopLimit);
            try
            {
                await _process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill(entireProcessTree: true);
                await _process.WaitForExitAsync();
            }
        }

        _process.Dispose();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    private static IEnumerable<string> Settings(string directory, int port, int controllerPort) =>
    [
        "process.roles=broker,controller",
        "node.id=1",
        $"controller.quorum.voters=1@127.0.0.1:{controllerPort}",
        $"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controllerPort}",
        $"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        $"log.dirs={Path.Combine(directory, "data")}",
        "offsets.topic.replication.factor=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "group.initial.rebalance.delay.ms=0",
    ];

    private static ProcessStartInfo KBroker(string config) =>
        new(CompatEnvironment.KBrokerExecutable, ["serve", "--config", config])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

    private static async Task<ProcessStartInfo> KafkaAsync(string directory, string config)
    {
        var home = CompatEnvironment.KafkaHome ?? throw new InvalidOperationException(CompatEnvironment.WhyNoBroker);
        string[] arguments = ["format", "-t", "KBrokerPeerKafkaCluster", "-c", config];
        var format = Kafka(home, directory, "kafka-storage.sh", arguments);
        using var formatting = Process.Start(format)!;
        var errors = formatting.StandardError.ReadToEndAsync();
        var output = await formatting.StandardOutput.ReadToEndAsync();
        await formatting.WaitForExitAsync();
        return formatting.ExitCode == 0
            ? Kafka(home, directory, "kafka-server-start.sh", [config])
            : throw new InvalidOperationException($"kafka-storage format failed: {output}{await errors}");
    }

    private static ProcessStartInfo Kafka(string home, string directory, string tool, string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(home, "bin", tool), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["KAFKA_HEAP_OPTS"] = "-Xmx768m -Xms256m";
        start.Environment["LOG_DIR"] = directory;
        var logging = Path.Combine(home, "config", "server-log4j2.yaml");
        if (File.Exists(logging))
            start.Environment["KAFKA_LOG4J_OPTS"] = $"-Dlog4j2.configurationFile={logging}";
        return start;
    }

    private static (int Client, int Controller) FreePorts()
    {
        using var first = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        using var second = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        return (BindFree(first), BindFree(second));
    }

    /// <summary>
    /// Below the ports that the system gives to outgoing connections: such a one could be gone again before a broker
    /// that starts slowly binds it.
    /// </summary>
    private static int BindFree(Socket socket)
    {
        while (true)
        {
            var port = Random.Shared.Next(10_000, 20_000);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // Try another.
            }
        }
    }

    private void Append(string? line)
    {
        if (line is null)
            return;
        lock (_log)
            _log.AppendLine(line);
    }

    /// <summary>Ready means: Metadata names a broker, as clients see it.</summary>
    private async Task<bool> AnswersAsync()
    {
        if (_process.HasExited)
            throw new InvalidOperationException($"the broker ended with {_process.ExitCode} while starting");
        try
        {
            using var connection = await RawConnection.OpenAsync(Port);
            return await connection.CountBrokersAsync() > 0;
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            return false;
        }
    }
}
