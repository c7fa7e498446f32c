using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Groups;

/// <summary>Groups and offsets as an administrator sees and changes them.</summary>
public sealed class GroupAdminTests(ConfluentFixture fixture) : GroupTest(fixture)
{
    private IAdminClient Admin => Fixture.Admin;

    [Theory]
    [InlineData(Agreement.Range, ConsumerGroupType.Classic, "range")]
    [InlineData(Agreement.Uniform, ConsumerGroupType.Consumer, "uniform")]
    public async Task Groups_are_listed_and_described(Agreement agreement, ConsumerGroupType type, string assignor)
    {
        var topic = await Fixture.CreateTopicAsync(4);
        var member = Join(Settings(topic, agreement));
        await SharedAsync(topic, 4, 1);
        await Poll.UntilAsync("it is stable", async () => (await DescribeAsync()).State is ConsumerGroupState.Stable);
        var group = await DescribeAsync();
        Assert.Equal((Group, type, assignor, 1), (group.GroupId, group.GroupType, group.PartitionAssignor, group.Coordinator.Id));
        Assert.False(group.IsSimpleConsumerGroup);
        var described = Assert.Single(group.Members);
        Assert.Equal((member.Name, null), (described.ClientId, described.GroupInstanceId));
        Assert.Contains("127.0.0.1", described.Host, StringComparison.Ordinal);
        Assert.NotEmpty(described.ConsumerId);
        Assert.Equal(
            Enumerable.Range(0, 4).Select(p => (topic, p)),
            described.Assignment.TopicPartitions.Select(static p => (p.Topic, p.Partition.Value)).Order());

        Assert.Contains(await ListAsync(ConsumerGroupState.Stable, type), g => g.GroupId == Group);
        Assert.DoesNotContain(await ListAsync(ConsumerGroupState.Empty, type), g => g.GroupId == Group);
        var other = type is ConsumerGroupType.Classic ? ConsumerGroupType.Consumer : ConsumerGroupType.Classic;
        Assert.DoesNotContain(await ListAsync(ConsumerGroupState.Stable, other), g => g.GroupId == Group);

        await member.LeaveAsync();
        await Poll.UntilAsync("it is empty", async () => (await DescribeAsync()).State is ConsumerGroupState.Empty);
        var listed = Assert.Single(await ListAsync(ConsumerGroupState.Empty, type), g => g.GroupId == Group);
        Assert.Equal((type, ConsumerGroupState.Empty), (listed.Type, listed.State));
    }

    [Fact]
    public async Task The_old_listing_calls_show_a_classic_group()
    {
        var topic = await Fixture.CreateTopicAsync(2);
        Join(Settings(topic, Agreement.RoundRobin));
        await SharedAsync(topic, 2, 1);
        Assert.Contains(Admin.ListGroups(Limit), g => g.Group == Group && g.ProtocolType == "consumer");
        var group = Admin.ListGroup(Group, Limit);
        Assert.Equal(("Stable", "roundrobin", 1), (group.State, group.Protocol, group.Members.Count));
        Assert.NotEmpty(group.Members[0].MemberAssignment);
    }

