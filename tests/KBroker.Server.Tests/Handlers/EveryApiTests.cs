using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>
/// A sensible request in every version of every API that the broker offers gets an answer that decodes to its last
/// byte, without an error. What the answers say is tested API by API beside this.
/// </summary>
public sealed class EveryApiTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private static readonly Dictionary<ApiKey, Func<EveryApiTests, TestTopic, short, Task<ErrorCode>>> Calls = new()
    {
        [ApiKey.Produce] = async (_, topic, v) => (await topic.ProduceAsync(Batches.Of("v"), version: v)).ErrorCode,
        [ApiKey.Fetch] = async (_, topic, v) => (await topic.FetchAsync(0, version: v)).ErrorCode,
        [ApiKey.ListOffsets] = async (t, topic, v) => (await t.Call<ListOffsetsResponse>(
            new ListOffsetsRequest
            {
                ReplicaId = -1,
                Topics = [new() { Name = topic.Name, Partitions = [new() { Timestamp = -1 }] }],
            }, v)).Topics[0].Partitions[0].ErrorCode,
        [ApiKey.Metadata] = async (t, topic, v) => (await t.Call<MetadataResponse>(
            new MetadataRequest { Topics = [new() { Name = topic.Name }] }, v)).Topics[0].ErrorCode,
        [ApiKey.ApiVersions] = async (t, _, v) => (await t.Call<ApiVersionsResponse>(
            new ApiVersionsRequest { ClientSoftwareName = "test", ClientSoftwareVersion = "1" }, v)).ErrorCode,
        [ApiKey.CreateTopics] = async (t, _, v) => (await t.Call<CreateTopicsResponse>(
            TestTopic.CreateRequest(t.NewName()), v)).Topics[0].ErrorCode,
        [ApiKey.DeleteTopics] = async (t, _, v) =>
        {
            var doomed = await t.NewTopicAsync();
            return (await t.Call<DeleteTopicsResponse>(
                v < 6
                    ? new DeleteTopicsRequest { TopicNames = [doomed.Name] }
                    : new DeleteTopicsRequest { Topics = [new() { TopicId = doomed.Id }] }, v)).Responses[0].ErrorCode;
        },
        [ApiKey.CreatePartitions] = async (t, _, v) => (await t.Call<CreatePartitionsResponse>(
            new CreatePartitionsRequest
            {
                Topics = [new() { Name = (await t.NewTopicAsync()).Name, Count = 2,
                Assignments = null }]
            },
            v)).Results[0].ErrorCode,
        [ApiKey.DeleteRecords] = async (t, topic, v) => (await t.Call<DeleteRecordsResponse>(
            new DeleteRecordsRequest { Topics = [new() { Name = topic.Name, Partitions = [new() { Offset = 0 }] }] },
            v)).Topics[0].Partitions[0].ErrorCode,
        [ApiKey.InitProducerId] = async (t, _, v) => (await t.Call<InitProducerIdResponse>(
            new InitProducerIdRequest { TransactionalId = null, TransactionTimeoutMs = 60_000 }, v)).ErrorCode,
        [ApiKey.OffsetForLeaderEpoch] = async (t, topic, v) => (await t.Call<OffsetForLeaderEpochResponse>(
            new OffsetForLeaderEpochRequest { Topics = [new() { Topic = topic.Name, Partitions = [new()] }] },
            v)).Topics[0].Partitions[0].ErrorCode,
        [ApiKey.FindCoordinator] = async (t, _, v) => await t.FindCoordinatorAsync(v),
        [ApiKey.OffsetCommit] = async (t, topic, v) =>
            await (await t.GroupAsync()).CommitAsync(topic, 1, version: v),
        [ApiKey.OffsetFetch] = async (t, topic, v) =>
            (await (await t.GroupAsync()).FetchAsync(topic, version: v)).Error,
        [ApiKey.OffsetDelete] = async (t, topic, v) => await t.DeleteOffsetAsync(topic, v),
        [ApiKey.JoinGroup] = async (t, _, v) => (await (await t.NewGroupAsync()).JoinAsync(v)).ErrorCode,
        [ApiKey.SyncGroup] = async (t, _, v) =>
        {
            var group = await t.NewGroupAsync();
            return (await group.SyncAsync(await group.JoinAsync(), v, [1])).ErrorCode;
        },
        [ApiKey.Heartbeat] = async (t, _, v) =>
        {
            var group = await t.NewGroupAsync();
            return await group.HeartbeatAsync(await group.StabilizeAsync(), v);
        },
        [ApiKey.LeaveGroup] = async (t, _, v) =>
        {
            var group = await t.NewGroupAsync();
            return (await group.LeaveAsync((await group.StabilizeAsync()).MemberId, v)).ErrorCode;
        },
        [ApiKey.DescribeGroups] = async (t, _, v) =>
        {
            var group = await t.NewGroupAsync();
            await group.StabilizeAsync();
            return (await group.DescribeAsync(v)).ErrorCode;
        },
        [ApiKey.ListGroups] = async (t, _, v) => (await t.Call<ListGroupsResponse>(
            new ListGroupsRequest(), v)).ErrorCode,
        [ApiKey.DeleteGroups] = async (t, _, v) =>
        {
            var group = await t.NewGroupAsync();
            await group.LeaveAsync((await group.StabilizeAsync()).MemberId);
            return await group.DeleteAsync(v);
        },
        [ApiKey.AddPartitionsToTxn] = async (t, topic, v) => await t.AddPartitionAsync(topic, v),
        [ApiKey.AddOffsetsToTxn] = async (t, _, v) =>
            await (await t.NewProducerAsync()).AddOffsetsAsync((await t.GroupAsync()).Id, v),
        [ApiKey.TxnOffsetCommit] = async (t, topic, v) =>
        {
            var group = await t.GroupAsync();
            var producer = await t.NewProducerAsync();
            await producer.AddOffsetsAsync(group.Id);
            return await producer.CommitAsync(group.Id, topic, 1, v);
        },
        [ApiKey.EndTxn] = async (t, topic, v) =>
        {
            var producer = await t.NewProducerAsync();
            await producer.AddAsync(topic, 0);
            return (await t.Call<EndTxnResponse>(
                new EndTxnRequest
                {
                    TransactionalId = producer.Id,
                    ProducerId = producer.ProducerId,
                    ProducerEpoch = producer.Epoch,
                    Committed = true,
                }, v)).ErrorCode;
        },
        [ApiKey.WriteTxnMarkers] = async (t, topic, v) => (await t.Call<WriteTxnMarkersResponse>(
            new WriteTxnMarkersRequest
            {
                Markers =
                [
                    new()
                    {
                        ProducerId = 1_000_000 + v,
                        Topics = [new() { Name = topic.Name, PartitionIndexes = [0] }],
                    },
                ],
            }, v)).Markers[0].Topics[0].Partitions[0].ErrorCode,
        [ApiKey.DescribeTransactions] = async (t, _, v) => (await t.Call<DescribeTransactionsResponse>(
            new DescribeTransactionsRequest { TransactionalIds = [(await t.NewProducerAsync()).Id] },
            v)).TransactionStates[0].ErrorCode,
        [ApiKey.ListTransactions] = async (t, _, v) => (await t.Call<ListTransactionsResponse>(
            new ListTransactionsRequest(), v)).ErrorCode,
        [ApiKey.ConsumerGroupHeartbeat] = async (t, topic, v) =>
            (await t.JoinConsumerGroupAsync(topic, v)).ErrorCode,
        [ApiKey.ConsumerGroupDescribe] = async (t, topic, v) =>
        {
            await t.JoinConsumerGroupAsync(topic, 1);
            var described = await t.Call<ConsumerGroupDescribeResponse>(
                new ConsumerGroupDescribeRequest { GroupIds = [topic.Name] }, v);
            Assert.Equal("member", Assert.Single(described.Groups[0].Members).MemberId);
            return described.Groups[0].ErrorCode;
        },
        [ApiKey.DescribeConfigs] = async (t, topic, v) => (await t.Call<DescribeConfigsResponse>(
            new DescribeConfigsRequest { Resources = [new() { ResourceType = 2, ResourceName = topic.Name }] },
            v)).Results[0].ErrorCode,
        [ApiKey.AlterConfigs] = async (t, topic, v) => (await t.Call<AlterConfigsResponse>(
            new AlterConfigsRequest { Resources = [new() { ResourceType = 2, ResourceName = topic.Name }] },
            v)).Responses[0].ErrorCode,
        [ApiKey.IncrementalAlterConfigs] = async (t, topic, v) => (await t.Call<IncrementalAlterConfigsResponse>(
            new IncrementalAlterConfigsRequest { Resources = [new() { ResourceType = 2, ResourceName = topic.Name }] },
            v)).Responses[0].ErrorCode,
        [ApiKey.DescribeLogDirs] = async (t, _, v) => (await t.Call<DescribeLogDirsResponse>(
            new DescribeLogDirsRequest { Topics = null }, v)).Results[0].ErrorCode,
        [ApiKey.AlterReplicaLogDirs] = async (t, topic, v) => (await t.Call<AlterReplicaLogDirsResponse>(
            new AlterReplicaLogDirsRequest
            {
                Dirs =
                [
                    new()
                    {
                        Path = (await t.Call<DescribeLogDirsResponse>(new DescribeLogDirsRequest { Topics = null }, 1))
                            .Results[0].LogDir,
                        Topics = [new() { Name = topic.Name, Partitions = [0] }],
                    },
                ],
            }, v)).Results[0].Partitions[0].ErrorCode,
        [ApiKey.ElectLeaders] = async (t, topic, v) => (await t.Call<ElectLeadersResponse>(
            new ElectLeadersRequest { TopicPartitions = [] }, v)).ErrorCode,
        [ApiKey.AlterPartitionReassignments] = async (t, _, v) => (await t.Call<AlterPartitionReassignmentsResponse>(
            new AlterPartitionReassignmentsRequest(), v)).ErrorCode,
        [ApiKey.ListPartitionReassignments] = async (t, _, v) => (await t.Call<ListPartitionReassignmentsResponse>(
            new ListPartitionReassignmentsRequest(), v)).ErrorCode,
        [ApiKey.DescribeQuorum] = async (t, _, v) => (await t.Call<DescribeQuorumResponse>(
            new DescribeQuorumRequest
            {
                Topics = [new() { TopicName = "__cluster_metadata", Partitions = [new()] }],
            }, v)).Topics[0].Partitions[0].ErrorCode,
        [ApiKey.UpdateFeatures] = async (t, _, v) => (await t.Call<UpdateFeaturesResponse>(
            new UpdateFeaturesRequest(), v)).ErrorCode,
        [ApiKey.DescribeProducers] = async (t, topic, v) => (await t.Call<DescribeProducersResponse>(
            new DescribeProducersRequest { Topics = [new() { Name = topic.Name, PartitionIndexes = [0] }] },
            v)).Topics[0].Partitions[0].ErrorCode,
        [ApiKey.DescribeCluster] = async (t, _, v) => (await t.Call<DescribeClusterResponse>(
            new DescribeClusterRequest(), v)).ErrorCode,
        [ApiKey.ListConfigResources] = async (t, _, v) => (await t.Call<ListConfigResourcesResponse>(
            new ListConfigResourcesRequest(), v)).ErrorCode,
        [ApiKey.DescribeTopicPartitions] = async (t, topic, v) => (await t.Call<DescribeTopicPartitionsResponse>(
            new DescribeTopicPartitionsRequest { Topics = [new() { Name = topic.Name }] }, v)).Topics[0].ErrorCode,
        [ApiKey.ListPendingRecords] = async (t, _, v) => (await t.Call<ListPendingRecordsResponse>(
            new ListPendingRecordsRequest
            {
                Topics =
                [
                    new()
                    {
                        Name = (await t.NewDelayingTopicAsync()).Name,
                        PartitionIndexes = [0],
                    },
                ],
            }, v)).Topics[0].Partitions[0].ErrorCode,
    };

    [Fact]
    public async Task Every_version_of_every_api_on_offer_answers_without_error()
    {
        var topic = await NewTopicAsync();
        await topic.ProduceAsync("first");
        var offered = await Call<ApiVersionsResponse>(new ApiVersionsRequest(), 0);
        var failures = new List<string>();
        // Apis of our own are served without being offered.
        var served = offered.ApiKeys.Select(static api => (Key: (ApiKey)api.ApiKey, api.MaxVersion))
            .Concat(ApiCatalog.All.Where(static a => a.IsPrivate).Select(static a => (a.Key, a.HighestVersion)))
            .ToList();
        foreach (var (key, maxVersion) in served)
        {
            if (!Calls.TryGetValue(key, out var call))
            {
                failures.Add($"{key} has no call in this test");
                continue;
            }

            for (var version = ApiCatalog.Get(key).LowestVersion; version <= maxVersion; version++)
            {
                var error = await call(this, topic, version);
                if (error != ErrorCode.None)
                    failures.Add($"{key} version {version}: {error}");
            }
        }

        Assert.Empty(failures);
        Assert.Equal(Calls.Keys.Order(), served.Select(static api => api.Key));
        Assert.DoesNotContain(offered.ApiKeys, static api => ApiCatalog.Get((ApiKey)api.ApiKey).IsPrivate);
    }

    [Fact]
    public async Task The_offer_is_the_catalog_with_produce_from_0()
    {
        var offered = await Call<ApiVersionsResponse>(new ApiVersionsRequest(), 0);
        foreach (var api in offered.ApiKeys)
        {
            var info = ApiCatalog.Get((ApiKey)api.ApiKey);
            Assert.Equal(info.AdvertisedLowest, api.MinVersion);
            Assert.Equal(info.LatestStableVersion, api.MaxVersion);
        }

        Assert.Equal(0, offered.ApiKeys.Single(static api => api.ApiKey == 0).MinVersion);
    }

    private async Task<ErrorCode> FindCoordinatorAsync(short version)
    {
        var response = await Call<FindCoordinatorResponse>(
            version < 4
                ? new FindCoordinatorRequest { Key = "group" }
                : new FindCoordinatorRequest { CoordinatorKeys = ["group"] }, version);
        return version < 4 ? response.ErrorCode : Assert.Single(response.Coordinators).ErrorCode;
    }

    private async Task<ErrorCode> AddPartitionAsync(TestTopic topic, short version)
    {
        const short FirstOfBrokers = 4;
        var producer = await NewProducerAsync();
        if (version < FirstOfBrokers)
        {
            return (await Call<AddPartitionsToTxnResponse>(producer.AddRequest(topic, 0), version))
                .ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode;
        }

        var request = new AddPartitionsToTxnRequest
        {
            Transactions =
            [
                new()
                {
                    TransactionalId = producer.Id,
                    ProducerId = producer.ProducerId,
                    ProducerEpoch = producer.Epoch,
                    Topics = [new() { Name = topic.Name, Partitions = [0] }],
                },
            ],
        };
        return (await Call<AddPartitionsToTxnResponse>(request, version))
            .ResultsByTransaction[0].TopicResults[0].ResultsByPartition[0].PartitionErrorCode;
    }

    private Task<TestProducer> NewProducerAsync() => TestProducer.CreateAsync(fixture.Client, NewName());

    private async Task<ErrorCode> DeleteOffsetAsync(TestTopic topic, short version)
    {
        var group = await GroupAsync();
        await group.CommitAsync(topic, 1);
        return (await Call<OffsetDeleteResponse>(
            new OffsetDeleteRequest
            {
                GroupId = "group",
                Topics = [new() { Name = topic.Name, Partitions = [new()] }],
            }, version)).Topics[0].Partitions[0].ErrorCode;
    }

    private Task<TestGroup> GroupAsync() => TestGroup.FindAsync(fixture.Client, "group");

    private async Task<ConsumerGroupHeartbeatResponse> JoinConsumerGroupAsync(TestTopic topic, short version)
    {
        await TestGroup.FindAsync(fixture.Client, topic.Name);
        return await Call<ConsumerGroupHeartbeatResponse>(
            new ConsumerGroupHeartbeatRequest
            {
                GroupId = topic.Name,
                MemberId = "member",
                RebalanceTimeoutMs = 60_000,
                SubscribedTopicNames = [topic.Name],
                TopicPartitions = [],
            },
            version);
    }

    private Task<T> Call<T>(IRequestMessage request, short version)
        where T : IResponseMessage, IMessage<T> => fixture.Client.SendAsync<T>(request, version);

    private Task<ClassicTestGroup> NewGroupAsync() => ClassicTestGroup.CreateAsync(fixture.Client, NewName());

    private string NewName() => fixture.NewName();

    private Task<TestTopic> NewDelayingTopicAsync() =>
        fixture.CreateTopicAsync(1, ("kbroker.delay.enable", "true"));

    private Task<TestTopic> NewTopicAsync() => fixture.CreateTopicAsync();
}
