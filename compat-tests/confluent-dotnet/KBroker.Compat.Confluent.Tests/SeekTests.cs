using System.Globalization;
using Confluent.Kafka;

namespace KBroker.Compat.Confluent.Tests;

public sealed class SeekTests(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    private const long Start = 1_700_000_000_000;

    [Fact]
    public async Task Seeks_by_offset_forward_and_back()
    {
        var topic = await Fixture.CreateTopicAsync();
        Produce(topic, Enumerable.Range(0, 5000).Select(i => i.ToString(CultureInfo.InvariantCulture)));
        using var consumer = Consumer();
        consumer.Assign(new TopicPartitionOffset(topic, 0, 0));
        Assert.Equal("0", Text(consumer.Consume(Limit).Message.Value));
        foreach (var offset in new long[] { 4321, 17, 4999, 0 })
        {
            consumer.Seek(new TopicPartitionOffset(topic, 0, offset));
            var record = consumer.Consume(Limit);
            Assert.Equal(offset, record.Offset.Value);
            Assert.Equal(offset.ToString(CultureInfo.InvariantCulture), Text(record.Message.Value));
        }

        consumer.Close();
    }

    [Fact]
    public async Task Seeks_by_time()
    {
        var topic = await TimedTopicAsync();
        using var consumer = Consumer();
        var partition = new TopicPartition(topic, 0);
        Offset At(long time) => Assert.Single(consumer.OffsetsForTimes(
            [new TopicPartitionTimestamp(partition, new(time, TimestampType.CreateTime))], Limit)).Offset;
        Assert.Equal(0, At(0).Value);
        Assert.Equal(0, At(Start).Value);
        Assert.Equal(1, At(Start + 1).Value);
        Assert.Equal(51, At(Start + 50_500).Value);
        Assert.Equal(99, At(Start + 99_000).Value);
        Assert.Equal(Offset.End, At(Start + 99_001));
        consumer.Assign(new TopicPartitionOffset(partition, 51));
        Assert.Equal("51", Text(consumer.Consume(Limit).Message.Value));
        consumer.Close();
    }

    [Fact]
    public async Task Watermarks_are_asked_and_cached()
    {
        var topic = await TimedTopicAsync();
        using var consumer = Consumer();
        var partition = new TopicPartition(topic, 0);
        var asked = consumer.QueryWatermarkOffsets(partition, Limit);
        Assert.Equal((0, 100), (asked.Low.Value, asked.High.Value));
        consumer.Assign(new TopicPartitionOffset(partition, 90));
        Take(consumer, 10);
        var cached = consumer.GetWatermarkOffsets(partition);
        Assert.Equal(100, cached.High.Value);
        consumer.Close();
    }

    [Fact]
    public async Task Beginning_end_and_tail_are_positions()
    {
        var topic = await TimedTopicAsync();
        using var consumer = Consumer(c => c.EnablePartitionEof = true);
        foreach (var (offset, first) in new[] { (Offset.Beginning, 0L), (new Offset(-2000 - 5), 95L) })
        {
            consumer.Assign(new TopicPartitionOffset(topic, 0, offset));
            Assert.Equal(first, consumer.Consume(Limit).Offset.Value);
        }

        consumer.Assign(new TopicPartitionOffset(topic, 0, Offset.End));
        var end = consumer.Consume(Limit);
        Assert.True(end.IsPartitionEOF);
        Assert.Equal(100, end.Offset.Value);
        consumer.Close();
    }

    [Theory]
    [InlineData(AutoOffsetReset.Earliest, 0)]
    [InlineData(AutoOffsetReset.Latest, 100)]
    public async Task An_offset_out_of_range_is_reset(AutoOffsetReset reset, long expected)
    {
        var topic = await TimedTopicAsync();
        using var consumer = Consumer(c => (c.AutoOffsetReset, c.EnablePartitionEof) = (reset, true));
        consumer.Assign(new TopicPartitionOffset(topic, 0, 5000));
        Assert.Equal(expected, consumer.Consume(Limit).Offset.Value);
        consumer.Close();
    }

    [Fact]
    public async Task A_waiting_consumer_gets_what_is_produced_later()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var consumer = Consumer(c => c.FetchWaitMaxMs = 50_000);
        consumer.Assign(new TopicPartitionOffset(topic, 0, 0));
        Assert.Null(consumer.Consume(TimeSpan.FromMilliseconds(500)));
        Produce(topic, ["late"]);
        Assert.Equal("late", Text(consumer.Consume(TimeSpan.FromSeconds(40))?.Message.Value));
        consumer.Close();
    }

    [Fact]
    public async Task Pause_and_resume_lose_nothing()
    {
        var topic = await TimedTopicAsync();
        using var consumer = Consumer();
        var partition = new TopicPartition(topic, 0);
        consumer.Assign(new TopicPartitionOffset(partition, 0));
        Take(consumer, 10);
        consumer.Pause([partition]);
        Assert.Null(consumer.Consume(TimeSpan.FromMilliseconds(200)));
        consumer.Resume([partition]);
        Assert.Equal(10, Take(consumer, 90)[0].Offset.Value);
        consumer.Close();
    }

    /// <summary>A hundred messages, a second apart from <see cref="Start"/> on; the values are the offsets.</summary>
    private async Task<string> TimedTopicAsync()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var producer = Producer();
        for (var i = 0; i < 100; i++)
            producer.Produce(topic, new()
            {
                Value = Bytes(i.ToString(CultureInfo.InvariantCulture)),
                Timestamp = new Timestamp(Start + (i * 1000L), TimestampType.CreateTime),
            });
        Assert.Equal(0, producer.Flush(Limit));
        return topic;
    }
}