    [Fact]
    public async Task A_group_that_never_was_is_dead()
    {
        var group = await DescribeAsync();
        Assert.Equal((ConsumerGroupState.Dead, 0), (group.State, group.Members.Count));
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task The_lag_is_what_was_not_committed(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync(3);
        Fill(topic, 2, 40);
        Join(Settings(topic, agreement));
        await ProcessedAsync(topic, 80);
        await CommittedToTheEndAsync(topic, 3);
        await LeaveAllAsync();
        Fill(topic, 3, 7);
        var (committed, ends) = (await ListOffsetsAsync(), await EndsAsync(topic, 3));
        Assert.Equal(
            [7, 7, 7], Enumerable.Range(0, 3).Select(p => ends[(topic, p)] - committed.GetValueOrDefault((topic, p), 0)));
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task Offsets_of_an_empty_group_are_altered_and_those_of_members_are_not(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync();
        Fill(topic, 1, 20);
        Join(Settings(topic, agreement));
        await ProcessedAsync(topic, 20);
        await CommittedToTheEndAsync(topic, 1);
        var partition = new TopicPartition(topic, 0);
        var refused = await Assert.ThrowsAsync<AlterConsumerGroupOffsetsException>(() => AlterAsync(partition, 5));
        Assert.Equal(ErrorCode.UnknownMemberId, Assert.Single(refused.Results[0].Partitions).Error.Code);

        await LeaveAllAsync();
        await Poll.UntilAsync("it is empty", async () => (await DescribeAsync()).State is ConsumerGroupState.Empty);
        await AlterAsync(partition, 5);
        Assert.Equal(5, (await ListOffsetsAsync())[(topic, 0)]);
        using var consumer = GroupConsumer(agreement);
        consumer.Subscribe(topic);
        Assert.Equal(5, consumer.Consume(Limit).Offset.Value);
        consumer.Close();
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task Offsets_are_deleted_unless_members_subscribe_to_the_topic(Agreement agreement)
    {
        var (topic, old) = (await Fixture.CreateTopicAsync(), await Fixture.CreateTopicAsync());
        Fill(topic, 1, 3);
        await AlterAsync(new TopicPartition(old, 0), 0);
        Join(Settings(topic, agreement));
        await ProcessedAsync(topic, 3);
        await CommittedToTheEndAsync(topic, 1);
        var refused = await Assert.ThrowsAsync<DeleteConsumerGroupOffsetsException>(
            () => Admin.DeleteConsumerGroupOffsetsAsync(Group, [new(topic, 0)]));
        Assert.Equal(ErrorCode.GroupSubscribedToTopic, Assert.Single(refused.Result.Partitions).Error.Code);
        await Admin.DeleteConsumerGroupOffsetsAsync(Group, [new(old, 0)]);
        Assert.Equal([(topic, 0)], (await ListOffsetsAsync()).Keys);

        await LeaveAllAsync();
        await Poll.UntilAsync("it is empty", async () => (await DescribeAsync()).State is ConsumerGroupState.Empty);
        await Admin.DeleteConsumerGroupOffsetsAsync(Group, [new(topic, 0)]);
        Assert.Empty(await ListOffsetsAsync());
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task A_group_is_deleted_when_it_is_empty(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync();
        Fill(topic, 1, 3);
        Join(Settings(topic, agreement));
        await ProcessedAsync(topic, 3);
        await CommittedToTheEndAsync(topic, 1);
        Assert.Equal(ErrorCode.NonEmptyGroup, (await DeleteAsync())?.Code);
        await LeaveAllAsync();
        await Poll.UntilAsync("it is empty", async () => (await DescribeAsync()).State is ConsumerGroupState.Empty);
        Assert.Null(await DeleteAsync());
        Assert.Equal(ErrorCode.GroupIdNotFound, (await DeleteAsync())?.Code);
        Assert.Equal(ConsumerGroupState.Dead, (await DescribeAsync()).State);
        Assert.Empty(await ListOffsetsAsync());
    }

    [Fact]
    public async Task A_consumer_that_assigns_itself_commits_as_a_simple_group()
    {
        var topic = await Fixture.CreateTopicAsync();
        Fill(topic, 1, 10);
        using (var consumer = GroupConsumer(Agreement.Range))
        {
            consumer.Assign(new TopicPartitionOffset(topic, 0, 4));
            Take(consumer, 3);
            consumer.Commit([new TopicPartitionOffset(topic, 0, 7)]);
            consumer.Close();
        }

        Assert.Equal(7, (await ListOffsetsAsync())[(topic, 0)]);
        var group = await DescribeAsync();
        Assert.Equal((ConsumerGroupState.Empty, true), (group.State, group.IsSimpleConsumerGroup));
        Assert.Null(await DeleteAsync());
    }

    [Fact]
    public async Task Offsets_of_a_deleted_topic_are_forgotten()
    {
        var (kept, deleted) = (await Fixture.CreateTopicAsync(), await Fixture.CreateTopicAsync());
        await AlterAsync(new TopicPartition(kept, 0), 0);
        await AlterAsync(new TopicPartition(deleted, 0), 0);
        await Admin.DeleteTopicsAsync([deleted]);
        await Poll.UntilAsync("only one is left", async () => (await ListOffsetsAsync()).Keys.SequenceEqual([(kept, 0)]));
    }

    /// <summary>The offsets as the admin call lists them.</summary>
    private async Task<Dictionary<(string Topic, int Partition), long>> ListOffsetsAsync()
    {
        var found = await Admin.ListConsumerGroupOffsetsAsync([new ConsumerGroupTopicPartitions(Group, null)]);
        return Assert.Single(found).Partitions.Where(static p => p.Offset.Value >= 0)
            .ToDictionary(static p => (p.Topic, p.Partition.Value), static p => p.Offset.Value);
    }

    private Task AlterAsync(TopicPartition partition, long offset) =>
        Admin.AlterConsumerGroupOffsetsAsync([new(Group, [new TopicPartitionOffset(partition, offset)])]);

    private async Task<Error?> DeleteAsync()
    {
        try
        {
            await Admin.DeleteGroupsAsync([Group]);
            return null;
        }
        catch (DeleteGroupsException problem)
        {
            return Assert.Single(problem.Results).Error;
        }
    }

    private async Task<List<ConsumerGroupListing>> ListAsync(ConsumerGroupState state, ConsumerGroupType type) =>
        (await Admin.ListConsumerGroupsAsync(new() { MatchStates = [state], MatchTypes = [type] })).Valid;
}
