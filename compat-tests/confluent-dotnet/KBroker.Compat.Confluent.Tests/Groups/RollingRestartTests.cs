using KBroker.Storm.Members;

namespace KBroker.Compat.Confluent.Tests.Groups;

/// <summary>A deployment: one member after the other goes and comes back, while records keep coming.</summary>
public sealed class RollingRestartTests(ConfluentFixture fixture) : GroupTest(fixture)
{
    private const int Members = 12;
    private const int Partitions = 24;
    private const int RecordsEach = 4;

    [Theory]
    [InlineData(Agreement.RoundRobin)]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task Twelve_members_restart_one_after_the_other(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync(Partitions);
        var members = new GroupMember[Members];
        for (var i = 0; i < Members; i++)
            members[i] = Join(Settings(topic, agreement));
        await SharedAsync(topic, Partitions, Members);
        for (var i = 0; i < Members; i++)
        {
            await members[i].LeaveAsync();
            members[i] = Join(Settings(topic, agreement));
            Fill(topic, Partitions, RecordsEach);
            await HistoryAsync($"restarted member {i} has partitions", () => History.Owned.ContainsKey(members[i].Name));
        }

        await SharedAsync(topic, Partitions, Members);
        await ProcessedAsync(topic, Partitions * RecordsEach * Members);
        await CommittedToTheEndAsync(topic, Partitions);
        await HistoryIsSoundAsync(Partitions, topic);
    }
}
