using System.Diagnostics;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests;

/// <summary>
/// Apache Kafka's own dump tool reads our files. It needs a Kafka and a Java; without them the test is skipped.
/// </summary>
public sealed class KafkaDumpLogTests
{
    [Fact]
    public void Kafka_reads_log_indexes_and_snapshots_without_complaint()
    {
        var tool = FindTool();
        Assert.SkipWhen(tool is null, "No Apache Kafka: set KAFKA_HOME, or put one at ../shared/peers/kafka.");
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 40_000, IndexIntervalBytes = 1000 });
        var random = new Random(3);
        var sequence = 0;
        for (var i = 0; i < 60; i++)
        {
            var options = i % 3 == 0
                ? RecordBatchOptions.Default
                : new RecordBatchOptions { ProducerId = 4000 + (i % 2), ProducerEpoch = 1, BaseSequence = -1 };
            if (options.ProducerId == 4000)
                options = options with { BaseSequence = sequence };
            else if (options.ProducerId == 4001)
                options = options with { ProducerId = 5000 + i, BaseSequence = 0 };
            var count = random.Next(1, 30);
            if (options.ProducerId == 4000)
                sequence += count;
            var timestamp = 1_700_000_000_000 + random.Next(100_000);
            var compression = (CompressionType)(i % 5);
            storage.AppendOk(TestStorage.Batch(count, timestamp, compression, options, valueBytes: 100), i / 20);
        }

        var transaction = TestStorage.ProducerBatch(9000, 0, 0, 4, transactional: true);
        storage.AppendOk(transaction, 3);
        using (var builder = new RecordBatchBuilder(
            new RecordBatchOptions { IsControl = true, IsTransactional = true, ProducerId = 9000, ProducerEpoch = 0 },
            TestStorage.Codecs))
        {
            builder.Append(1_700_000_200_000, ControlRecord.Key(ControlRecordType.Abort),
                ControlRecord.EndTransactionValue(0));
            Assert.True(storage.Log.AppendAsLeader(new(builder.Build()), 3, AppendOptions.Coordinator).IsSuccess);
        }

        var records = storage.Log.LogEndOffset;
        Assert.True(storage.Log.SegmentCount > 1);
        storage.CloseCleanly();
        var files = Directory.GetFiles(storage.LogPath)
            .Where(f => Path.GetExtension(f) is ".log" or ".index" or ".timeindex" or ".txnindex" or ".snapshot")
                .Order().ToArray();
        Assert.Contains(files, f => f.EndsWith(".txnindex", StringComparison.Ordinal));
        var output = Run(tool!, "--deep-iteration", "--print-data-log", "--files", string.Join(',', files));
        Assert.Equal(records, Lines(output, "| offset:"));
        Assert.DoesNotContain("isvalid: false", output);
        foreach (var complaint in new[] { "ismatch", "Exception", "nvalid", "orrupt", "ound timestamp",
            "out of order", "not found" })
            Assert.DoesNotContain(complaint, output.Replace("isvalid", "", StringComparison.Ordinal));
        Assert.Contains("producerId: 4000", output);
        Assert.Contains("producerId: 9000", output);
        var indexes = files.Where(f => Path.GetExtension(f) is ".index" or ".timeindex").ToArray();
        var sanity = Run(tool!, "--index-sanity-check", "--files", string.Join(',', indexes));
        Assert.Equal(indexes.Length, sanity.Split("passed sanity check").Length - 1);
    }

    internal static int Lines(string output, string start) =>
        output.Split('\n').Count(l => l.StartsWith(start, StringComparison.Ordinal));

    internal static string? FindTool()
    {
        var homes = new List<string?> { Environment.GetEnvironmentVariable("KAFKA_HOME") };
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
            homes.Add(Path.Combine(at.FullName, "shared", "peers", "kafka"));
        return homes.Where(h => !string.IsNullOrEmpty(h)).Select(h => Path.Combine(h!, "bin", "kafka-dump-log.sh"))
            .FirstOrDefault(File.Exists);
    }

    internal static string Run(string tool, params string[] arguments)
    {
        var start = new ProcessStartInfo(tool, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true
        };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, output + error.Result);
        return output + error.Result;
    }
}
