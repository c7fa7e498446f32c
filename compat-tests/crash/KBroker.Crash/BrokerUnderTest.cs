using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using KBroker.Protocol.Messages;
using KBroker.Throughput;

namespace KBroker.Crash;

/// <summary>
/// The real broker process, started again and again on the same directories and port, killed in between.
/// </summary>
internal sealed class BrokerUnderTest(
    string executable, string directory, int port, IReadOnlyList<string> properties) : IDisposable
{
    private const int LogLinesKept = 400;
    private const int SigKill = 128 + 9;
    private readonly Queue<string> _log = new();
    private Process? _process;

    /// <summary>The port of the listener, the same for all its lives.</summary>
    public int Port => port;

    public string Bootstrap => $"127.0.0.1:{port}";

    /// <summary>What a power cut takes from: it holds the log directories.</summary>
    public string Disk { get; } = Path.Combine(directory, "disk");

    /// <summary>Its log directories.</summary>
    public string[] LogDirectories { get; } =
        [Path.Combine(directory, "disk", "a"), Path.Combine(directory, "disk", "b")];

    /// <summary>Where the test build keeps its record of what is on stable storage; null without.</summary>
    public string? PowerCutRecord { get; set; }

    public bool IsRunning => _process is { HasExited: false };

    /// <summary>The last lines that it wrote.</summary>
    public string LogTail
    {
        get
        {
            lock (_log)
                return string.Join('\n', _log.TakeLast(60));
        }
    }

    /// <summary>Starts the process.</summary>
    /// <param name="crashAt">Where it shall die, or null.</param>
    public void Start(string? crashAt = null)
    {
        var start = new ProcessStartInfo(executable, ["serve", "--config", WriteConfig()])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = directory,
        };
        start.Environment["DOTNET_TieredCompilation"] = "1";
        if (crashAt is not null)
            start.Environment["KBROKER_CRASH_AT"] = crashAt;
        if (PowerCutRecord is not null)
        {
            start.Environment["KBROKER_POWER_CUT_RECORD"] = PowerCutRecord;
            start.Environment["KBROKER_POWER_CUT_ROOT"] = Disk;
        }

        Note($"--- start{(crashAt is null ? "" : ", to die at " + crashAt)}");
        _process?.Dispose();
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Note(line.Data);
        _process.ErrorDataReceived += (_, line) => Note(line.Data);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>Waits until it answers.</summary>
    /// <returns>False when the process ended before.</returns>
    /// <exception cref="TimeoutException">Neither happened.</exception>
    public bool WaitUntilReady(TimeSpan limit)
    {
        for (var started = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(started) < limit;)
        {
            if (!IsRunning)
                return false;
            try
            {
                using var connection = new ProtocolConnection(port);
                var answer = connection.Call<MetadataResponse>(new MetadataRequest { Topics = [] }, 9);
                if (answer.Brokers.Count > 0)
                    return true;
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
            }

            Thread.Sleep(10);
        }

        throw new TimeoutException($"the broker does not answer after {limit.TotalSeconds:0} s");
    }

    /// <summary>Kills it as kill -9 does.</summary>
    public void Kill()
    {
        Note("--- kill -9");
        _process!.Kill();
        WaitForExit(TimeSpan.FromSeconds(30));
    }

    /// <summary>Asks it to stop in good order.</summary>
    public void Terminate()
    {
        Note("--- SIGTERM");
        using var kill = Process.Start("kill", ["-TERM", _process!.Id.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }

    /// <summary>Waits until it is gone.</summary>
    /// <returns>False when it is not.</returns>
    public bool WaitForExit(TimeSpan limit)
    {
        if (!_process!.WaitForExit(limit))
            return false;
        // Without a limit, it waits for the output as well.
        _process.WaitForExit();
        return true;
    }

    /// <summary>Whether it ended because of a signal that cannot be caught.</summary>
    public bool WasKilled => _process is { HasExited: true, ExitCode: SigKill };

    /// <summary>How it ended.</summary>
    public int ExitCode => _process!.ExitCode;

    public void Dispose()
    {
        if (IsRunning)
            _process!.Kill();
        _process?.Dispose();
    }

    private string WriteConfig()
    {
        var file = Path.Combine(directory, "server.properties");
        if (!File.Exists(file))
            File.WriteAllLines(file, [.. Settings(), .. properties]);
        return file;
    }

    /// <summary>Everything that runs now and then runs often here.</summary>
    private string[] Settings() =>
    [
        "process.roles=broker,controller",
        "node.id=1",
        $"listeners=PLAINTEXT://127.0.0.1:{port}",
        $"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
        $"log.dirs={string.Join(',', LogDirectories)}",
        "auto.create.topics.enable=false",
        "offsets.topic.replication.factor=1",
        "offsets.topic.num.partitions=1",
        "group.initial.rebalance.delay.ms=0",
        "group.min.session.timeout.ms=1000",
        "group.consumer.min.session.timeout.ms=1000",
        "group.consumer.session.timeout.ms=3000",
        "group.consumer.min.heartbeat.interval.ms=100",
        "group.consumer.heartbeat.interval.ms=200",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "log.retention.check.interval.ms=40",
        "log.segment.delete.delay.ms=60",
        "log.flush.offset.checkpoint.interval.ms=70",
        "log.flush.start.offset.checkpoint.interval.ms=90",
        "log.flush.scheduler.interval.ms=200",
        "replica.high.watermark.checkpoint.interval.ms=80",
        "log.cleaner.backoff.ms=50",
        "metadata.log.max.record.bytes.between.snapshots=1000",
        "metadata.max.retention.bytes=12000",
        "kbroker.delay.memory.records=20",
        "kbroker.delay.checkpoint.records=60",
        "kbroker.delay.checkpoint.interval.ms=250",
        "kbroker.log.level=Information",
    ];

    /// <summary>A port that nobody uses and that the system hands to nobody.</summary>
    public static int FreePort(Random random)
    {
        while (true)
        {
            var port = random.Next(15_000, 32_000);
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException)
            {
            }
        }
    }

    private void Note(string? line)
    {
        if (line is null)
            return;
        lock (_log)
        {
            _log.Enqueue(line);
            if (_log.Count > LogLinesKept)
                _log.Dequeue();
        }
    }
}
