using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Text;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests;

/// <summary>A broker with two log directories, and clients that do not know that a partition moves between them.</summary>
public sealed class MoveTests(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    private const string Topic = "moving";
    private const int Moves = 20;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Nothing_is_lost_doubled_or_reordered_while_a_partition_moves_back_and_forth(bool idempotent)
    {
        Assert.SkipWhen(CompatEnvironment.TargetIsKafka, "two log directories are formatted for KBroker only");
        await using var broker = await BrokerProcess.StartAsync("log.dirs=data,second", "log.segment.bytes=1048576");
        using var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = broker.Bootstrap })
            .SetLogHandler((_, _) => { }).Build();
        await admin.CreateTopicsAsync([new TopicSpecification { Name = Topic, NumPartitions = 1 }]);
        string[] directories =
            [Path.Combine(broker.Directory, "data"), Path.Combine(broker.Directory, "second")];
        await Poll.UntilAsync("the partition is there", () => Array.Exists(directories, Has));
        using var stop = new CancellationTokenSource();
        var acknowledged = new ConcurrentQueue<long>();
        var failures = new ConcurrentQueue<string>();
        var sent = 0;
        var producing = Task.Run(() =>
        {
            using var producer = new ProducerBuilder<Null, string>(new ProducerConfig
            {
                BootstrapServers = broker.Bootstrap,
                Acks = Acks.All,
                EnableIdempotence = idempotent,
                MaxInFlight = idempotent ? 5 : 1,
                LingerMs = 1,
                // A storage error that a client must retry could double records unseen; none may come.
                MessageSendMaxRetries = idempotent ? 100 : 0,
            }).SetLogHandler((_, _) => { }).Build();
            while (!stop.IsCancellationRequested)
            {
                producer.Produce(Topic, new() { Value = $"{sent++} {new string('x', 500)}" }, Acknowledge);
                if (sent % 50 == 0)
                    producer.Flush(Limit);
            }

            producer.Flush(Limit);
        });
        for (var move = 0; move < Moves; move++)
        {
            var before = acknowledged.Count;
            var source = Array.FindIndex(directories, Has);
            var target = directories[1 - source];
            await AlterAsync(broker.Port, target);
            await Poll.UntilAsync($"move {move} is done", () => Has(target) && !Has(directories[source])
                && Directory.GetDirectories(target, "*-future").Length == 0);
            await Poll.UntilAsync("the producer goes on", () => acknowledged.Count > before || producing.IsCompleted);
        }

        await stop.CancelAsync();
        await producing;
        Assert.Empty(failures);
        Assert.Equal(sent, acknowledged.Count);
        // Two threads deliver reports while Flush runs, so their order means nothing; that of the log is read below.
        Assert.Equal(Enumerable.Range(0, sent).Select(static i => (long)i), acknowledged.Order());
        Assert.Equal(Enumerable.Range(0, sent), Read(broker, sent));

        static bool Has(string directory) => Directory.Exists(Path.Combine(directory, $"{Topic}-0"));

        void Acknowledge(DeliveryReport<Null, string> report)
        {
            if (report.Error.IsError)
                failures.Enqueue(report.Error.Reason);
            acknowledged.Enqueue(report.Offset.Value);
        }
    }

    private static List<int> Read(BrokerProcess broker, int count)
    {
        using var consumer = new ConsumerBuilder<Ignore, string>(new ConsumerConfig
        {
            BootstrapServers = broker.Bootstrap,
            GroupId = "never-joined",
            EnableAutoCommit = false,
        }).SetLogHandler((_, _) => { }).Build();
        consumer.Assign(new TopicPartitionOffset(Topic, 0, 0));
        var read = new List<int>();
        while (read.Count < count && consumer.Consume(Limit) is { } record)
        {
            Assert.Equal(read.Count, record.Offset.Value);
            read.Add(int.Parse(record.Message.Value.AsSpan(0, record.Message.Value.IndexOf(' '))));
        }

        return read;
    }

    /// <summary>AlterReplicaLogDirs version 1, which the .NET client does not have.</summary>
    private static async Task AlterAsync(int port, string directory)
    {
        const short alterReplicaLogDirs = 34;
        var body = new List<byte>();
        Int32(1);
        Text(directory);
        Int32(1);
        Text(Topic);
        Int32(1);
        Int32(0);
        using var connection = await RawConnection.OpenAsync(port);
        await connection.SendAsync(RawConnection.Frame(alterReplicaLogDirs, 1, body.ToArray()));
        var answer = await connection.ReceiveFrameAsync();
        Assert.Equal(0, BinaryPrimitives.ReadInt16BigEndian(answer.AsSpan(answer.Length - 2)));

        void Int32(int value)
        {
            var bytes = new byte[4];
            BinaryPrimitives.WriteInt32BigEndian(bytes, value);
            body.AddRange(bytes);
        }

        void Text(string value)
        {
            var bytes = Encoding.UTF8.GetBytes(value);
            body.AddRange([(byte)(bytes.Length >> 8), (byte)bytes.Length]);
            body.AddRange(bytes);
        }
    }
}
