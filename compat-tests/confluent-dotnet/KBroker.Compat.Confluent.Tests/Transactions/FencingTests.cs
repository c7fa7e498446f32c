using Confluent.Kafka;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Transactions;

/// <summary>Producers that are not the one of their transactional id any more, and what librdkafka says of it.</summary>
public sealed class FencingTests(ConfluentFixture fixture) : TransactionTest(fixture)
{
    [Fact]
    public async Task A_second_instance_fences_the_first_that_wants_to_commit()
    {
        var topic = await Fixture.CreateTopicAsync();
        var id = NewId();
        using var first = Transactional(id);
        first.BeginTransaction();
        Send(first, topic, 0, "zombie");
        using var second = Transactional(id);
        IsFenced(() => first.CommitTransaction(Limit));
        IsFenced(() => first.BeginTransaction());
        second.BeginTransaction();
        Send(second, topic, 0, "alive");
        second.CommitTransaction(Limit);
        Assert.Equal(["alive"], await SettledAsync(topic));
    }

    [Fact]
    public async Task A_second_instance_fences_the_first_that_wants_to_write_more()
    {
        var topic = await Fixture.CreateTopicAsync(2);
        var id = NewId();
        using var first = Transactional(id);
        first.BeginTransaction();
        Send(first, topic, 0, "zombie");
        using var second = Transactional(id);
        // To a partition that it has, and to one that it has to ask the coordinator for.
        foreach (var partition in new[] { 0, 1 })
        {
            var failure = await Assert.ThrowsAnyAsync<KafkaException>(
                () => first.ProduceAsync(new TopicPartition(topic, partition), Message("more")));
            Assert.True(failure.Error.IsError);
        }

        IsFenced(() => first.CommitTransaction(Limit));
        second.BeginTransaction();
        Send(second, topic, 0, "alive");
        Send(second, topic, 1, "alive");
        second.CommitTransaction(Limit);
        Assert.Equal(["alive"], await SettledAsync(topic, 0));
        Assert.Equal(["alive"], Everything(topic, 1));
    }

    [Fact]
    public async Task A_second_instance_fences_the_first_that_wants_to_abort()
    {
        var topic = await Fixture.CreateTopicAsync();
        var id = NewId();
        using var first = Transactional(id);
        first.BeginTransaction();
        Send(first, topic, 0, "zombie");
        using var second = Transactional(id);
        IsFenced(() => first.AbortTransaction(Limit));
        await Poll.UntilAsync("the marker is there", async () => await EndsAsync(topic) == (2, 2));
    }

    [Fact]
    public async Task Only_the_last_of_many_instances_may_write()
    {
        var topic = await Fixture.CreateTopicAsync();
        var id = NewId();
        var instances = new List<IProducer<byte[]?, byte[]?>>();
        for (var i = 0; i < 8; i++)
            instances.Add(Transactional(id));
        foreach (var old in instances[..^1])
        {
            old.BeginTransaction();
            old.Produce(topic, Message("zombie"));
            IsFenced(() => old.CommitTransaction(Limit));
        }

        var last = instances[^1];
        last.BeginTransaction();
        Send(last, topic, 0, "alive");
        last.CommitTransaction(Limit);
        Assert.Equal(["alive"], Everything(topic));
        instances.ForEach(static i => i.Dispose());
    }

    [Fact]
    public async Task A_transaction_out_of_time_is_aborted_and_its_producer_fenced()
    {
        var topic = await Fixture.CreateTopicAsync();
        var id = NewId();
        using var late = Transactional(id, Hurried);
        late.BeginTransaction();
        Send(late, topic, 0, "late");
        await Poll.UntilAsync("the coordinator aborts it", async () => await EndsAsync(topic) == (2, 2));
        IsFenced(() => late.CommitTransaction(Limit));
        Assert.Empty(await SettledAsync(topic));
        using var next = Transactional(id);
        next.BeginTransaction();
        Send(next, topic, 0, "in time");
        next.CommitTransaction(Limit);
        Assert.Equal(["in time"], await SettledAsync(topic));
    }

    [Fact]
    public async Task A_producer_out_of_time_writes_nothing_more()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var late = Transactional(NewId(), Hurried);
        late.BeginTransaction();
        Send(late, topic, 0, "late");
        await Poll.UntilAsync("the coordinator aborts it", async () => await EndsAsync(topic) == (2, 2));
        var failure = await Assert.ThrowsAnyAsync<KafkaException>(() => late.ProduceAsync(topic, Message("later")));
        Assert.True(failure.Error.IsError);
        IsFenced(() => late.CommitTransaction(Limit));
        Assert.Equal(["late"], Everything(topic));
        Assert.Empty(await SettledAsync(topic));
    }

    [Fact]
    public void A_transaction_timeout_above_the_broker_s_limit_is_refused()
    {
        using var producer = Producer(c =>
        {
            c.TransactionalId = NewId();
            c.TransactionTimeoutMs = 900_001;
        });
        var refused = Assert.ThrowsAny<KafkaException>(() => producer.InitTransactions(Limit));
        Assert.Equal(ErrorCode.InvalidTransactionTimeout, refused.Error.Code);
        Assert.True(refused.Error.IsFatal);
    }

    private static void Hurried(ProducerConfig config)
    {
        config.TransactionTimeoutMs = 1000;
        config.MessageTimeoutMs = 1000;
        config.SocketTimeoutMs = 1000;
    }

    /// <summary>librdkafka's fatal error of its own, whatever the broker's was.</summary>
    private static void IsFenced(Action action)
    {
        var failure = Assert.ThrowsAny<KafkaException>(action);
        Assert.True(failure.Error.IsFatal, failure.Error.ToString());
        Assert.Equal(ErrorCode.Local_Fenced, failure.Error.Code);
    }
}
