using Confluent.Kafka;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Groups;

/// <summary>Where a member begins to read, and how the application moves it.</summary>
public sealed class PositionTests(ConfluentFixture fixture) : GroupTest(fixture)
{
    [Theory]
    [InlineData(Agreement.Range, AutoOffsetReset.Earliest)]
    [InlineData(Agreement.Range, AutoOffsetReset.Latest)]
    [InlineData(Agreement.Range, AutoOffsetReset.Error)]
    [InlineData(Agreement.Uniform, AutoOffsetReset.Earliest)]
    [InlineData(Agreement.Uniform, AutoOffsetReset.Latest)]
    [InlineData(Agreement.Uniform, AutoOffsetReset.Error)]
    public async Task Without_a_commit_auto_offset_reset_decides(Agreement agreement, AutoOffsetReset reset)
    {
        var topic = await Fixture.CreateTopicAsync();
        Fill(topic, 1, 10);
        using var consumer = GroupConsumer(agreement, c => (c.AutoOffsetReset, c.EnablePartitionEof) = (reset, true));
        consumer.Subscribe(topic);
        if (reset is AutoOffsetReset.Error)
        {
            var problem = Assert.Throws<ConsumeException>(() => consumer.Consume(Limit));
            Assert.Equal(ErrorCode.Local_AutoOffsetReset, problem.Error.Code);
        }
        else
        {
            var first = consumer.Consume(Limit);
            Assert.Equal(reset is AutoOffsetReset.Earliest ? 0 : 10, first.Offset.Value);
        }

        consumer.Close();
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task A_committed_position_is_where_the_next_member_begins(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync();
        Fill(topic, 1, 100);
        using (var consumer = GroupConsumer(agreement))
        {
            consumer.Subscribe(topic);
            consumer.Commit(Take(consumer, 40)[^1]);
            Take(consumer, 20);
            consumer.Close();
        }

        using var next = GroupConsumer(agreement);
        next.Subscribe(topic);
        Assert.Equal(40, next.Consume(Limit).Offset.Value);
        var partition = new TopicPartition(topic, 0);
        Assert.Equal(40, Assert.Single(next.Committed([partition], Limit)).Offset.Value);
        Assert.Equal(41, next.Position(partition).Value);
        next.Commit([new TopicPartitionOffset(partition, 12)]);
        Assert.Equal(12, Assert.Single(next.Committed([partition], Limit)).Offset.Value);
        next.Close();
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task Automatic_commits_are_there_after_close(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync();
        Fill(topic, 1, 30);
        using (var consumer = GroupConsumer(agreement, c => (c.EnableAutoCommit, c.EnableAutoOffsetStore) = (true, true)))
        {
            consumer.Subscribe(topic);
            Take(consumer, 30);
            consumer.Close();
        }

        Assert.Equal(30, Committed(topic, 1)[(topic, 0)]);
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task Pause_resume_and_seek_keep_the_membership(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync(2);
        Fill(topic, 2, 50);
        using var consumer = GroupConsumer(agreement);
        consumer.Subscribe(topic);
        Take(consumer, 100);
        var (zero, one) = (new TopicPartition(topic, 0), new TopicPartition(topic, 1));
        consumer.Pause([zero]);
        Fill(topic, 2, 10);
        Assert.All(Take(consumer, 10), static r => Assert.Equal(1, r.Partition.Value));
        Assert.Null(consumer.Consume(TimeSpan.FromSeconds(1)));
        consumer.Resume([zero]);
        Assert.Equal(Enumerable.Range(50, 10).Select(static i => (0, (long)i)), Positions(Take(consumer, 10)));
        consumer.Seek(new TopicPartitionOffset(one, 55));
        Assert.Equal(Enumerable.Range(55, 5).Select(static i => (1, (long)i)), Positions(Take(consumer, 5)));
        consumer.Seek(new TopicPartitionOffset(zero, Offset.Beginning));
        Assert.Equal((0, 0L), Positions(Take(consumer, 1))[0]);
        Assert.Equal([zero, one], consumer.Assignment.OrderBy(static p => p.Partition.Value));
        consumer.Close();
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task A_pattern_takes_the_topics_that_match_also_those_that_come_later(Agreement agreement)
    {
        var early = await Fixture.CreateTopicAsync(2);
        var stem = $"pattern-{Guid.NewGuid():N}";
        await CreateAsync($"{stem}-a");
        await CreateAsync($"other-{stem}");
        Join(Settings($"^{stem}-.*", agreement));
        Join(Settings($"^{stem}-.*", agreement));
        await SharedAsync($"{stem}-a", 2, 2);
        await CreateAsync($"{stem}-b");
        await HistoryAsync("the new topic is shared, too", () => History.IsShared($"{stem}-b", 2));
        Fill($"{stem}-a", 2, 5);
        Fill($"{stem}-b", 2, 5);
        Fill(early, 2, 5);
        await ProcessedAsync($"{stem}-a", 10);
        await ProcessedAsync($"{stem}-b", 10);
        Assert.Equal([$"{stem}-a", $"{stem}-b"], History.Events.SelectMany(static e => e.Spans)
            .Select(static s => s.Topic).Distinct().Order(StringComparer.Ordinal));
        await HistoryIsSoundAsync(2, $"{stem}-a", $"{stem}-b");
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task A_commit_may_carry_text_and_a_leader_epoch(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync();
        Fill(topic, 1, 10);
        using var consumer = GroupConsumer(agreement);
        consumer.Subscribe(topic);
        var record = Take(consumer, 1)[0];
        Assert.Equal(0, record.LeaderEpoch);
        consumer.Commit(record);
        var found = await Fixture.Admin.ListConsumerGroupOffsetsAsync([new(Group, [record.TopicPartition])]);
        var committed = Assert.Single(Assert.Single(found).Partitions);
        Assert.Equal((1, 0), (committed.Offset.Value, committed.LeaderEpoch ?? -1));
        consumer.Close();
    }

    private static List<(int, long)> Positions(IEnumerable<ConsumeResult<byte[]?, byte[]?>> records) =>
        [.. records.Select(static r => (r.Partition.Value, r.Offset.Value))];

    private async Task CreateAsync(string name)
    {
        await Fixture.Admin.CreateTopicsAsync([new() { Name = name, NumPartitions = 2, ReplicationFactor = 1 }]);
        await Poll.UntilAsync(
            $"{name} has leaders",
            () => Fixture.Admin.GetMetadata(name, Limit).Topics[0].Partitions is { Count: 2 } p && p.All(static x => x.Leader == 1));
    }
}
