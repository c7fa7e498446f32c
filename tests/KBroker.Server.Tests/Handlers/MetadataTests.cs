using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

public sealed class MetadataTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Metadata, 0, 99, MemberType = typeof(Versions))]
    public async Task A_topic_is_described_with_its_leader(short version)
    {
        var topic = await fixture.CreateTopicAsync(partitions: 2);
        var response = await AskAsync(new() { Topics = [new() { Name = topic.Name }] }, version);
        var broker = Assert.Single(response.Brokers);
        Assert.Equal((TestBroker.NodeId, "127.0.0.1", fixture.Broker.Port), (broker.NodeId, broker.Host, broker.Port));
        Assert.Equal(version >= 1 ? TestBroker.NodeId : -1, response.ControllerId);
        Assert.Equal(version >= 2, response.ClusterId is not null);
        var found = Assert.Single(response.Topics);
        Assert.Equal((ErrorCode.None, topic.Name), (found.ErrorCode, found.Name));
        Assert.Equal(version >= 10 ? topic.Id : Uuid.Zero, found.TopicId);
        Assert.Equal([0, 1], found.Partitions.Select(static p => p.PartitionIndex));
        Assert.All(found.Partitions, partition =>
        {
            Assert.Equal((ErrorCode.None, TestBroker.NodeId), (partition.ErrorCode, partition.LeaderId));
            Assert.Equal(version >= 7 ? 0 : -1, partition.LeaderEpoch);
            Assert.Equal([TestBroker.NodeId], partition.ReplicaNodes);
            Assert.Equal([TestBroker.NodeId], partition.IsrNodes);
            Assert.Empty(partition.OfflineReplicas);
        });
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Metadata, 0, 99, MemberType = typeof(Versions))]
    public async Task All_topics_are_an_empty_list_in_version_0_and_null_later(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var all = await AskAsync(new() { Topics = version == 0 ? [] : null }, version);
        Assert.Contains(topic.Name, all.Topics.Select(static t => t.Name));
        if (version > 0)
            Assert.Empty((await AskAsync(new() { Topics = [] }, version)).Topics);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Metadata, 12, 99, MemberType = typeof(Versions))]
    public async Task A_topic_may_be_asked_for_by_id_alone(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var unknown = Uuid.Random();
        var response = await AskAsync(
            new() { Topics = [new() { TopicId = topic.Id, Name = null }, new() { TopicId = unknown, Name = null }] },
                version);
        Assert.Equal(
            [(ErrorCode.None, topic.Name, topic.Id), (ErrorCode.UnknownTopicId, null, unknown)],
            response.Topics.Select(static t => (t.ErrorCode, t.Name, t.TopicId)).OrderBy(static t => t.ErrorCode));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Metadata, 10, 11, MemberType = typeof(Versions))]
    public async Task Ids_and_null_names_are_refused_where_they_do_not_work_yet(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var byId = await AskAsync(new() { Topics = [new() { TopicId = topic.Id, Name = topic.Name }] }, version);
        Assert.Equal(ErrorCode.InvalidRequest, Assert.Single(byId.Topics).ErrorCode);
        var nameless = await AskAsync(new() { Topics = [new() { TopicId = topic.Id, Name = null }] }, version);
        Assert.Equal(ErrorCode.InvalidRequest, Assert.Single(nameless.Topics).ErrorCode);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Metadata, 4, 99, MemberType = typeof(Versions))]
    public async Task A_missing_topic_is_created_only_when_the_client_allows_it(short version)
    {
        var name = fixture.NewName();
        var refused =
            await AskAsync(new() { Topics = [new() { Name = name }], AllowAutoTopicCreation = false }, version);
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, Assert.Single(refused.Topics).ErrorCode);
        var created =
            await AskAsync(new() { Topics = [new() { Name = name }], AllowAutoTopicCreation = true }, version);
        Assert.Equal((ErrorCode.None, 1), (created.Topics[0].ErrorCode, created.Topics[0].Partitions.Count));
    }

    [Fact]
    public async Task Clients_that_mention_a_topic_at_once_get_the_same_one()
    {
        var name = fixture.NewName();
        var request = new MetadataRequest { Topics = [new() { Name = name }] };
        var clients = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => fixture.Broker.ConnectAsync()));
        var answers = await Task.WhenAll(clients.Select(client => client.SendAsync<MetadataResponse>(request)));
        Assert.Single(answers.Select(static answer => answer.Topics[0].TopicId).Distinct());
        Assert.All(answers, static answer => Assert.Equal(ErrorCode.None, answer.Topics[0].ErrorCode));
        foreach (var client in clients)
            await client.DisposeAsync();
    }

    [Fact]
    public async Task A_name_that_is_not_allowed_is_invalid()
    {
        var response = await AskAsync(new() { Topics = [new() { Name = "no spaces" }] }, 13);
        Assert.Equal((ErrorCode.InvalidTopicException, "no spaces"),
            (response.Topics[0].ErrorCode, response.Topics[0].Name));
    }

    [Fact]
    public async Task A_topic_asked_for_twice_is_answered_once()
    {
        var topic = await fixture.CreateTopicAsync();
        var response = await AskAsync(new() { Topics = [new() { Name = topic.Name }, new() { Name = topic.Name }] }, 9);
        Assert.Single(response.Topics);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Metadata, 8, 99, MemberType = typeof(Versions))]
    public async Task Authorized_operations_are_given_when_asked_for(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var request = new MetadataRequest
        {
            Topics = [new() { Name = topic.Name }],
            IncludeTopicAuthorizedOperations = true,
            IncludeClusterAuthorizedOperations = version <= 10,
        };
        var response = await AskAsync(request, version);
        Assert.NotEqual(int.MinValue, response.Topics[0].TopicAuthorizedOperations);
        Assert.Equal(version <= 10, response.ClusterAuthorizedOperations != int.MinValue);
        request.IncludeTopicAuthorizedOperations = false;
        Assert.Equal(int.MinValue, (await AskAsync(request, version)).Topics[0].TopicAuthorizedOperations);
    }

    private Task<MetadataResponse> AskAsync(MetadataRequest request, short version) =>
        fixture.Client.SendAsync<MetadataResponse>(request, version);
}
