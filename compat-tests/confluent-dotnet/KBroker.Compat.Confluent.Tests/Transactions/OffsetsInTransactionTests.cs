using Confluent.Kafka;
using KBroker.Compat.Confluent.Tests.Groups;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Transactions;

/// <summary>Offsets of a group that are committed by a transaction: SendOffsetsToTransaction.</summary>
public sealed class OffsetsInTransactionTests(ConfluentFixture fixture) : GroupTest(fixture)
{
    [Theory]
    [InlineData(Agreement.Range)]
    [InlineData(Agreement.Uniform)]
    public async Task Offsets_count_from_the_commit_on_and_not_after_an_abort(Agreement agreement)
    {
        var (input, output) = (await Fixture.CreateTopicAsync(2), await Fixture.CreateTopicAsync());
        Fill(input, 2, 10);
        using var consumer = GroupConsumer(agreement, c => c.IsolationLevel = IsolationLevel.ReadCommitted);
        consumer.Subscribe(input);
        Take(consumer, 20);
        using var producer = Transactional();

        producer.BeginTransaction();
        producer.Produce(output, Message("one"));
        Send(producer, consumer, (input, 0, 3), (input, 1, 4));
        Assert.Empty(StableOrNot(input));
        producer.CommitTransaction(Limit);
        Assert.Equal(new() { [(input, 0)] = 3, [(input, 1)] = 4 }, Committed(input, 2));

        producer.BeginTransaction();
        producer.Produce(output, Message("two"));
        Send(producer, consumer, (input, 0, 9));
        producer.AbortTransaction(Limit);
        Assert.Equal(new() { [(input, 0)] = 3, [(input, 1)] = 4 }, Committed(input, 2));

        producer.BeginTransaction();
        Send(producer, consumer, (input, 1, 7));
        producer.CommitTransaction(Limit);
        Assert.Equal(new() { [(input, 0)] = 3, [(input, 1)] = 7 }, Committed(input, 2));
        consumer.Close();
    }

    [Fact]
    public async Task Who_wants_stable_offsets_waits_until_the_transaction_ends()
    {
        var input = await Fixture.CreateTopicAsync();
        Fill(input, 1, 10);
        using var consumer = GroupConsumer(Agreement.Range, c => c.IsolationLevel = IsolationLevel.ReadCommitted);
        consumer.Subscribe(input);
        Take(consumer, 10);
        using var producer = Transactional();
        producer.BeginTransaction();
        Send(producer, consumer, (input, 0, 6));

        using var reader = Consumer(c =>
        {
            c.GroupId = Group;
            c.IsolationLevel = IsolationLevel.ReadCommitted;
        });
        TopicPartition[] place = [new(input, 0)];
        var refused = Assert.ThrowsAny<KafkaException>(() => reader.Committed(place, TimeSpan.FromSeconds(1)));
        Assert.Contains(refused.Error.Code, new[] { ErrorCode.UnstableOffsetCommit, ErrorCode.Local_TimedOut });
        var asked = Task.Run(() => reader.Committed(place, Limit));
        producer.CommitTransaction(Limit);
        Assert.Equal(6, Assert.Single(await asked).Offset.Value);
        consumer.Close();
    }

    [Theory]
    [InlineData(Agreement.Range)]
    [InlineData(Agreement.Uniform)]
    public async Task A_member_that_the_group_does_not_have_any_more_cannot_send_offsets(Agreement agreement)
    {
        var input = await Fixture.CreateTopicAsync();
        Fill(input, 1, 10);
        using var consumer = GroupConsumer(agreement);
        consumer.Subscribe(input);
        Take(consumer, 10);
        var zombie = consumer.ConsumerGroupMetadata;
        consumer.Close();
        await Poll.UntilAsync("it has left", async () => (await DescribeAsync()).Members.Count == 0);

        using var producer = Transactional();
        producer.BeginTransaction();
        var refused = Assert.ThrowsAny<KafkaException>(() => producer.SendOffsetsToTransaction(
            [new TopicPartitionOffset(input, 0, 5)], zombie, Limit));
        Assert.IsType<KafkaTxnRequiresAbortException>(refused);
        producer.AbortTransaction(Limit);
        Assert.Empty(Committed(input, 1));

        // And it can go on.
        using var successor = GroupConsumer(agreement);
        successor.Subscribe(input);
        Take(successor, 10);
        producer.BeginTransaction();
        Send(producer, successor, (input, 0, 10));
        producer.CommitTransaction(Limit);
        Assert.Equal(10, Assert.Single(Committed(input, 1)).Value);
        successor.Close();
    }

    private IProducer<byte[]?, byte[]?> Transactional()
    {
        var producer = Producer(c => c.TransactionalId = $"offsets-{Guid.NewGuid():N}");
        producer.InitTransactions(Limit);
        return producer;
    }

    private static void Send(
        IProducer<byte[]?, byte[]?> producer,
        IConsumer<byte[]?, byte[]?> consumer,
        params (string Topic, int Partition, long Offset)[] offsets) => producer.SendOffsetsToTransaction(
            offsets.Select(static o => new TopicPartitionOffset(o.Topic, o.Partition, o.Offset)),
            consumer.ConsumerGroupMetadata,
            Limit);

    /// <summary>What is committed, for who does not mind that a transaction may be about to change it.</summary>
    private Dictionary<TopicPartition, long> StableOrNot(string topic)
    {
        using var reader = Consumer(c =>
        {
            c.GroupId = Group;
            c.IsolationLevel = IsolationLevel.ReadUncommitted;
        });
        return reader.Committed([new(topic, 0), new(topic, 1)], Limit).Where(static o => o.Offset.Value >= 0)
            .ToDictionary(static o => o.TopicPartition, static o => o.Offset.Value);
    }
}
