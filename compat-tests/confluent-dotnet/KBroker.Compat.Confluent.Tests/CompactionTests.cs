using System.Globalization;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests;

/// <summary>A compacted topic, on a broker of its own that compacts all the time.</summary>
public sealed class CompactionTests(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    private const int Keys = 300;

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Lz4)]
    [InlineData(CompressionType.Zstd)]
    public async Task A_consumer_finds_the_newest_value_of_each_key_also_after_a_kill(CompressionType compression)
    {
        var directory = Directory.CreateTempSubdirectory("kbroker-compact-").FullName;
        var (port, controllerPort) = BrokerSite.FreePorts();
        var site = new BrokerSite(directory, port, controllerPort) { Settings = Settings(directory, port) };
        try
        {
            var written = new Dictionary<long, (string Key, string? Value)>();
            await using (var broker = await BrokerProcess.StartAtAsync(site, kafka: false))
            {
                await CreateAsync(broker);
                Produce(broker, compression, written, count: 12_000);
                await Poll.UntilAsync("most records are compacted away", () => Read(broker).Count < 4_000);
                Check(written, Read(broker));
                await broker.KillAsync();
            }

            await using (var broker = await BrokerProcess.StartAtAsync(site, kafka: false))
            {
                Check(written, Read(broker));
                Produce(broker, compression, written, count: 6_000);
                await Poll.UntilAsync("most records are compacted away", () => Read(broker).Count < 4_000);
                Check(written, Read(broker));
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string[] Settings(string directory, int port) =>
    [
        "process.roles=broker,controller",
        $"listeners=PLAINTEXT://127.0.0.1:{port}",
        $"log.dirs={directory}/data",
        "log.cleaner.backoff.ms=50",
        "log.cleaner.min.cleanable.ratio=0.01",
        "log.cleaner.delete.retention.ms=100",
        "log.segment.delete.delay.ms=100",
    ];

    private static async Task CreateAsync(BrokerProcess broker)
    {
        using var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = broker.Bootstrap })
            .SetLogHandler((_, _) => { }).Build();
        await admin.CreateTopicsAsync(
        [
            new TopicSpecification
            {
                Name = "table",
                NumPartitions = 1,
                ReplicationFactor = 1,
                Configs = new() { ["cleanup.policy"] = "compact", ["segment.bytes"] = "1048576" },
            },
        ]);
    }

    private void Produce(
        BrokerProcess broker, CompressionType compression, Dictionary<long, (string, string?)> written, int count)
    {
        var random = new Random(count);
        using var producer = Producer(c =>
        {
            c.BootstrapServers = broker.Bootstrap;
            c.CompressionType = compression;
            c.EnableIdempotence = true;
        });
        var failures = new List<Error>();
        for (var i = 0; i < count; i++)
        {
            var key = random.Next(Keys).ToString(CultureInfo.InvariantCulture);
            // What does not compress, so that segments fill.
            var bytes = new byte[300];
            random.NextBytes(bytes);
            var value = random.Next(10) == 0 ? null : Convert.ToBase64String(bytes);
            producer.Produce(new TopicPartition("table", 0), Message(value, key), report =>
            {
                // Flush delivers reports in its own thread, beside the producer's.
                lock (written)
                {
                    if (report.Error.IsError)
                        failures.Add(report.Error);
                    else
                        written[report.Offset.Value] = (key, value);
                }
            });
        }

        Assert.Equal(0, producer.Flush(Limit));
        Assert.Empty(failures);
    }

    private List<ConsumeResult<byte[]?, byte[]?>> Read(BrokerProcess broker)
    {
        using var consumer = Consumer(c =>
        {
            c.BootstrapServers = broker.Bootstrap;
            c.EnablePartitionEof = true;
        });
        consumer.Assign(new TopicPartitionOffset("table", 0, Offset.Beginning));
        var records = new List<ConsumeResult<byte[]?, byte[]?>>();
        while (true)
        {
            var next = consumer.Consume(Limit) ?? throw new TimeoutException($"no end behind {records.Count} records");
            if (next.IsPartitionEOF)
                break;
            records.Add(next);
        }

        consumer.Close();
        return records;
    }

    private static void Check(
        Dictionary<long, (string Key, string? Value)> written, List<ConsumeResult<byte[]?, byte[]?>> read)
    {
        var table = new SortedDictionary<string, string>();
        var expected = new SortedDictionary<string, string>();
        foreach (var (_, (key, value)) in written.OrderBy(static w => w.Key))
            Apply(expected, key, value);
        foreach (var record in read)
        {
            var (key, value) = (Text(record.Message.Key)!, Text(record.Message.Value));
            Assert.Equal(written[record.Offset.Value], (key, value));
            Apply(table, key, value);
        }

        Assert.Equal(expected, table);
    }

    private static void Apply(SortedDictionary<string, string> table, string key, string? value)
    {
        if (value is null)
            table.Remove(key);
        else
            table[key] = value;
    }
}
