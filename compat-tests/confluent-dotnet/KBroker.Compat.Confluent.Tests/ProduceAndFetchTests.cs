using System.Globalization;
using Confluent.Kafka;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests;

public sealed class ProduceAndFetchTests(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Gzip)]
    [InlineData(CompressionType.Snappy)]
    [InlineData(CompressionType.Lz4)]
    [InlineData(CompressionType.Zstd)]
    public async Task What_is_produced_with_a_codec_comes_back(CompressionType codec)
    {
        var topic = await Fixture.CreateTopicAsync();
        var values = Enumerable.Range(0, 2000).Select(i => $"value {i} " + new string('x', 200)).ToList();
        Produce(topic, values, configure: c => c.CompressionType = codec);
        Assert.Equal(values, Fetch(topic, values.Count).Select(r => Text(r.Message.Value)));
        Assert.Equal([(int)codec], SegmentFiles.Codecs(Fixture.Broker.DataDirectory, topic, 0));
    }

    [Theory]
    [InlineData("gzip", 1)]
    [InlineData("snappy", 2)]
    [InlineData("lz4", 3)]
    [InlineData("zstd", 4)]
    [InlineData("uncompressed", 0)]
    public async Task A_topic_with_a_codec_of_its_own_recompresses(string codec, int number)
    {
        var topic = await Fixture.CreateTopicAsync(1, ("compression.type", codec));
        var values = Enumerable.Range(0, 500).Select(i => $"value {i} " + new string('y', 100)).ToList();
        var sent = number == 3 ? CompressionType.Gzip : CompressionType.Lz4;
        Produce(topic, values, configure: c => c.CompressionType = sent);
        Assert.Equal([number], SegmentFiles.Codecs(Fixture.Broker.DataDirectory, topic, 0));
        Assert.Equal(values, Fetch(topic, values.Count).Select(r => Text(r.Message.Value)));
    }

    [Fact]
    public async Task Keys_headers_timestamps_and_tombstones_come_back()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var producer = Producer();
        var time = new Timestamp(1_700_000_000_123, TimestampType.CreateTime);
        var headers = new Headers { { "a", [1, 2] }, { "a", [3] }, { "none", null }, { "empty", [] } };
        await producer.ProduceAsync(
            topic, new() { Key = Bytes("k"), Value = Bytes("v"), Headers = headers, Timestamp = time });
        await producer.ProduceAsync(topic, new() { Key = Bytes("k"), Value = null });
        await producer.ProduceAsync(topic, new() { Key = null, Value = [] });
        var records = Fetch(topic, 3);
        Assert.Equal("k", Text(records[0].Message.Key));
        Assert.Equal(time, records[0].Message.Timestamp);
        Assert.Equal(
            [("a", "0102"), ("a", "03"), ("none", null), ("empty", "")],
            records[0].Message.Headers
                .Select(h => (h.Key, h.GetValueBytes() is { } b ? Convert.ToHexString(b) : null)));
        Assert.Null(records[1].Message.Value);
        Assert.Null(records[2].Message.Key);
        Assert.Empty(records[2].Message.Value!);
    }

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Zstd)]
    public async Task Messages_of_a_megabyte_come_back(CompressionType codec)
    {
        var topic = await Fixture.CreateTopicAsync(1, ("max.message.bytes", "3000000"));
        var random = new Random(20261121);
        var values = Enumerable.Range(0, 8).Select(_ => RandomBytes(random, 1024 * 1024)).ToList();
        using var producer = Producer(c => (c.MessageMaxBytes, c.CompressionType, c.LingerMs) = (3_000_000, codec, 0));
        foreach (var value in values)
            await producer.ProduceAsync(topic, new() { Value = value });
        var records = Fetch(topic, values.Count);
        Assert.All(
            records.Zip(values), pair => Assert.True(pair.First.Message.Value.AsSpan().SequenceEqual(pair.Second)));
    }

    [Fact]
    public async Task A_hundred_thousand_messages_over_several_partitions_come_back_unchanged()
    {
        const int Count = 100_000;
        const int Partitions = 6;
        var topic = await Fixture.CreateTopicAsync(Partitions);
        var failed = 0;
        using (var producer = Producer(c => c.QueueBufferingMaxMessages = Count))
        {
            for (var i = 0; i < Count; i++)
            {
                var message = Message(Value(i), i.ToString(CultureInfo.InvariantCulture));
                var partition = new TopicPartition(topic, i % Partitions);
                producer.Produce(partition, message, report => failed += report.Error.IsError ? 1 : 0);
            }

            Assert.Equal(0, producer.Flush(TimeSpan.FromSeconds(60)));
        }

        Assert.Equal(0, failed);
        using var consumer = Consumer();
        consumer.Assign(Enumerable.Range(0, Partitions).Select(p => new TopicPartitionOffset(topic, p, 0)));
        var next = new int[Partitions];
        foreach (var record in Take(consumer, Count))
        {
            var partition = record.Partition.Value;
            var expected = partition + (next[partition] * Partitions);
            Assert.Equal(next[partition]++, record.Offset.Value);
            Assert.Equal(expected.ToString(CultureInfo.InvariantCulture), Text(record.Message.Key));
            Assert.Equal(Value(expected), Text(record.Message.Value));
        }

        Assert.Null(consumer.Consume(TimeSpan.FromMilliseconds(300)));
        consumer.Close();

        static string Value(int i) => $"message {i} of a hundred thousand, {i * 2654435761L:x}";
    }

    [Theory]
    [InlineData(Acks.None)]
    [InlineData(Acks.Leader)]
    [InlineData(Acks.All)]
    public async Task Every_acks_setting_is_served(Acks acks)
    {
        var topic = await Fixture.CreateTopicAsync();
        Produce(topic, ["a", "b", "c"], configure: c => c.Acks = acks);
        Assert.Equal(["a", "b", "c"], Fetch(topic, 3).Select(r => Text(r.Message.Value)));
    }

    [Fact]
    public async Task An_idempotent_producer_writes_everything_once_and_in_order()
    {
        var topic = await Fixture.CreateTopicAsync();
        var values = Enumerable.Range(0, 20_000).Select(i => i.ToString(CultureInfo.InvariantCulture)).ToList();
        Produce(topic, values, configure: c => (c.EnableIdempotence, c.BatchNumMessages) = (true, 100));
        Assert.Equal(values, Fetch(topic, values.Count).Select(r => Text(r.Message.Value)));
    }

    [Fact]
    public async Task The_report_names_partition_offset_and_the_brokers_timestamp()
    {
        var topic = await Fixture.CreateTopicAsync(1, ("message.timestamp.type", "LogAppendTime"));
        using var producer = Producer();
        await producer.ProduceAsync(topic, Message("first"));
        var old = new Timestamp(1000, TimestampType.CreateTime);
        var report = await producer.ProduceAsync(topic, new() { Value = Bytes("second"), Timestamp = old });
        Assert.Equal((0, 1), (report.Partition.Value, report.Offset.Value));
        Assert.Equal(PersistenceStatus.Persisted, report.Status);
        var read = Fetch(topic, 2)[1].Message.Timestamp;
        Assert.Equal(TimestampType.LogAppendTime, read.Type);
        Assert.InRange(read.UtcDateTime, DateTime.UtcNow.AddMinutes(-1), DateTime.UtcNow.AddMinutes(1));
    }

    private static byte[] RandomBytes(Random random, int count)
    {
        var bytes = new byte[count];
        random.NextBytes(bytes);
        return bytes;
    }
}
