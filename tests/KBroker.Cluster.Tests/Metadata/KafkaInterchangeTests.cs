using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using KBroker.Cluster.Metadata;

namespace KBroker.Cluster.Tests.Metadata;

/// <summary>Apache Kafka reads what was written here, and the other way round. Skipped where there is no
/// Kafka.</summary>
public sealed class KafkaInterchangeTests
{
    private static readonly string? Home = FindKafka();

    [Fact]
    public async Task Kafkas_dump_tool_reads_log_and_snapshot()
    {
        SkipWithoutKafka();
        await using var home = await new MetadataHome().StartAsync();
        await FillAsync(home);
        home.Log.WriteSnapshot();
        await home.RestartAsync(cleanShutdown: false);
        await home.StopAsync();

        var files = Directory.GetFiles(home.LogDirectory).Where(f =>
            f.EndsWith(".log") || f.EndsWith(".checkpoint")).ToList();
        Assert.Equal(2, files.Count);
        var dump = await RunAsync("kafka-dump-log.sh", "--cluster-metadata-decoder", "--files", string.Join(',',
            files));
        Assert.DoesNotContain("isvalid: false", dump);
        Assert.DoesNotContain("Error", dump);
        Assert.DoesNotContain("Could not", dump);
        foreach (var expected in (string[])
            ["LeaderChange", "SnapshotHeader", "SnapshotFooter", "REGISTER_BROKER_RECORD", "\"name\":\"orders\"",
                "PARTITION_CHANGE_RECORD"])
            Assert.Contains(expected, dump);
    }

    [Fact]
    public async Task Kafka_starts_on_a_directory_written_here_and_its_changes_are_read_back()
    {
        SkipWithoutKafka();
        var root = Directory.CreateTempSubdirectory("kbroker-kafka-");
        var data = Path.Combine(root.FullName, "data");
        var port = FreePort();
        await using var home = await new MetadataHome(data).StartAsync();
        await FillAsync(home);
        home.Log.WriteSnapshot();
        await home.CreateAsync("behind.the.snapshot");
        var before = home.Image;
        await home.Controller.BeginControlledShutdownAsync(1, home.BrokerEpoch);
        await home.StopAsync();
        var server = await StartKafkaAsync(root.FullName, data, port);
        try
        {
            var topics = await RunAsync("kafka-topics.sh", "--bootstrap-server", $"127.0.0.1:{port}", "--list");
            Assert.Equal(["behind.the.snapshot", "orders"], topics.Split('\n',
                StringSplitOptions.RemoveEmptyEntries).Order());
            await RunAsync(
                "kafka-topics.sh", "--bootstrap-server", $"127.0.0.1:{port}", "--create", "--topic", "by-kafka",
                    "--partitions", "3");
        }
        finally
        {
            server.Kill(entireProcessTree: true);
            await server.WaitForExitAsync();
        }

        await home.StartAsync(cleanShutdown: false);
        Assert.Equal(before.Topics.Find("orders")!.Id, home.Image.Topics.Find("orders")!.Id);
        Assert.Equal(before.Configs.OfTopic("orders"), home.Image.Configs.OfTopic("orders"));
        Assert.Equal(3, home.Image.Topics.Find("by-kafka")!.Partitions.Length);
        Assert.All(home.Image.Topics.ByName.Values.SelectMany(t => t.Partitions), p => Assert.Equal(1, p.Leader));
        Assert.Equal(KBroker.Protocol.ErrorCode.None, (await home.CreateAsync("afterwards")).ErrorCode);
        await home.StopAsync();
        root.Delete(recursive: true);
    }

    private static async Task FillAsync(MetadataHome home)
    {
        await home.CreateAsync("orders", 3, configs: ("retention.ms", "100000"));
        await home.CreateAsync("gone");
        await home.Controller.DeleteTopicsAsync(new() { TopicNames = ["gone"] });
        await home.SetAsync(ConfigResourceType.Broker, "", "log.retention.ms", "5000");
        await home.SetAsync(ConfigResourceType.Group, "g", "consumer.session.timeout.ms", "50000");
        await home.Controller.AllocateProducerIdsAsync(new() { BrokerId = 1, BrokerEpoch = home.BrokerEpoch });
    }

    private static async Task<Process> StartKafkaAsync(string root, string data, int port)
    {
        var properties = Path.Combine(root, "server.properties");
        var controllerPort = FreePort();
        await File.WriteAllTextAsync(properties, $"""
            process.roles=broker,controller
            node.id=1
            controller.quorum.voters=1@127.0.0.1:{controllerPort}
            listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controllerPort}
            advertised.listeners=PLAINTEXT://127.0.0.1:{port}
            controller.listener.names=CONTROLLER
            listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
            log.dirs={data}
            """);
        var process = Start("kafka-server-start.sh", [properties]);
        var started = new TaskCompletionSource();
        var output = new List<string>();
        process.OutputDataReceived += (_, line) =>
        {
            lock (output)
                output.Add(line.Data ?? "");
            if (line.Data?.Contains("Kafka Server started") == true)
                started.TrySetResult();
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        var first = await Task.WhenAny(started.Task, process.WaitForExitAsync()).WaitAsync(TimeSpan.FromSeconds(240));
        if (first == started.Task)
            return process;
        process.Kill(entireProcessTree: true);
        lock (output)
            throw new InvalidOperationException("Kafka did not start: " + string.Join('\n', output.TakeLast(40)));
    }

    private static async Task<string> RunAsync(string tool, params string[] arguments)
    {
        using var process = Start(tool, arguments);
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{tool} ended with {process.ExitCode}: {output}{await error}");
        return output;
    }

    private static Process Start(string tool, string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(Home!, "bin", tool), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["KAFKA_HEAP_OPTS"] = "-Xmx512M";
        var logging = Path.Combine(Home!, "config", "server-log4j2.yaml");
        if (tool.Contains("server-start") && File.Exists(logging))
            start.Environment["KAFKA_LOG4J_OPTS"] = "-Dlog4j2.configurationFile=" + logging;
        return Process.Start(start)!;
    }

    /// <summary>
    /// Below the ports that the system gives to outgoing connections: such a one could be gone again before Kafka,
    /// which starts slowly, binds it.
    /// </summary>
    private static int FreePort()
    {
        while (true)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
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

    private static void SkipWithoutKafka() =>
        Assert.SkipWhen(Home is null, "No Apache Kafka: set KAFKA_HOME, or put one at ../shared/peers/kafka.");

    private static string? FindKafka()
    {
        if (Environment.GetEnvironmentVariable("KAFKA_HOME") is { Length: > 0 } given)
            return given;
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            var candidate = Path.Combine(at.FullName, "shared", "peers", "kafka");
            if (File.Exists(Path.Combine(candidate, "bin", "kafka-dump-log.sh")))
                return candidate;
        }

        return null;
    }
}
