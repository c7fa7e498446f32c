using Confluent.Kafka;
using KBroker.Compat.Harness;
using KBroker.Storm.History;

namespace KBroker.Compat.Confluent.Tests.Groups;

public sealed class SharingTests(ConfluentFixture fixture) : GroupTest(fixture)
{
    private const int Partitions = 6;

    [Theory]
    [InlineData(Agreement.Range, "range")]
    [InlineData(Agreement.RoundRobin, "roundrobin")]
    [InlineData(Agreement.CooperativeSticky, "cooperative-sticky")]
    [InlineData(Agreement.Uniform, "uniform")]
    [InlineData(Agreement.RemoteRange, "range")]
    public async Task Members_share_the_partitions_and_take_over_from_who_leaves(Agreement agreement, string assignor)
    {
        var topic = await Fixture.CreateTopicAsync(Partitions);
        Fill(topic, Partitions, 100);
        var first = Join(Settings(topic, agreement));
        await SharedAsync(topic, Partitions, 1);
        var second = Join(Settings(topic, agreement));
        Join(Settings(topic, agreement));
        await SharedAsync(topic, Partitions, 3);
        if (agreement is Agreement.CooperativeSticky or Agreement.Uniform)
            NeverGaveUpWhatItKept(first.Name);

        await Poll.UntilAsync("the group is stable with three members", async () =>
            await DescribeAsync() is { State: ConsumerGroupState.Stable, Members.Count: 3 });
        var group = await DescribeAsync();
        Assert.Equal(assignor, group.PartitionAssignor);
        Assert.Equal([2, 2, 2], group.Members.Select(m => m.Assignment.TopicPartitions.Count));

        await second.LeaveAsync();
        await SharedAsync(topic, Partitions, 2);
        Fill(topic, Partitions, 50);
        await ProcessedAsync(topic, Partitions * 150);
        await CommittedToTheEndAsync(topic, Partitions);
        await HistoryIsSoundAsync(Partitions, topic);
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task New_partitions_are_given_to_the_members(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync(2);
        Join(Settings(topic, agreement));
        Join(Settings(topic, agreement));
        await SharedAsync(topic, 2, 2);
        await Fixture.Admin.CreatePartitionsAsync([new() { Topic = topic, IncreaseTo = 4 }]);
        await SharedAsync(topic, 4, 2);
        Fill(topic, 4, 10);
        await ProcessedAsync(topic, 40);
        await HistoryIsSoundAsync(4, topic);
    }

    [Theory]
    [InlineData(Agreement.RoundRobin)]
    [InlineData(Agreement.Uniform)]
    public async Task More_members_than_partitions_leave_some_in_reserve(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync(2);
        for (var i = 0; i < 4; i++)
            Join(Settings(topic, agreement));
        await Poll.UntilAsync("four members", async () =>
            await DescribeAsync() is { State: ConsumerGroupState.Stable, Members.Count: 4 });
        await SharedAsync(topic, 2, 2);
        Fill(topic, 2, 10);
        await ProcessedAsync(topic, 20);
        await HistoryIsSoundAsync(2, topic);
    }

    /// <summary>Each partition was given to it once, and what it does not have any more it gave back once.</summary>
    private void NeverGaveUpWhatItKept(string member)
    {
        var mine = History.Events.Where(e => e.Member == member).ToList();
        var given = Spans(EventKind.Assigned);
        Assert.Equal(given.Distinct(), given);
        Assert.Equal(Partitions - 2, Spans(EventKind.Revoked).Count);

        List<int> Spans(EventKind kind) =>
            [.. mine.Where(e => e.Kind == kind).SelectMany(static e => e.Spans).Select(static s => s.Partition)];
    }
}
