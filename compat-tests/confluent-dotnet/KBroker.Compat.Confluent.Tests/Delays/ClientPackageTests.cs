using Confluent.Kafka;
using KBroker.Client;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Delays;

/// <summary>The package KBroker.Client, as an application uses it.</summary>
public sealed class ClientPackageTests(ConfluentFixture fixture) : DelayTest(fixture)
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    [Fact]
    public async Task A_record_comes_after_a_time_at_an_instant_or_by_a_level_and_tells_its_origin()
    {
        var topic = await DelayingTopicAsync();
        using var producer = Producer();
        var message = new Message<byte[]?, byte[]?>
        {
            Key = Bytes("k"),
            Headers = new Headers { { "trace", [7] } },
        };
        Delay[] delays = [TimeSpan.FromSeconds(3), DateTimeOffset.UtcNow.AddSeconds(5), Delay.Level(1)];
        List<DelayedRecord> records = [];
        foreach (var delay in delays)
        {
            message.Value = Bytes($"{records.Count}");
            records.Add(await producer.ProduceDelayedAsync(topic, message, delay));
        }

        Assert.Null(records[2].Due);
        var seen = new HashSet<DelayedRecord>();
        foreach (var delivered in Fetch(topic, 3))
        {
            Assert.True(delivered.Message.Headers.TryGetOrigin(out var origin));
            var record = Assert.Single(records, r => r.Offset == origin.Offset);
            Assert.True(seen.Add(record), $"{record} came twice");
            Assert.Equal($"{records.IndexOf(record)}", Text(delivered.Message.Value));
            Assert.Equal(record.Timestamp.UnixTimestampMs, origin.Timestamp.UnixTimestampMs);
            var due = record.Due ?? record.Timestamp.UtcDateTime.AddSeconds(3);
            Assert.True(delivered.Message.Timestamp.UtcDateTime >= due.UtcDateTime, $"{record} came early");
            Assert.Equal(
                ["trace", KBrokerHeaders.OriginOffset, KBrokerHeaders.OriginTimestamp],
                delivered.Message.Headers.Select(static h => h.Key));
        }

        Assert.Single(message.Headers);
    }

    [Fact]
    public async Task A_handle_cancels_and_so_does_another_producer_that_was_told_the_offset()
    {
        var topic = await DelayingTopicAsync(2);
        using var producer = Producer();
        var one = await producer.ProduceDelayedAsync(topic, Message("one", "k"), Hour);
        var two = await producer.ProduceDelayedAsync(new TopicPartition(topic, 1), Message("two"), Hour);
        var three = await producer.ProduceDelayedAsync(new TopicPartition(topic, 1), Message("three"), Hour);
        Assert.Equal(
            new[] { one, two, three }.Select(static r => (r.Partition.Value, r.Offset.Value, r.Due!.Value)),
            Listed(await ListAsync(topic)));
        var cancelled = await one.CancelAsync();
        Assert.Equal(one.TopicPartitionOffset.TopicPartition, cancelled.TopicPartition);
        Assert.True(cancelled.Offset > one.Offset);
        using (var other = new ProducerBuilder<int, string>(
            new ProducerConfig { BootstrapServers = Fixture.Broker.Bootstrap }).SetLogHandler((_, _) => { }).Build())
            await other.CancelDelayedAsync(new TopicPartitionOffset(topic, 1, two.Offset));
        Assert.Equal([three.Due!.Value], Listed(await ListAsync(topic)).Select(static r => r.Due));
        // The producer goes on after its dependent was disposed of.
        await producer.ProduceAsync(topic, Message("goes on"));
    }

    [Fact]
    public async Task A_cancel_in_a_transaction_counts_with_its_commit()
    {
        var topic = await DelayingTopicAsync();
        using var plain = Producer();
        var record = await plain.ProduceDelayedAsync(topic, Message("one"), Hour);
        using var producer = Producer(c => c.TransactionalId = $"cancels-{Guid.NewGuid():N}");
        producer.InitTransactions(Limit);
        producer.BeginTransaction();
        await producer.CancelDelayedAsync(record.TopicPartitionOffset);
        producer.AbortTransaction(Limit);
        Assert.Single(Listed(await ListAsync(topic)));
        producer.BeginTransaction();
        await producer.CancelDelayedAsync(record.TopicPartitionOffset);
        producer.CommitTransaction(Limit);
        // The commit is answered before its marker stands in the partition.
        await Poll.UntilAsync("the cancel counts", async () => Listed(await ListAsync(topic)).Count == 0);
    }

    [Fact]
    public async Task A_delay_that_the_broker_refuses_fails_like_any_record()
    {
        SkipOnKafka();
        var topic = await Fixture.CreateTopicAsync(
            1, ("kbroker.delay.enable", "true"), ("kbroker.delay.max.ms", "1000"));
        using var producer = Producer();
        var refused = await Assert.ThrowsAsync<ProduceException<byte[]?, byte[]?>>(
            () => producer.ProduceDelayedAsync(topic, Message("too late"), Hour));
        Assert.Equal(87, (int)refused.Error.Code);
    }
}
