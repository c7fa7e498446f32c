using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>What the broker says of itself, its quorum, its directories, features and replicas.</summary>
public sealed class ClusterTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.DescribeCluster, 0, 99, MemberType = typeof(Versions))]
    public async Task The_cluster_is_this_broker(short version)
    {
        var request = new DescribeClusterRequest { IncludeClusterAuthorizedOperations = true };
        var response = await fixture.Client.SendAsync<DescribeClusterResponse>(request, version);
        Assert.Equal((ErrorCode.None, 1, TestBroker.NodeId),
            (response.ErrorCode, response.EndpointType, response.ControllerId));
        Assert.Equal(22, response.ClusterId.Length);
        Assert.NotEqual(int.MinValue, response.ClusterAuthorizedOperations);
        var broker = Assert.Single(response.Brokers);
        Assert.Equal(
            (TestBroker.NodeId, "127.0.0.1", fixture.Broker.Port, false),
            (broker.BrokerId, broker.Host, broker.Port, broker.IsFenced));
    }

    [Theory]
    [InlineData(2, ErrorCode.MismatchedEndpointType)]
    [InlineData(3, ErrorCode.UnsupportedEndpointType)]
    public async Task A_broker_listener_describes_brokers_alone(sbyte endpointType, ErrorCode expected)
    {
        var request = new DescribeClusterRequest { EndpointType = endpointType };
        Assert.Equal(expected, (await fixture.Client.SendAsync<DescribeClusterResponse>(request)).ErrorCode);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.DescribeLogDirs, 0, 99, MemberType = typeof(Versions))]
    public async Task Log_directories_show_their_partitions_and_space(short version)
    {
        var topic = await fixture.CreateTopicAsync(partitions: 2);
        await topic.ProduceAsync("some bytes");
        var request = new DescribeLogDirsRequest { Topics = [new() { Topic = topic.Name, Partitions = [0, 1] }] };
        var directory =
            Assert.Single((await fixture.Client.SendAsync<DescribeLogDirsResponse>(request, version)).Results);
        Assert.Equal(ErrorCode.None, directory.ErrorCode);
        Assert.Equal(fixture.Broker.Broker.Options.LogDirs[0], directory.LogDir);
        Assert.Equal(version >= 4, directory is { TotalBytes: > 0, UsableBytes: > 0 });
        var partitions = Assert.Single(directory.Topics).Partitions;
        Assert.Equal([(0, true), (1, false)], partitions.Select(static p => (p.PartitionIndex, p.PartitionSize > 0)));
        Assert.All(partitions, static p => Assert.Equal((0, false), (p.OffsetLag, p.IsFutureKey)));

        var all = await fixture.Client.SendAsync<DescribeLogDirsResponse>(
            new DescribeLogDirsRequest { Topics = null }, version);
        Assert.Contains(topic.Name, all.Results[0].Topics.Select(static t => t.Name));
        var none = await fixture.Client.SendAsync<DescribeLogDirsResponse>(
            new DescribeLogDirsRequest { Topics = [] }, version);
        Assert.Empty(none.Results[0].Topics);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.DescribeQuorum, 0, 99, MemberType = typeof(Versions))]
    public async Task The_quorum_is_this_broker(short version)
    {
        var response = await fixture.Client.SendAsync<DescribeQuorumResponse>(
            new DescribeQuorumRequest
            {
                Topics = [new() { TopicName = "__cluster_metadata", Partitions = [new() { PartitionIndex = 0 }] }],
            }, version);
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        var partition = Assert.Single(Assert.Single(response.Topics).Partitions);
        Assert.Equal((ErrorCode.None, TestBroker.NodeId), (partition.ErrorCode, partition.LeaderId));
        Assert.True(partition.HighWatermark > 0);
        var voter = Assert.Single(partition.CurrentVoters);
        Assert.Equal((TestBroker.NodeId, partition.HighWatermark), (voter.ReplicaId, voter.LogEndOffset));

        // With kraft.version 0 voters are known by their ids alone.
        Assert.Equal(Uuid.Zero, voter.ReplicaDirectoryId);
        Assert.Equal(version >= 2 ? [TestBroker.NodeId] : [], response.Nodes.Select(static n => n.NodeId));
        var other = await fixture.Client.SendAsync<DescribeQuorumResponse>(
            new DescribeQuorumRequest { Topics = [new() { TopicName = "other", Partitions = [new()] }] }, version);
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, other.Topics[0].Partitions[0].ErrorCode);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.ApiVersions, 0, 99, MemberType = typeof(Versions))]
    public async Task Features_are_told_from_version_3_on(short version)
    {
        var response = await fixture.Client.SendAsync<ApiVersionsResponse>(
            new ApiVersionsRequest { ClientSoftwareName = "test", ClientSoftwareVersion = "1.0" }, version);
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        Assert.Equal(version >= 3, response.FinalizedFeaturesEpoch > 0);
        Assert.Equal(
            version >= 3,
                response.FinalizedFeatures.Exists(static f => f.Name == "metadata.version" && f.MaxVersionLevel > 0));
        Assert.Equal(version >= 3, response.SupportedFeatures.Exists(static f => f.Name == "metadata.version"));

        // Older clients fail on a feature whose lowest level is 0.
        Assert.Equal(version >= 4, response.SupportedFeatures.Exists(static f => f.MinVersion == 0));
    }

    [Fact]
    public async Task A_version_that_is_not_served_is_answered_in_version_0()
    {
        var frame = await fixture.Client.SendAsync(new NewerApiVersions(), 99);
        var response = ProtocolClient.Decode<ApiVersionsResponse>(frame, ApiKey.ApiVersions, 0);
        Assert.Equal(ErrorCode.UnsupportedVersion, response.ErrorCode);
        Assert.Equal(ApiKey.ApiVersions, (ApiKey)Assert.Single(response.ApiKeys).ApiKey);
    }

    [Theory]
    [InlineData("", "1")]
    [InlineData("spaced name", "1")]
    [InlineData("name", "-1")]
    public async Task A_client_software_name_keeps_to_letters_digits_dots_and_dashes(string name, string version)
    {
        var request = new ApiVersionsRequest { ClientSoftwareName = name, ClientSoftwareVersion = version };
        Assert.Equal(ErrorCode.InvalidRequest,
            (await fixture.Client.SendAsync<ApiVersionsResponse>(request)).ErrorCode);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.UpdateFeatures, 0, 99, MemberType = typeof(Versions))]
    public async Task Features_are_validated(short version)
    {
        async Task<ErrorCode> UpdateAsync(string feature, short level, sbyte upgradeType = 1)
        {
            var response = await fixture.Client.SendAsync<UpdateFeaturesResponse>(
                new UpdateFeaturesRequest
                {
                    ValidateOnly = version >= 1,
                    FeatureUpdates =
                    [
                        version == 0
                            ? new() { Feature = feature, MaxVersionLevel = level, AllowDowngrade = upgradeType == 2 }
                            : new() { Feature = feature, MaxVersionLevel = level, UpgradeType = upgradeType },
                    ],
                }, version);
            return response.ErrorCode != ErrorCode.None || version >= 2
                ? response.ErrorCode
                : Assert.Single(response.Results).ErrorCode;
        }

        var levels = await fixture.Client.SendAsync<ApiVersionsResponse>(
            new ApiVersionsRequest { ClientSoftwareName = "test", ClientSoftwareVersion = "1.0" });
        var group = levels.FinalizedFeatures.Single(static f => f.Name == "group.version").MaxVersionLevel;
        Assert.Equal(ErrorCode.None, await UpdateAsync("group.version", group));
        Assert.Equal(ErrorCode.InvalidUpdateVersion, await UpdateAsync("group.version", 99));
        Assert.Equal(ErrorCode.InvalidUpdateVersion, await UpdateAsync("no.such.feature", 1));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.ElectLeaders, 0, 99, MemberType = typeof(Versions))]
    public async Task A_preferred_leader_that_leads_already_needs_no_election(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var response = await fixture.Client.SendAsync<ElectLeadersResponse>(
            new ElectLeadersRequest
            {
                TopicPartitions =
                    [new() { Topic = topic.Name, Partitions = [0] }, new() { Topic = "not-here", Partitions = [0] }],
            }, version);
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        Assert.Equal(
            [(topic.Name, ErrorCode.ElectionNotNeeded), ("not-here", ErrorCode.UnknownTopicOrPartition)],
            response.ReplicaElectionResults.Select(static r => (r.Topic, Assert.Single(r.PartitionResult).ErrorCode))
                .OrderBy(r => r.Topic == topic.Name ? 0 : 1));

        // Asked for every partition, the answer leaves out those that need none, but not their topics.
        response = await fixture.Client.SendAsync<ElectLeadersResponse>(
            new ElectLeadersRequest { TopicPartitions = null }, version);
        Assert.Contains(topic.Name, response.ReplicaElectionResults.Select(static r => r.Topic));
        Assert.Empty(response.ReplicaElectionResults.SelectMany(static r => r.PartitionResult));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.AlterPartitionReassignments, 0, 99, MemberType = typeof(Versions))]
    public async Task A_reassignment_to_the_same_broker_is_taken_and_to_another_refused(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        async Task<ErrorCode> MoveAsync(string name, params int[]? replicas)
        {
            var response = await fixture.Client.SendAsync<AlterPartitionReassignmentsResponse>(
                new AlterPartitionReassignmentsRequest
                {
                    Topics =
                    [
                        new()
                        {
                            Name = name,
                            Partitions = [new() { PartitionIndex = 0,
                                Replicas = replicas is null ? null : [.. replicas] }],
                        },
                    ],
                }, version);
            Assert.Equal(ErrorCode.None, response.ErrorCode);
            return Assert.Single(Assert.Single(response.Responses).Partitions).ErrorCode;
        }

        Assert.Equal(ErrorCode.None, await MoveAsync(topic.Name, TestBroker.NodeId));
        Assert.Equal(ErrorCode.InvalidReplicaAssignment, await MoveAsync(topic.Name, 99));
        Assert.Equal(ErrorCode.NoReassignmentInProgress, await MoveAsync(topic.Name, null));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, await MoveAsync("not-here", TestBroker.NodeId));
        var ongoing = await fixture.Client.SendAsync<ListPartitionReassignmentsResponse>(
            new ListPartitionReassignmentsRequest { Topics = null });
        Assert.Equal(ErrorCode.None, ongoing.ErrorCode);
        Assert.Empty(ongoing.Topics);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.InitProducerId, 0, 99, MemberType = typeof(Versions))]
    public async Task Every_producer_gets_an_id_of_its_own(short version)
    {
        var ids = new HashSet<long>();
        for (var i = 0; i < 10; i++)
        {
            var response = await fixture.Client.SendAsync<InitProducerIdResponse>(
                new InitProducerIdRequest { TransactionalId = null, TransactionTimeoutMs = 1000 }, version);
            Assert.Equal((ErrorCode.None, 0), (response.ErrorCode, response.ProducerEpoch));
            Assert.True(ids.Add(response.ProducerId), "an id was given twice");
        }
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.InitProducerId, 3, 99, MemberType = typeof(Versions))]
    public async Task A_producers_old_id_needs_its_epoch_and_does_not_come_back(short version)
    {
        var first = await fixture.Client.SendAsync<InitProducerIdResponse>(
            new InitProducerIdRequest { TransactionalId = null }, version);
        var request =
            new InitProducerIdRequest { TransactionalId = null, ProducerId = first.ProducerId, ProducerEpoch = 0 };
        var next = await fixture.Client.SendAsync<InitProducerIdResponse>(request, version);
        Assert.Equal((ErrorCode.None, 0), (next.ErrorCode, next.ProducerEpoch));
        Assert.NotEqual(first.ProducerId, next.ProducerId);
        request.ProducerEpoch = -1;
        Assert.Equal(
            (ErrorCode.InvalidRequest, -1L, -1),
            Shape(await fixture.Client.SendAsync<InitProducerIdResponse>(request, version)));
    }

    private static (ErrorCode Error, long Id, short Epoch) Shape(InitProducerIdResponse response) =>
        (response.ErrorCode, response.ProducerId, response.ProducerEpoch);

    /// <summary>An ApiVersions request of a version that does not exist yet.</summary>
    private sealed class NewerApiVersions : IRequestMessage
    {
        public ApiKey ApiKey => ApiKey.ApiVersions;

        public short LowestVersion => 0;

        public short HighestVersion => 99;

        public void Write(ProtocolWriter w, short version)
        {
            w.WriteInt32(12345);
        }
    }
}
