using System.Runtime.InteropServices;
using Confluent.Kafka;

namespace KBroker.Throughput;

/// <summary>
/// Confluent.Kafka as an application uses it, one producer and one consumer. On a small machine the client takes more
/// of the processors than the broker: the broker's seconds per GB say more here than MB/s.
/// </summary>
internal sealed class LibrdkafkaDriver(Settings settings)
{
    internal const int Partitions = 4;

    // Partition changes after this many records, so that every batch fills.
    private const int RecordsInARow = 1000;

    /// <summary>Why librdkafka cannot be used here; null when it can.</summary>
    internal static string? WhyNot()
    {
        try
        {
            string? path = Environment.GetEnvironmentVariable("KBROKER_LIBRDKAFKA");
            // Library.Load(path) looks for a libdl.so that newer systems do not have; the resolver does without it.
            if (!string.IsNullOrEmpty(path))
            {
                NativeLibrary.SetDllImportResolver(
                    typeof(Library).Assembly, (name, _, _) => name == "librdkafka" ? NativeLibrary.Load(path) : 0);
            }

            Library.Load();
            return Library.Version == 0 ? "librdkafka has no version" : null;
        }
        catch (Exception problem)
            when (problem is DllNotFoundException or InvalidOperationException or TypeInitializationException)
        {
            return problem.Message;
        }
    }

    /// <returns>The bytes of the values.</returns>
    internal long Produce(int port, Topic topic, int recordBytes, long bytes)
    {
        var config = new ProducerConfig
        {
            BootstrapServers = $"127.0.0.1:{port}",
            Acks = (Acks)settings.Acks,
            EnableDeliveryReports = false,
            LingerMs = 5,
            QueueBufferingMaxMessages = 1_000_000,
            QueueBufferingMaxKbytes = 256 * 1024,
        };
        using var producer = new ProducerBuilder<Null, byte[]>(config).Build();
        var values = Enumerable.Range(0, 64).Select(_ => new byte[recordBytes]).ToArray();
        foreach (byte[] value in values) new Random(7).NextBytes(value);
        long records = bytes / recordBytes;
        var message = new Message<Null, byte[]>();
        var targets = Enumerable.Range(0, Partitions).Select(p => new TopicPartition(topic.Name, p)).ToArray();
        for (long i = 0; i < records; i++)
        {
            message.Value = values[i % values.Length];
            while (true)
            {
                try
                {
                    producer.Produce(targets[i / RecordsInARow % Partitions], message);
                    break;
                }
                catch (ProduceException<Null, byte[]> full) when (full.Error.Code == ErrorCode.Local_QueueFull)
                {
                    producer.Poll(TimeSpan.FromMilliseconds(1));
                }
            }
        }

        if (producer.Flush(TimeSpan.FromSeconds(120)) > 0)
            throw new TimeoutException("librdkafka still has unsent records");
        long stored = topic.CountRecords();
        if (stored != records) throw new InvalidOperationException($"{records} records sent, the topic holds {stored}");
        return records * recordBytes;
    }

    internal static void Fetch(int port, Topic topic, long records)
    {
        var config = new ConsumerConfig
        {
            BootstrapServers = $"127.0.0.1:{port}",
            GroupId = "bench",
            EnableAutoCommit = false,
            QueuedMaxMessagesKbytes = 256 * 1024,
        };
        using var consumer = new ConsumerBuilder<Ignore, Ignore>(config).Build();
        consumer.Assign(Enumerable.Range(0, Partitions).Select(
            p => new TopicPartitionOffset(topic.Name, p, Offset.Beginning)));
        for (long i = 0; i < records; i++)
        {
            if (consumer.Consume(TimeSpan.FromSeconds(30)) is null)
                throw new TimeoutException($"librdkafka got {i} of {records} records");
        }
    }
}
