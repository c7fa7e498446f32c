using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace KBroker.Compat.Harness;

/// <summary>
/// One real broker process, KBroker or Apache Kafka, on a port of 127.0.0.1, both given the same server.properties. It
/// runs in a fresh temporary directory that goes with it, or at a <see cref="BrokerSite"/> that stays. Disposing stops
/// it by SIGTERM.
/// </summary>
public sealed class BrokerProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(60);
    private readonly StringBuilder _log = new();
    private readonly Process _process;
    private readonly bool _ownsDirectory;

    private BrokerProcess(string directory, int port, bool ownsDirectory, ProcessStartInfo start)
    {
        Directory = directory;
        Port = port;
        _ownsDirectory = ownsDirectory;
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Append(line.Data);
        _process.ErrorDataReceived += (_, line) => Append(line.Data);
    }

    /// <summary>The directory: server.properties and, of a broker with a directory of its own, <c>data/</c>.</summary>
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

    /// <summary>Key of the whole log in <see cref="Exception.Data"/> when a broker does not start.</summary>
    public const string LogOfFailedStart = "log";

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
    /// <exception cref="InvalidOperationException">It ended while starting, or was not ready in time.</exception>
    public static async Task<BrokerProcess> StartAsync(params string[] overrides)
    {
        var directory = System.IO.Directory.CreateTempSubdirectory("kbroker-compat-").FullName;
        var site = BrokerSite.Plain(directory, overrides);
        return await StartAsync(site, CompatEnvironment.TargetIsKafka, ownsDirectory: true);
    }

    /// <summary>Starts a broker on the files of a site, which stay when it ends, and waits until it answers.</summary>
    /// <param name="site">Where it runs.</param>
    /// <param name="kafka">True for Apache Kafka, which is formatted first where nothing is, false for KBroker.</param>
    /// <exception cref="InvalidOperationException">It ended while starting, or was not ready in time.</exception>
    public static Task<BrokerProcess> StartAtAsync(BrokerSite site, bool kafka) =>
        StartAsync(site, kafka, ownsDirectory: false);

    /// <summary>Stops the process by SIGTERM, and by SIGKILL when that takes too long.</summary>
    /// <returns>Its exit code; 137 after SIGKILL.</returns>
    public async Task<int> StopAsync()
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
                await KillAsync();
            }
        }

        // Again and without a limit: this time it also waits for the last line of output.
        await _process.WaitForExitAsync();
        return _process.ExitCode;
    }

    /// <summary>Ends the process by SIGKILL: nothing is flushed, closed or answered.</summary>
    public async Task KillAsync()
    {
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
    }

    /// <summary>Stops the process if it runs; removes its directory if that is its own.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process.Dispose();
        if (_ownsDirectory)
            System.IO.Directory.Delete(Directory, recursive: true);
    }

    private static async Task<BrokerProcess> StartAsync(BrokerSite site, bool kafka, bool ownsDirectory)
    {
        await File.WriteAllLinesAsync(site.PropertiesFile, site.Settings);
        var start = kafka ? await KafkaAsync(site) : KBroker(site.PropertiesFile);
        start.WorkingDirectory = site.Directory;
        var broker = new BrokerProcess(site.Directory, site.Port, ownsDirectory, start);
        broker._process.Start();
        broker._process.BeginOutputReadLine();
        broker._process.BeginErrorReadLine();
        try
        {
            await Poll.UntilAsync("the broker answers", broker.AnswersAsync, StartLimit);
        }
        catch (Exception problem)
        {
            await broker.DisposeAsync();
            // Only now the last line of its output has come.
            throw new InvalidOperationException($"{problem.Message}\n{broker.LogTail}", problem)
            {
                Data = { [LogOfFailedStart] = broker.Log },
            };
        }

        return broker;
    }

    private static ProcessStartInfo KBroker(string config) =>
        new(CompatEnvironment.KBrokerExecutable, ["serve", "--config", config])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

    private static async Task<ProcessStartInfo> KafkaAsync(BrokerSite site)
    {
        var home = CompatEnvironment.KafkaHome ?? throw new InvalidOperationException(CompatEnvironment.WhyNoBroker);
        if (!site.IsFormatted)
        {
            string[] arguments = ["format", "-t", "KBrokerPeerKafkaCluster", "-c", site.PropertiesFile];
            var format = Kafka(home, site.Directory, "kafka-storage.sh", [.. arguments, .. site.FormatArguments]);
            using var formatting = Process.Start(format)!;
            var errors = formatting.StandardError.ReadToEndAsync();
            var output = await formatting.StandardOutput.ReadToEndAsync();
            await formatting.WaitForExitAsync();
            if (formatting.ExitCode != 0)
                throw new InvalidOperationException($"kafka-storage format failed: {output}{await errors}");
        }

        return Kafka(home, site.Directory, "kafka-server-start.sh", [site.PropertiesFile]);
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
