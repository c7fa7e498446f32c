using Confluent.Kafka;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Transactions;

/// <summary>Commit and abort, and who sees what of it when.</summary>
public sealed class VisibilityTests(ConfluentFixture fixture) : TransactionTest(fixture)
{
    [Fact]
    public async Task Nothing_is_seen_before_the_commit_and_everything_after_it()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var producer = Transactional(NewId());
        producer.BeginTransaction();
        Send(producer, topic, 0, "a", "b");
        Assert.Empty(Committed(topic));
        Assert.Equal(["a", "b"], Everything(topic));
        Assert.Equal((2, 0), await EndsAsync(topic));
        producer.CommitTransaction(Limit);
        Assert.Equal(["a", "b"], await SettledAsync(topic));
        // The marker has an offset, too.
        Assert.Equal((3, 3), await EndsAsync(topic));
    }

    [Fact]
    public async Task What_was_aborted_is_seen_by_readers_of_uncommitted_records_only()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var producer = Transactional(NewId());
        producer.BeginTransaction();
        Send(producer, topic, 0, "lost");
        producer.AbortTransaction(Limit);
        Assert.Empty(await SettledAsync(topic));
        Assert.Equal((2, 2), await EndsAsync(topic));
        producer.BeginTransaction();
        Send(producer, topic, 0, "kept");
        producer.CommitTransaction(Limit);
        Assert.Equal(["kept"], await SettledAsync(topic));
        Assert.Equal(["lost", "kept"], Everything(topic));
        Assert.Equal((4, 4), await EndsAsync(topic));
    }

    [Fact]
    public async Task A_transaction_over_partitions_of_several_topics_is_seen_in_all_of_them_or_in_none()
    {
        string[] topics = [await Fixture.CreateTopicAsync(3), await Fixture.CreateTopicAsync(4)];
        (string Topic, int Partition)[] places =
            [.. Enumerable.Range(0, 3).Select(p => (topics[0], p)), .. Enumerable.Range(0, 4).Select(p => (topics[1], p))];
        using var producer = Transactional(NewId());
        string[] expected = [];
        for (var round = 0; round < 6; round++)
        {
            string[] values = [$"{round}-first", $"{round}-second"];
            producer.BeginTransaction();
            foreach (var (topic, partition) in places)
                Send(producer, topic, partition, values);
            Assert.All(places, p => Assert.Equal(expected, Committed(p.Topic, p.Partition)));
            if (round % 3 == 1)
            {
                producer.AbortTransaction(Limit);
            }
            else
            {
                producer.CommitTransaction(Limit);
                expected = [.. expected, .. values];
            }

            foreach (var (topic, partition) in places)
                Assert.Equal(expected, await SettledAsync(topic, partition));
        }

        Assert.All(places, p => Assert.Equal(12, Everything(p.Topic, p.Partition).Count));
    }

    [Fact]
    public async Task The_first_open_transaction_holds_back_all_that_comes_after_it()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var slow = Transactional(NewId());
        using var quick = Transactional(NewId());
        slow.BeginTransaction();
        Send(slow, topic, 0, "slow 1");
        quick.BeginTransaction();
        Send(quick, topic, 0, "quick 1");
        quick.CommitTransaction(Limit);
        quick.BeginTransaction();
        Send(quick, topic, 0, "quick 2");
        quick.AbortTransaction(Limit);
        Produce(topic, ["plain"]);
        await Poll.UntilAsync("both markers are there", async () => (await EndsAsync(topic)).End == 6);
        Assert.Equal((6, 0), await EndsAsync(topic));
        Assert.Empty(Committed(topic));
        Send(slow, topic, 0, "slow 2");
        slow.CommitTransaction(Limit);
        Assert.Equal(["slow 1", "quick 1", "plain", "slow 2"], await SettledAsync(topic));
        Assert.Equal(["slow 1", "quick 1", "quick 2", "plain", "slow 2"], Everything(topic));
        Assert.Equal((8, 8), await EndsAsync(topic));
    }

    [Fact]
    public async Task The_watermarks_that_a_consumer_is_told_end_at_the_last_stable_offset()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var producer = Transactional(NewId());
        Produce(topic, Numbers(0, 5));
        producer.BeginTransaction();
        Send(producer, topic, 0, "open");
        var place = new TopicPartition(topic, 0);
        using (var consumer = Consumer(c => c.IsolationLevel = IsolationLevel.ReadCommitted))
            Assert.Equal(5, consumer.QueryWatermarkOffsets(place, Limit).High.Value);
        using (var consumer = Consumer(c => c.IsolationLevel = IsolationLevel.ReadUncommitted))
            Assert.Equal(6, consumer.QueryWatermarkOffsets(place, Limit).High.Value);
        producer.AbortTransaction(Limit);
    }

    [Fact]
    public async Task A_waiting_reader_of_committed_records_gets_them_when_the_commit_comes()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var producer = Transactional(NewId());
        using var consumer = Consumer(c =>
        {
            c.IsolationLevel = IsolationLevel.ReadCommitted;
            c.FetchWaitMaxMs = 30_000;
        });
        consumer.Assign(new TopicPartitionOffset(topic, 0, 0));
        producer.BeginTransaction();
        Send(producer, topic, 0, "late");
        Assert.Null(consumer.Consume(TimeSpan.FromMilliseconds(300)));
        producer.CommitTransaction(Limit);
        Assert.Equal("late", Text(Assert.Single(Take(consumer, 1)).Message.Value));
    }

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Zstd)]
    public async Task Interleaved_transactions_of_many_batches_keep_their_outcomes(CompressionType codec)
    {
        const int Producers = 3;
        const int Rounds = 12;
        const int Records = 60;
        var topic = await Fixture.CreateTopicAsync(1, ("segment.bytes", "1048576"));
        var filler = new string('x', 1000);
        var kept = new List<string>[Producers];
        await Task.WhenAll(Enumerable.Range(0, Producers).Select(n => Task.Factory.StartNew(
            () =>
            {
                kept[n] = [];
                using var producer = Transactional(NewId(), c =>
                {
                    c.CompressionType = codec;
                    c.BatchNumMessages = 7;
                });
                for (var round = 0; round < Rounds; round++)
                {
                    string[] values = [.. Numbers(0, Records).Select(i => $"{n}/{round}/{i} {filler}")];
                    producer.BeginTransaction();
                    Send(producer, topic, 0, values);
                    if ((round + n) % 3 == 0)
                    {
                        producer.AbortTransaction(Limit);
                        continue;
                    }

                    producer.CommitTransaction(Limit);
                    kept[n].AddRange(values);
                }
            },
            TaskCreationOptions.LongRunning)));
        var seen = await SettledAsync(topic);
        for (var n = 0; n < Producers; n++)
            Assert.Equal(kept[n], seen.Where(v => v!.StartsWith($"{n}/", StringComparison.Ordinal)));
        Assert.Equal(kept.Sum(static k => k.Count), seen.Count);
        Assert.Equal(Producers * Rounds * Records, Everything(topic).Count);
    }

    [Fact]
    public async Task What_a_process_left_open_is_aborted_when_its_successor_begins()
    {
        var topic = await Fixture.CreateTopicAsync();
        var id = NewId();
        using (var first = Transactional(id))
        {
            first.BeginTransaction();
            Send(first, topic, 0, "left open");
        }

        Assert.Equal((1, 0), await EndsAsync(topic));
        using var second = Transactional(id);
        await Poll.UntilAsync("the marker is there", async () => await EndsAsync(topic) == (2, 2));
        second.BeginTransaction();
        Send(second, topic, 0, "done");
        second.CommitTransaction(Limit);
        Assert.Equal(["done"], await SettledAsync(topic));
        Assert.Equal(["left open", "done"], Everything(topic));
    }
}
