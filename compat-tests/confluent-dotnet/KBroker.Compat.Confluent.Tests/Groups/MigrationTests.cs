using Confluent.Kafka;
using KBroker.Compat.Harness;
using KBroker.Storm.Members;

namespace KBroker.Compat.Confluent.Tests.Groups;

/// <summary>Groups that go from one protocol to the other while they work.</summary>
public sealed class MigrationTests(ConfluentFixture fixture) : GroupTest(fixture)
{
    private const int Members = 3;
    private const int Partitions = 12;
    private const int RecordsEach = 4;

    [Fact]
    public async Task A_group_moves_to_the_consumer_protocol_and_back_without_a_stop()
    {
        var topic = await Fixture.CreateTopicAsync(Partitions);
        var members = new GroupMember[Members];
        for (var i = 0; i < Members; i++)
            members[i] = Join(Settings(topic, Agreement.RoundRobin));
        await SharedAsync(topic, Partitions, Members);
        foreach (var agreement in new[] { Agreement.Uniform, Agreement.Range })
        {
            for (var i = 0; i < Members; i++)
            {
                await members[i].LeaveAsync();
                members[i] = Join(Settings(topic, agreement));
                Fill(topic, Partitions, RecordsEach);
                await SharedAsync(topic, Partitions, Members);
            }

            var expected = IsClassic(agreement) ? ConsumerGroupType.Classic : ConsumerGroupType.Consumer;
            await Poll.UntilAsync($"the group is {expected}", async () => (await DescribeAsync()).GroupType == expected);
        }

        await ProcessedAsync(topic, Partitions * RecordsEach * Members * 2);
        await CommittedToTheEndAsync(topic, Partitions);
        await HistoryIsSoundAsync(Partitions, topic);
    }

    /// <summary>librdkafka puts what a member had before into the assignments of cooperative-sticky.</summary>
    [Fact]
    public async Task A_group_whose_assignments_carry_user_data_stays_classic()
    {
        var topic = await Fixture.CreateTopicAsync(2);
        Join(Settings(topic, Agreement.CooperativeSticky));
        await SharedAsync(topic, 2, 1);
        Join(Settings(topic, Agreement.CooperativeSticky));
        await SharedAsync(topic, 2, 2);
        var refused = await Assert.ThrowsAnyAsync<KafkaException>(
            () => Join(Settings(topic, Agreement.Uniform)).Ended.WaitAsync(Limit));
        Assert.Equal(ErrorCode.GroupIdNotFound, refused.Error.Code);
        Assert.Equal(ConsumerGroupType.Classic, (await DescribeAsync()).GroupType);
    }
}
