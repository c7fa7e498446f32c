using System.Collections.Concurrent;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Client;
using KBroker.Client.CheckBack;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.CheckBack;

/// <summary>Half messages, their decisions and their checks, by the .NET client.</summary>
public sealed class CheckBackTests(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    private const string Never = "3600000";
    private readonly ConcurrentDictionary<string, LocalTransactionState> _database = new();

    [Fact]
    public async Task A_message_is_seen_when_its_local_transaction_commits_and_only_then()
    {
        var topic = await HalvesAsync(Never);
        await using var shop = New(static value => value[0] switch
        {
            'c' => LocalTransactionState.Commit,
            'r' => LocalTransactionState.Rollback,
            _ => throw new InvalidOperationException("the database is gone"),
        });
        var committed = await shop.Producer.SendAsync(topic, Shop.Order("commit"));
        var rolled = await shop.Producer.SendAsync(topic, Shop.Order("rollback"));
        var lost = await Assert.ThrowsAsync<InvalidOperationException>(
            () => shop.Producer.SendAsync(topic, Shop.Order("throw")));
        Assert.Equal("the database is gone", lost.Message);
        var delayed = Shop.Order("commit later");
        delayed.Headers.SetDelay(TimeSpan.FromMilliseconds(200));
        await shop.Producer.SendAsync(topic, delayed);

        Assert.Equal(LocalTransactionState.Commit, committed.Decision);
        Assert.True(committed.DecisionPosition!.Offset > committed.Half.Offset);
        Assert.Equal(LocalTransactionState.Rollback, rolled.Decision);
        var seen = Fetch(topic, 2);
        Assert.Equal(["commit", "commit later"], seen.Select(static r => Text(r.Message.Value)));
        Assert.Equal(["app", "kbroker-origin-offset", "kbroker-origin-timestamp"],
            seen[0].Message.Headers.Select(static h => h.Key).Order());
        Assert.True(seen[0].Message.Headers.TryGetOrigin(out var origin));
        Assert.Equal(committed.Half.Offset, origin.Offset);
    }

    [Theory]
    [InlineData(LocalTransactionState.Commit)]
    [InlineData(LocalTransactionState.Rollback)]
    public async Task What_a_dead_producer_left_undecided_is_decided_by_another_of_its_group(LocalTransactionState fate)
    {
        var topic = await HalvesAsync("500");
        var group = Fixture.NewName();
        var dead = New(execute: null, group, TimeSpan.Zero);
        var lost = dead.Producer.SendAsync(topic, Shop.Order("order"));
        await Poll.UntilAsync("the half message is stored", () => dead.Halves.ContainsKey("order"));
        await dead.DisposeAsync();
        Assert.False(lost.IsCompleted);

        _database["order"] = fate;
        await using var other = New(Unknown, group);
        await Poll.UntilAsync("it is asked about", () => !other.Checks.IsEmpty);
        Assert.True(other.Checks.TryPeek(out var check));
        Assert.Equal(dead.Halves["order"].Position, check.Half.Position);
        Assert.Equal(dead.Halves["order"].Timestamp, check.Half.Timestamp);
        Assert.True(check.Half.Checks >= 1);
        Assert.Equal(("order", "order"), (check.Message.Key, check.Message.Value));
        Assert.Equal("app", Assert.Single(check.Message.Headers).Key);
        // It answers what it was asked before it goes.
        await other.DisposeAsync();
        string[] expected = fate == LocalTransactionState.Commit ? ["order", "end"] : ["end"];
        Assert.Equal(expected, await AllOfAsync(topic));
        // The dead one's decision comes late.
        dead.Hang.SetResult(LocalTransactionState.Commit);
        Assert.NotNull((await lost).DecisionError);
    }

    [Fact]
    public async Task What_nobody_knows_is_given_up_after_the_last_check_and_a_later_decision_does_nothing()
    {
        var topic = await HalvesAsync("100", "200", "2");
        await using var shop = New(Unknown);
        var half = (await shop.Producer.SendAsync(topic, Shop.Order("order"))).Half;
        var expired = await ExpiredAsync(topic);
        Assert.Equal("order", Text(expired.Message.Value));
        Assert.Equal("no-decision", Text(expired.Message.Headers.GetLastBytes(CheckBackHeaders.DeathReason)));
        Assert.True(expired.Message.Headers.TryGetHalf(out var given));
        Assert.Equal((half, 2), (given.Position, given.Checks));
        await Poll.UntilAsync("both checks are answered", () => shop.Checks.Count >= 2);
        Assert.Equal([1, 2], shop.Checks.Select(static c => c.Half.Checks).Distinct().Order());

        using var producer = Producer();
        await producer.ProduceAsync(half.TopicPartition, Decision(half, LocalTransactionState.Commit, shopGroup: null));
        Assert.Equal(["end"], await AllOfAsync(topic));
    }

    [Fact]
    public async Task Instances_of_a_group_share_its_checks()
    {
        var topic = await HalvesAsync("100", "1000", "100");
        var group = Fixture.NewName();
        await Fixture.Admin.CreateTopicsAsync(
            [new TopicSpecification { Name = CheckBackHeaders.CheckTopic(group), NumPartitions = 4 }]);
        await using var one = New(Unknown, group);
        await using var two = New(Unknown, group);
        var sent = 0;
        await Poll.UntilAsync("both are asked", async () =>
        {
            _database[$"{sent}"] = LocalTransactionState.Commit;
            await one.Producer.SendAsync(topic, Shop.Order($"{sent++}"));
            return !one.Checks.IsEmpty && !two.Checks.IsEmpty;
        });
        await Poll.UntilAsync("all are asked about", () =>
            one.Checks.Concat(two.Checks).Select(static c => c.Message.Value).Distinct().Count() == sent);
        await one.DisposeAsync();
        await two.DisposeAsync();
        Assert.Equal(
            [.. Enumerable.Range(0, sent).Select(static i => $"{i}").Append("end").Order(StringComparer.Ordinal)],
            (await AllOfAsync(topic)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_broker_that_is_killed_forgets_no_half_message_and_the_producer_goes_on()
    {
        var directory = Directory.CreateTempSubdirectory("kbroker-checkback-").FullName;
        // However long the client takes to find its way back, the half message is not given up.
        var site = BrokerSite.Plain(
            directory,
            "kbroker.txn.enable=true",
            "kbroker.txn.timeout.ms=500",
            "kbroker.txn.check.interval.ms=1000",
            "kbroker.txn.check.max=1000");
        var first = await BrokerProcess.StartAtAsync(site, kafka: false);
        using var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = first.Bootstrap })
            .SetLogHandler(static (_, _) => { }).Build();
        await admin.CreateTopicsAsync([new TopicSpecification { Name = "orders", NumPartitions = 1 }]);
        await using var shop = new Shop(first.Bootstrap, "shop", _database, static value =>
            value == "after" ? LocalTransactionState.Commit : LocalTransactionState.Unknown);
        await shop.Producer.SendAsync("orders", Shop.Order("before"));
        await Poll.UntilAsync("it is asked about", () => !shop.Checks.IsEmpty);
        await first.KillAsync();
        await first.DisposeAsync();
        _database["before"] = LocalTransactionState.Commit;
        await using (await BrokerProcess.StartAtAsync(site, kafka: false))
        {
            await shop.Producer.SendAsync("orders", Shop.Order("after"));
            using var consumer = Consumer(c => c.BootstrapServers = $"127.0.0.1:{site.Port}");
            consumer.Assign(new TopicPartitionOffset("orders", 0, 0));
            try
            {
                Assert.Equal(["after", "before"], Take(consumer, 2).Select(static r => Text(r.Message.Value)).Order());
            }
            catch (TimeoutException)
            {
                Assert.Fail("not both came; of the client:\n" + string.Join('\n', shop.Log));
            }

            consumer.Close();
            await shop.DisposeAsync();
        }

        Directory.Delete(directory, recursive: true);
    }

    [Fact]
    public async Task A_decision_of_another_group_is_refused()
    {
        var topic = await HalvesAsync(Never);
        await using var shop = New(Unknown);
        var half = (await shop.Producer.SendAsync(topic, Shop.Order("order"))).Half;
        using var producer = Producer();
        var refused = await Assert.ThrowsAsync<ProduceException<byte[]?, byte[]?>>(() => producer.ProduceAsync(
            half.TopicPartition, Decision(half, LocalTransactionState.Commit, "stranger")));
        Assert.Equal(ErrorCode.InvalidRecord, refused.Error.Code);
        Assert.Equal(["end"], await AllOfAsync(topic));
    }

    [Fact]
    public async Task A_topic_that_takes_no_half_messages_gets_none()
    {
        var topic = await Fixture.CreateTopicAsync();
        await using var shop = New(Unknown);
        var refused = await Assert.ThrowsAsync<InvalidOperationException>(
            () => shop.Producer.SendAsync(topic, Shop.Order("order")));
        Assert.Contains("kbroker.txn.enable", refused.Message, StringComparison.Ordinal);
        Produce(topic, ["end"]);
        Assert.Equal(["end"], ReadToEnd(topic));
    }

    private static LocalTransactionState Unknown(string value) => LocalTransactionState.Unknown;

    private static Message<byte[]?, byte[]?> Decision(
        TopicPartitionOffset half, LocalTransactionState decision, string? shopGroup) =>
        new() { Headers = new Headers().SetDecision(half.Offset, decision, shopGroup) };

    private Shop New(
        Func<string, LocalTransactionState>? execute, string? group = null, TimeSpan? closeTimeout = null) =>
        new(Fixture.Broker.Bootstrap, group ?? Fixture.NewName(), _database, execute, closeTimeout);

    private Task<string> HalvesAsync(string timeoutMs, string intervalMs = "1000", string max = "100") =>
        Fixture.CreateTopicAsync(
            1,
            ("kbroker.txn.enable", "true"),
            ("kbroker.delay.enable", "true"),
            ("kbroker.txn.timeout.ms", timeoutMs),
            ("kbroker.txn.check.interval.ms", intervalMs),
            ("kbroker.txn.check.max", max));

    /// <summary>Every record that consumers of a topic see, when all that was decided until now has come: a half
    /// message that is committed last is delivered behind the others.</summary>
    private async Task<List<string?>> AllOfAsync(string topic)
    {
        using var producer = Producer();
        var end = Message("end");
        end.Headers = new Headers().SetHalf("end");
        var half = (await producer.ProduceAsync(topic, end)).TopicPartitionOffset;
        await producer.ProduceAsync(half.TopicPartition, Decision(half, LocalTransactionState.Commit, "end"));
        return ReadToEnd(topic);
    }

    private List<string?> ReadToEnd(string topic)
    {
        using var consumer = Consumer();
        consumer.Assign(new TopicPartitionOffset(topic, 0, 0));
        var values = new List<string?>();
        while (values.LastOrDefault() != "end")
            values.Add(Text(Take(consumer, 1)[0].Message.Value));
        consumer.Close();
        return values;
    }

    /// <summary>The half message of a topic that was given up.</summary>
    private async Task<ConsumeResult<byte[]?, byte[]?>> ExpiredAsync(string topic)
    {
        await Poll.UntilAsync("there is a topic of expired half messages", () => Fixture.Admin
            .GetMetadata(Limit).Topics.Exists(static t => t.Topic == CheckBackHeaders.ExpiredTopic));
        using var consumer = Consumer();
        consumer.Assign(new TopicPartitionOffset(CheckBackHeaders.ExpiredTopic, 0, 0));
        while (true)
        {
            var expired = Take(consumer, 1)[0];
            if (Text(expired.Message.Headers.GetLastBytes(CheckBackHeaders.OriginTopic)) == topic)
                return expired;
        }
    }
}
