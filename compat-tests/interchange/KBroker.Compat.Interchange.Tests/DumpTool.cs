using System.Diagnostics;
using System.Text.RegularExpressions;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Interchange.Tests;

/// <summary>Apache Kafka's kafka-dump-log over the files of a site, while no broker runs there.</summary>
internal sealed partial class DumpTool(BrokerSite site)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    /// <summary>Runs it over every kind of file, in every way that checks something.</summary>
    public async Task AssertReadsEverythingAsync()
    {
        var folders = site.LogDirs.SelectMany(Directory.GetDirectories)
            .Where(d => !d.EndsWith("-delete", StringComparison.Ordinal)).Order().ToList();
        var partitions = folders.Where(f => !Path.GetFileName(f).StartsWith("__", StringComparison.Ordinal)).ToList();
        var records = await RunAsync(
            ["--deep-iteration", "--print-data-log"],
            Files(partitions, ".log", ".index", ".timeindex", ".txnindex", ".snapshot"));
        Assert.Contains("compresscodec: zstd", records);
        Assert.Contains("isTransactional: true", records);
        Assert.Contains("endTxnMarker: ABORT", records);
        Assert.Contains("producerId: ", records);
        Assert.Contains("lastStableOffset: ", records);
        var indexes = Files(folders, ".index", ".timeindex");
        var sanity = await RunAsync(["--index-sanity-check"], indexes);
        Assert.All(indexes, file => Assert.True(
            sanity.Contains($"{file} passed sanity check", StringComparison.Ordinal)
                || (new FileInfo(file).Length == 0 && sanity.Contains($"{file} is empty", StringComparison.Ordinal)),
            file));
        await RunAsync(["--verify-index-only"], indexes);
        var metadata = await RunAsync(
            ["--cluster-metadata-decoder"],
            [
                .. Files(Of("__cluster_metadata"), ".log", ".checkpoint"),
                .. site.LogDirs.Select(d => Path.Combine(d, "bootstrap.checkpoint")).Where(File.Exists),
            ]);
        foreach (var expected in (string[])["SnapshotHeader", "SnapshotFooter", "LeaderChange",
            "REGISTER_BROKER_RECORD", "TOPIC_RECORD", "PARTITION_CHANGE_RECORD", "CONFIG_RECORD",
            "FEATURE_LEVEL_RECORD"])
            Assert.Contains(expected, metadata);
        var groups = await RunAsync(["--offsets-decoder"], Files(Of("__consumer_offsets"), ".log"));
        Assert.Matches(GroupOfTheStory(), groups);
        var transactions = await RunAsync(["--transaction-log-decoder"], Files(Of("__transaction_state"), ".log"));
        Assert.Contains("\"transactionalId\":\"decided\"", transactions);

        List<string> Of(string topic) => folders.FindAll(f =>
            Path.GetFileName(f).StartsWith(topic + "-", StringComparison.Ordinal));
    }

    /// <summary>Runs it over the files of one topic.</summary>
    /// <returns>What it says of the records.</returns>
    public async Task<string> ReadAsync(string topic)
    {
        var folders = site.LogDirs.SelectMany(d => Directory.GetDirectories(d, $"{topic}-*")).Order().ToList();
        await RunAsync(["--index-sanity-check"], Files(folders, ".index", ".timeindex"));
        await RunAsync(["--verify-index-only"], Files(folders, ".index", ".timeindex"));
        return await RunAsync(
            ["--deep-iteration", "--print-data-log"],
            Files(folders, ".log", ".index", ".timeindex", ".txnindex", ".snapshot"));
    }

    private static List<string> Files(IEnumerable<string> folders, params string[] extensions) =>
    [
        .. folders.SelectMany(f => Directory.GetFiles(f).Order())
            .Where(f => extensions.Contains(Path.GetExtension(f))),
    ];

    /// <summary>What it prints; fails when it ends with an error or says that something is wrong.</summary>
    private static async Task<string> RunAsync(string[] options, List<string> files)
    {
        Assert.NotEmpty(files);
        var tool = Path.Combine(CompatEnvironment.KafkaHome!, "bin", "kafka-dump-log.sh");
        var start = new ProcessStartInfo(tool, [.. options, "--files", string.Join(',', files)])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["KAFKA_HEAP_OPTS"] = "-Xmx256m";
        using var process = Process.Start(start)!;
        using var limit = new CancellationTokenSource(Limit);
        var error = process.StandardError.ReadToEndAsync(limit.Token);
        var output = await process.StandardOutput.ReadToEndAsync(limit.Token) + await error;
        await process.WaitForExitAsync(limit.Token);
        Assert.True(process.ExitCode == 0, $"{string.Join(' ', options)} ends with {process.ExitCode}:\n{output}");
        var complaints = output.Split('\n').Where(line => Complaint().IsMatch(line)).ToList();
        Assert.True(complaints.Count == 0, $"{string.Join(' ', options)}:\n{string.Join('\n', complaints.Take(20))}");
        return output;
    }

    [GeneratedRegex("\"group\":\"stop[0-9]+-classic\"")]
    private static partial Regex GroupOfTheStory();

    [GeneratedRegex("isvalid: false|[Mm]ismatch|^Found |Exception|ERROR|WARN|orrupt|out of order|Could not|Error")]
    private static partial Regex Complaint();
}
