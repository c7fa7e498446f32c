using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>FindCoordinator, and the topic it creates.</summary>
public sealed class FindCoordinatorTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.FindCoordinator, 0, 3, MemberType = typeof(Versions))]
    public async Task A_group_has_a_coordinator(short version)
    {
        await TestGroup.FindAsync(fixture.Client, "g");
        var found = await fixture.Client.SendAsync<FindCoordinatorResponse>(
            new FindCoordinatorRequest { Key = "g" }, version);
        Assert.Equal(
            (ErrorCode.None, "127.0.0.1", fixture.Broker.Port), (found.ErrorCode, found.Host, found.Port));
        Assert.Equal(version >= 1 ? "NONE" : "", found.ErrorMessage);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.FindCoordinator, 4, 99, MemberType = typeof(Versions))]
    public async Task Several_groups_have_coordinators(short version)
    {
        await TestGroup.FindAsync(fixture.Client, "g");
        var found = await fixture.Client.SendAsync<FindCoordinatorResponse>(
            new FindCoordinatorRequest { CoordinatorKeys = ["g", "h", ""] }, version);
        Assert.Equal(["g", "h", ""], found.Coordinators.Select(static c => c.Key));
        Assert.All(found.Coordinators, coordinator => Assert.Equal(
            (ErrorCode.None, "", "127.0.0.1", fixture.Broker.Port),
            (coordinator.ErrorCode, coordinator.ErrorMessage, coordinator.Host, coordinator.Port)));
    }

    [Fact]
    public async Task The_first_question_creates_the_topic()
    {
        await TestGroup.FindAsync(fixture.Client, "g");
        var metadata = await fixture.Client.SendAsync<MetadataResponse>(
            new MetadataRequest { Topics = [new() { Name = "__consumer_offsets" }], AllowAutoTopicCreation = false });
        var topic = Assert.Single(metadata.Topics);
        Assert.Equal((ErrorCode.None, true, 50), (topic.ErrorCode, topic.IsInternal, topic.Partitions.Count));
        Assert.All(topic.Partitions, static partition => Assert.Single(partition.ReplicaNodes));
        var configs = await fixture.Client.SendAsync<DescribeConfigsResponse>(new DescribeConfigsRequest
        {
            Resources = [new() { ResourceType = 2, ResourceName = "__consumer_offsets" }],
        });
        var values = configs.Results[0].Configs.ToDictionary(static c => c.Name, static c => c.Value);
        Assert.Equal(
            ("compact", "producer", "104857600"),
            (values["cleanup.policy"], values["compression.type"], values["segment.bytes"]));
    }

    [Theory]
    [InlineData(3, "INVALID_REQUEST")]
    [InlineData(6, "INVALID_REQUEST")]
    public async Task Keys_of_other_kinds_are_refused(short version, string error)
    {
        Assert.Equal(error, await AskAsync("g", 2, version));
        Assert.Equal(error, await AskAsync("g", 9, version));
    }

    private async Task<string> AskAsync(string key, sbyte type, short version)
    {
        var found = await fixture.Client.SendAsync<FindCoordinatorResponse>(
            version < 4
                ? new FindCoordinatorRequest { Key = key, KeyType = type }
                : new FindCoordinatorRequest { CoordinatorKeys = [key], KeyType = type },
            version);
        return ErrorCodes.Name(version < 4 ? found.ErrorCode : Assert.Single(found.Coordinators).ErrorCode);
    }
}
