using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>CreateTopics, DeleteTopics, CreatePartitions and DescribeTopicPartitions.</summary>
public sealed class TopicTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private const sbyte TopicConfig = 1;
    private const sbyte DefaultConfig = 5;

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.CreateTopics, 0, 99, MemberType = typeof(Versions))]
    public async Task A_topic_is_created_with_its_configs(short version)
    {
        var name = fixture.NewName();
        var result = await CreateAsync(TestTopic.CreateRequest(name, 3, ("retention.ms", "1234")), version);
        Assert.Equal((ErrorCode.None, name, null), (result.ErrorCode, result.Name, result.ErrorMessage));
        Assert.Equal(version >= 5 ? (3, 1) : (-1, -1), (result.NumPartitions, result.ReplicationFactor));
        Assert.Equal(version >= 7, result.TopicId != Uuid.Zero);
        if (version >= 5)
        {
            Assert.Equal(ErrorCode.None, result.TopicConfigErrorCode);
            var retention = result.Configs!.Single(static c => c.Name == "retention.ms");
            Assert.Equal(("1234", TopicConfig), (retention.Value, retention.ConfigSource));
            Assert.Equal(DefaultConfig, result.Configs!.Single(static c => c.Name == "cleanup.policy").ConfigSource);
        }

        Assert.Equal(3, (await DescribeAsync(name)).Partitions.Count);
        var again = await CreateAsync(TestTopic.CreateRequest(name), version);
        Assert.Equal(ErrorCode.TopicAlreadyExists, again.ErrorCode);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.CreateTopics, 0, 99, MemberType = typeof(Versions))]
    public async Task Validation_alone_creates_nothing(short version)
    {
        var request = TestTopic.CreateRequest(fixture.NewName(), 2);
        request.ValidateOnly = true;
        Assert.Equal(ErrorCode.None, (await CreateAsync(request, version)).ErrorCode);
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, (await DescribeAsync(request.Topics[0].Name)).ErrorCode);
        request.Topics[0].Configs = [new() { Name = "retention.ms", Value = "soon" }];
        var refused = await CreateAsync(request, version);
        Assert.Equal(ErrorCode.InvalidConfig, refused.ErrorCode);
        Assert.Contains("soon", refused.ErrorMessage, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Partitions_may_be_assigned_by_hand()
    {
        var request = TestTopic.CreateRequest(fixture.NewName(), -1);
        var topic = request.Topics[0];
        topic.ReplicationFactor = -1;
        topic.Assignments =
            [new() { PartitionIndex = 1, BrokerIds = [7] }, new() { PartitionIndex = 0, BrokerIds = [7] }];
        Assert.Equal((ErrorCode.None, 2), await ResultAsync(request));
        topic.Name = fixture.NewName();
        topic.Assignments[0].PartitionIndex = 2;
        Assert.Equal((ErrorCode.InvalidReplicaAssignment, -1), await ResultAsync(request));
        topic.Assignments = [new() { PartitionIndex = 0, BrokerIds = [8] }];
        Assert.Equal((ErrorCode.InvalidReplicaAssignment, -1), await ResultAsync(request));
        topic.Assignments = [new() { PartitionIndex = 0, BrokerIds = [7] }];
        topic.NumPartitions = 1;
        Assert.Equal((ErrorCode.InvalidRequest, -1), await ResultAsync(request));
    }

    [Fact]
    public async Task What_cannot_be_created_is_refused_topic_by_topic()
    {
        async Task<ErrorCode> ErrorAsync(string name, int partitions = 1, short replicas = 1)
        {
            var request = TestTopic.CreateRequest(name, partitions);
            request.Topics[0].ReplicationFactor = replicas;
            return (await CreateAsync(request, 7)).ErrorCode;
        }

        Assert.Equal(ErrorCode.InvalidTopicException, await ErrorAsync("no spaces"));
        Assert.Equal(ErrorCode.InvalidTopicException, await ErrorAsync(""));
        Assert.Equal(ErrorCode.InvalidTopicException, await ErrorAsync(new string('x', 250)));
        Assert.Equal(ErrorCode.InvalidTopicException, await ErrorAsync(".."));
        Assert.Equal(ErrorCode.InvalidPartitions, await ErrorAsync(fixture.NewName(), partitions: 0));
        Assert.Equal(ErrorCode.InvalidReplicationFactor, await ErrorAsync(fixture.NewName(), replicas: 0));
        Assert.Equal(ErrorCode.InvalidReplicationFactor, await ErrorAsync(fixture.NewName(), replicas: 2));
        Assert.Equal(ErrorCode.None, await ErrorAsync("same.name"));
        Assert.Equal(ErrorCode.InvalidTopicException, await ErrorAsync("same_name"));

        var mixed = TestTopic.CreateRequest(fixture.NewName());
        mixed.Topics.Add(TestTopic.CreateRequest("bad name").Topics[0]);
        var results = (await fixture.Client.SendAsync<CreateTopicsResponse>(mixed)).Topics;
        Assert.Equal(
            [ErrorCode.None, ErrorCode.InvalidTopicException],
            results.OrderByDescending(static r => r.Name, StringComparer.Ordinal).Select(static r => r.ErrorCode));
    }

    [Fact]
    public async Task Counts_of_minus_1_stand_for_the_brokers_defaults()
    {
        var request = TestTopic.CreateRequest(fixture.NewName(), -1);
        request.Topics[0].ReplicationFactor = -1;
        Assert.Equal((ErrorCode.None, 1), await ResultAsync(request));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.DeleteTopics, 0, 99, MemberType = typeof(Versions))]
    public async Task Topics_are_deleted_by_name_and_from_version_6_by_id(short version)
    {
        var byName = await fixture.CreateTopicAsync();
        var byId = await fixture.CreateTopicAsync();
        await byId.ProduceAsync("gone");
        var request = version < 6
            ? new DeleteTopicsRequest { TimeoutMs = 9000, TopicNames = [byName.Name, byId.Name, "not-here"] }
            : new DeleteTopicsRequest
            {
                TimeoutMs = 9000,
                Topics = [new() { Name = byName.Name }, new() { TopicId = byId.Id, Name = null },
                    new() { Name = "not-here" }],
            };
        var response = await fixture.Client.SendAsync<DeleteTopicsResponse>(request, version);
        Assert.Equal(
            [
                ("not-here", ErrorCode.UnknownTopicOrPartition, Uuid.Zero),
                (byName.Name, ErrorCode.None, version >= 6 ? byName.Id : Uuid.Zero),
                (byId.Name, ErrorCode.None, version >= 6 ? byId.Id : Uuid.Zero),
            ],
            response.Responses.Select(static r => (r.Name, r.ErrorCode, r.TopicId))
                .OrderBy(r => r.Name == "not-here" ? 0 : r.Name == byName.Name ? 1 : 2));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, (await DescribeAsync(byId.Name)).ErrorCode);
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, (await byId.FetchAsync(0, version: 12)).ErrorCode);
    }

    [Theory]
    [InlineData(2, ErrorCode.InvalidRequest)]
    [InlineData(3, ErrorCode.TopicDeletionDisabled)]
    public async Task Nothing_is_deleted_where_deletion_is_disabled(short version, ErrorCode error)
    {
        await using var broker = await TestBroker.StartAsync(null, ("delete.topic.enable", "false"));
        await using var client = await broker.ConnectAsync();
        var response = await client.SendAsync<DeleteTopicsResponse>(
            new DeleteTopicsRequest { TopicNames = ["t"] }, version);
        Assert.Equal(error, Assert.Single(response.Responses).ErrorCode);
    }

    [Fact]
    public async Task An_unknown_id_and_an_empty_question_are_refused()
    {
        var response = await fixture.Client.SendAsync<DeleteTopicsResponse>(new DeleteTopicsRequest
        {
            TimeoutMs = 9000,
            Topics = [new() { TopicId = Uuid.Random(), Name = null }, new() { Name = null }],
        });
        Assert.Equal(
            [ErrorCode.InvalidRequest, ErrorCode.UnknownTopicId],
            response.Responses.Select(static r => r.ErrorCode).Order());
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.CreatePartitions, 0, 99, MemberType = typeof(Versions))]
    public async Task Partitions_are_added_and_written_to(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        async Task<ErrorCode> GrowAsync(int count, bool validateOnly = false, string? name = null) =>
            (await fixture.Client.SendAsync<CreatePartitionsResponse>(
                new CreatePartitionsRequest
                {
                    Topics = [new() { Name = name ?? topic.Name, Count = count, Assignments = null }],
                    ValidateOnly = validateOnly,
                }, version)).Results[0].ErrorCode;
        Assert.Equal(ErrorCode.None, await GrowAsync(3, validateOnly: true));
        Assert.Single((await DescribeAsync(topic.Name)).Partitions);
        Assert.Equal(ErrorCode.None, await GrowAsync(3));
        Assert.Equal(3, (await DescribeAsync(topic.Name)).Partitions.Count);
        Assert.Equal(ErrorCode.None, (await topic.ProduceAsync(Batches.Of("v"), partition: 2)).ErrorCode);
        Assert.Equal(ErrorCode.InvalidPartitions, await GrowAsync(3));
        Assert.Equal(ErrorCode.InvalidPartitions, await GrowAsync(2));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, await GrowAsync(2, name: "not-here"));
    }

    [Fact]
    public async Task New_partitions_may_be_assigned_by_hand()
    {
        var topic = await fixture.CreateTopicAsync();
        var request = new CreatePartitionsRequest
        {
            Topics = [new() { Name = topic.Name, Count = 2, Assignments = [new() { BrokerIds = [9] }] }],
        };
        var response = await fixture.Client.SendAsync<CreatePartitionsResponse>(request);
        Assert.Equal(ErrorCode.InvalidReplicaAssignment, response.Results[0].ErrorCode);
        request.Topics[0].Assignments = [new() { BrokerIds = [7] }];
        response = await fixture.Client.SendAsync<CreatePartitionsResponse>(request);
        Assert.Equal(ErrorCode.None, response.Results[0].ErrorCode);
    }

    [Fact]
    public async Task Pages_of_partitions_follow_one_another_with_the_cursor()
    {
        var topics = new List<TestTopic>();
        for (var i = 0; i < 3; i++)
            topics.Add(await TestTopic.CreateAsync(fixture.Client, $"page-{i}", 3));
        var request = new DescribeTopicPartitionsRequest
        {
            Topics = [new() { Name = "page-2" }, new() { Name = "page-0" }, new() { Name = "page-1" },
                new() { Name = "page-x" }],
            ResponsePartitionLimit = 2,
        };
        var seen = new List<(string?, int)>();
        var missing = new List<string?>();
        for (var page = 0; ; page++)
        {
            Assert.True(page < 10, "the cursor does not move");
            var response = await fixture.Client.SendAsync<DescribeTopicPartitionsResponse>(request);
            var partitions = response.Topics.Where(static t => t.ErrorCode == ErrorCode.None)
                .SelectMany(static t => t.Partitions.Select(p => (t.Name, p.PartitionIndex))).ToList();
            Assert.InRange(partitions.Count, 0, 2);
            seen.AddRange(partitions);
            missing.AddRange(response.Topics.Where(static t => t.ErrorCode == ErrorCode.UnknownTopicOrPartition)
                .Select(static t => t.Name));
            if (response.NextCursor is not { } next)
                break;
            request.Cursor = new() { TopicName = next.TopicName, PartitionIndex = next.PartitionIndex };
        }

        Assert.Equal(
            topics.SelectMany(static t => Enumerable.Range(0, 3).Select(p => ((string?)t.Name, p))), seen);
        Assert.Equal(["page-x"], missing);
    }

    [Fact]
    public async Task A_cursor_whose_topic_is_gone_goes_on_with_the_next_name_and_a_bad_one_is_refused()
    {
        await TestTopic.CreateAsync(fixture.Client, "zz-2", 1);
        var response = await fixture.Client.SendAsync<DescribeTopicPartitionsResponse>(
            new DescribeTopicPartitionsRequest { Cursor = new() { TopicName = "zz-1", PartitionIndex = 4 } });
        var topic = Assert.Single(response.Topics);
        var partition = Assert.Single(topic.Partitions);
        Assert.Equal(("zz-2", 0), (topic.Name, partition.PartitionIndex));
        Assert.Equal((7, 0, ErrorCode.None), (partition.LeaderId, partition.LeaderEpoch, partition.ErrorCode));
        Assert.NotEqual(int.MinValue, topic.TopicAuthorizedOperations);
        response = await fixture.Client.SendAsync<DescribeTopicPartitionsResponse>(new DescribeTopicPartitionsRequest
        {
            Topics = [new() { Name = "zz-2" }],
            Cursor = new() { TopicName = "zz-1", PartitionIndex = -4 },
        });
        Assert.Equal(ErrorCode.InvalidRequest, Assert.Single(response.Topics).ErrorCode);
    }

    private async Task<CreateTopicsResponse.CreatableTopicResult> CreateAsync(CreateTopicsRequest request,
        short version) =>
        Assert.Single((await fixture.Client.SendAsync<CreateTopicsResponse>(request, version)).Topics);

    private async Task<(ErrorCode Error, int Partitions)> ResultAsync(CreateTopicsRequest request)
    {
        var result = await CreateAsync(request, 7);
        return (result.ErrorCode, result.NumPartitions);
    }

    private async Task<MetadataResponse.MetadataResponseTopic> DescribeAsync(string name)
    {
        var response = await fixture.Client.SendAsync<MetadataResponse>(
            new MetadataRequest { Topics = [new() { Name = name }], AllowAutoTopicCreation = false });
        return Assert.Single(response.Topics);
    }
}
