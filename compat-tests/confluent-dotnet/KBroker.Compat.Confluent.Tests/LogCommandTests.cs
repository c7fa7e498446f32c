using System.Globalization;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests;

/// <summary><c>kbroker log check</c> and <c>kbroker log truncate</c>, the real executable on real files.</summary>
public sealed class LogCommandTests(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    private const int Batches = 20;
    private const int DamagedBatch = 13;

    [Fact]
    public async Task A_damaged_log_is_named_cut_on_demand_and_served_up_to_the_cut()
    {
        var directory = Directory.CreateTempSubdirectory("kbroker-log-").FullName;
        var (port, controllerPort) = BrokerSite.FreePorts();
        var data = Path.Combine(directory, "data");
        var site = new BrokerSite(directory, port, controllerPort)
        {
            Settings = [$"listeners=PLAINTEXT://127.0.0.1:{port}", $"log.dirs={data}"],
        };
        try
        {
            await using (var broker = await BrokerProcess.StartAtAsync(site, kafka: false))
            {
                await CreateAsync(broker);
                for (var batch = 0; batch < Batches; batch++)
                    Assert.Equal(batch, await ProduceAsync(broker, "orders", $"v{batch}"));
                await ProduceAsync(broker, "other", "kept");
                var (refused, complaint) = await KBrokerAsync("log", "check", "--dir", data);
                Assert.NotEqual(0, refused);
                Assert.Contains("stop it first", complaint);
                Assert.Equal(0, await broker.StopAsync());
            }

            var (code, output) = await KBrokerAsync("log", "check", "--dir", data);
            Assert.Equal(0, code);
            Assert.Contains($"orders-0: good, 1 segments, {Batches} batches", output);

            var file = Path.Combine(data, "orders-0", "00000000000000000000.log");
            var position = Damage(file);
            (code, output) = await KBrokerAsync("log", "check", "--dir", data);
            Assert.Equal(1, code);
            Assert.Contains($"orders-0: damaged at offset {DamagedBatch}: {file}, position {position}: ", output);
            Assert.Contains("other-0: good", output);
            (code, output) = await KBrokerAsync("log", "truncate", "--dir", data, "--partition", "other-0");
            Assert.Equal(0, code);
            Assert.Contains("Nothing is cut.", output);
            (code, output) = await KBrokerAsync("log", "truncate", "--dir", data, "--partition", "orders-0");
            Assert.Equal(0, code);
            Assert.Contains($"the log ends before offset {DamagedBatch} now", output);
            Assert.Equal(position, new FileInfo(file).Length);
            (code, _) = await KBrokerAsync("log", "check", "--dir", data, "--partition", "orders-0");
            Assert.Equal(0, code);

            await using (var broker = await BrokerProcess.StartAtAsync(site, kafka: false))
            {
                Assert.Equal(
                    Enumerable.Range(0, DamagedBatch).Select(static i => $"v{i}"), Read(broker, "orders", DamagedBatch));
                Assert.Equal(DamagedBatch, await ProduceAsync(broker, "orders", "goes on"));
                Assert.Equal(["kept"], Read(broker, "other", 1));
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>Flips a bit in the value of the record of one batch.</summary>
    /// <returns>Where that batch begins.</returns>
    private static long Damage(string file)
    {
        var bytes = File.ReadAllBytes(file);
        var position = 0;
        for (var i = 0; i < DamagedBatch; i++)
            position += 12 + System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(position + 8));
        bytes[position + 70] ^= 1;
        File.WriteAllBytes(file, bytes);
        return position;
    }

    private static async Task CreateAsync(BrokerProcess broker)
    {
        using var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = broker.Bootstrap })
            .SetLogHandler((_, _) => { }).Build();
        await admin.CreateTopicsAsync(
        [
            new TopicSpecification { Name = "orders", NumPartitions = 1, ReplicationFactor = 1 },
            new TopicSpecification { Name = "other", NumPartitions = 1, ReplicationFactor = 1 },
        ]);
    }

    /// <summary>One record, and so one batch.</summary>
    private static async Task<long> ProduceAsync(BrokerProcess broker, string topic, string value)
    {
        using var producer = new ProducerBuilder<Null, string>(
            new ProducerConfig { BootstrapServers = broker.Bootstrap, Acks = Acks.All })
            .SetLogHandler((_, _) => { }).Build();
        return (await producer.ProduceAsync(topic, new Message<Null, string> { Value = value })).Offset.Value;
    }

    private static List<string> Read(BrokerProcess broker, string topic, int count)
    {
        using var consumer = new ConsumerBuilder<Ignore, string>(new ConsumerConfig
        {
            BootstrapServers = broker.Bootstrap,
            GroupId = string.Create(CultureInfo.InvariantCulture, $"reads-{topic}"),
            EnablePartitionEof = true,
        }).SetLogHandler((_, _) => { }).Build();
        consumer.Assign(new TopicPartitionOffset(topic, 0, Offset.Beginning));
        var values = new List<string>();
        while (consumer.Consume(TimeSpan.FromSeconds(30)) is { } result)
        {
            if (result.IsPartitionEOF)
            {
                Assert.Equal(count, values.Count);
                return values;
            }

            values.Add(result.Message.Value);
        }

        throw new TimeoutException($"{values.Count} of {count} records of {topic} in 30 s");
    }
}
