using System.Globalization;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;
using KBroker.Storm.History;

namespace KBroker.Compat.Confluent.Tests.Groups;

public sealed class StaticMemberTests(ConfluentFixture fixture) : GroupTest(fixture)
{
    private const int Partitions = 6;
    private const int LongSessionMs = 45_000;

    [Theory]
    [InlineData(Agreement.RoundRobin)]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task A_static_member_that_restarts_in_time_gets_its_partitions_back_and_nobody_else_notices(
        Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync(Partitions);
        await LongSessionsAsync();
        for (var i = 0; i < 2; i++)
            Join(Static(topic, agreement, $"instance-{i}"));
        var restarted = Join(Static(topic, agreement, "instance-2"));
        await SharedAsync(topic, Partitions, 3);
        // The last to own something may be followed by a rebalance that moves it.
        await Poll.UntilAsync("the group is stable", async () =>
            await DescribeAsync() is { State: ConsumerGroupState.Stable, Members.Count: 3 }
            && History.IsShared(topic, Partitions, 3));
        Fill(topic, Partitions, 20);
        await ProcessedAsync(topic, Partitions * 20);
        var had = History.Owned[restarted.Name];
        var othersBefore = OthersRebalances(restarted.Name);

        await restarted.LeaveAsync();
        Fill(topic, Partitions, 10);
        var back = Join(Static(topic, agreement, "instance-2"));
        await SharedAsync(topic, Partitions, 3);
        Assert.Equal(had, History.Owned[back.Name]);
        await ProcessedAsync(topic, Partitions * 30);
        Assert.Equal(othersBefore, OthersRebalances(restarted.Name, back.Name));
        Assert.Equal(
            ["instance-0", "instance-1", "instance-2"],
            (await DescribeAsync()).Members.Select(static m => m.GroupInstanceId).Order(StringComparer.Ordinal));
        await CommittedToTheEndAsync(topic, Partitions);
        await HistoryIsSoundAsync(Partitions, topic);
    }

    [Fact]
    public async Task A_second_member_with_the_same_instance_fences_the_first_of_a_classic_group()
    {
        MembersMayFail = true;
        var topic = await Fixture.CreateTopicAsync(2);
        var first = Join(Static(topic, Agreement.Range, "the-only-one"));
        await SharedAsync(topic, 2, 1);
        Join(Static(topic, Agreement.Range, "the-only-one"));
        var fenced = await Assert.ThrowsAnyAsync<KafkaException>(() => first.Ended.WaitAsync(Limit));
        Assert.Equal(ErrorCode.FencedInstanceId, fenced.Error.Code);
        await SharedAsync(topic, 2, 1);
    }

    [Fact]
    public async Task A_second_member_with_the_same_instance_is_refused_in_a_consumer_group()
    {
        MembersMayFail = true;
        var topic = await Fixture.CreateTopicAsync(2);
        Join(Static(topic, Agreement.Uniform, "the-only-one"));
        await SharedAsync(topic, 2, 1);
        var second = Join(Static(topic, Agreement.Uniform, "the-only-one"));
        var refused = await Assert.ThrowsAnyAsync<KafkaException>(() => second.Ended.WaitAsync(Limit));
        Assert.Equal(ErrorCode.UnreleasedInstanceId, refused.Error.Code);
        await SharedAsync(topic, 2, 1);
    }

    private Storm.Members.MemberSettings Static(string topic, Agreement agreement, string instance) =>
        Settings(topic, agreement, instance) with { SessionTimeoutMs = LongSessionMs };

    /// <summary>A group config, as the classic members have it in their request.</summary>
    private Task LongSessionsAsync() => Fixture.Admin.IncrementalAlterConfigsAsync(new()
    {
        [new ConfigResource { Type = ResourceType.Group, Name = Group }] =
        [
            new()
            {
                Name = "consumer.session.timeout.ms",
                Value = LongSessionMs.ToString(CultureInfo.InvariantCulture),
                IncrementalOperation = AlterConfigOpType.Set,
            },
        ],
    });

    private int OthersRebalances(params string[] except) => History.Events.Count(
        e => e.Kind is EventKind.Assigned or EventKind.Revoked or EventKind.Lost && !except.Contains(e.Member));
}
