using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;
using KBroker.Server.Tests.Net;

namespace KBroker.Server.Tests.LogDirs;

/// <summary>
/// <c>cordoned.log.dirs</c> (KIP-1066), as clients see it. The answers were compared with those of Apache Kafka 4.3.1.
/// </summary>
public sealed class CordonedDirectoryTests : IDisposable
{
    private const string Property = "cordoned.log.dirs";
    private readonly Disks _disks = new();

    public void Dispose() => _disks.Dispose();

    [Fact]
    public async Task New_partitions_go_to_the_other_directories_and_all_is_told()
    {
        await using var broker = await _disks.StartAsync((Property, _disks.B));
        await using var client = await broker.ConnectAsync();
        await TestTopic.CreateAsync(client, "t", 4);
        Assert.Equal([0, 1, 2, 3], Disks.PartitionsIn(broker, "t", _disks.A));
        Assert.Equal([Disks.DirectoryOf(broker, _disks.B).DirectoryId], Registered(broker));
        Assert.Equal([(_disks.A, false), (_disks.B, true)], await DescribeAsync(client, 5));
        Assert.Equal([(_disks.A, false), (_disks.B, false)], await DescribeAsync(client, 4));
        Assert.Empty(broker.Log.Errors);
    }

    [Fact]
    public async Task It_changes_while_the_broker_runs_and_what_lies_there_is_served()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        var topic = await Disks.CreateTopicAsync(broker, client, "t");
        var inB = Disks.PartitionsIn(broker, "t", _disks.B)[0];
        Assert.Equal((ErrorCode.None, null), await AlterAsync(client, _disks.B));
        await RegisteredAsync(broker, _disks.B);
        Assert.Equal(ErrorCode.None, (await topic.ProduceAsync(Batches.Of("v"), partition: inB)).ErrorCode);
        Assert.Equal(["v"], Batches.Values((await topic.FetchAsync(0, partition: inB)).Records));
        await TestTopic.CreateAsync(client, "later", 3);
        Assert.Equal([0, 1, 2], Disks.PartitionsIn(broker, "later", _disks.A));

        Assert.Equal((ErrorCode.None, null), await AlterAsync(client, _disks.A));
        await RegisteredAsync(broker, _disks.A);
        await TestTopic.CreateAsync(client, "last", 3);
        Assert.Equal([0, 1, 2], Disks.PartitionsIn(broker, "last", _disks.B));
        await broker.StopAsync();

        await using var again = await _disks.StartAsync();
        Assert.Equal([Disks.DirectoryOf(again, _disks.A).DirectoryId], Registered(again));
        Assert.Empty(again.Log.Errors);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task With_all_of_them_cordoned_a_topic_is_refused_unless_it_names_the_broker(bool byStar)
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        Assert.Equal(
            (ErrorCode.None, null), await AlterAsync(client, byStar ? "*" : $"{_disks.A},{_disks.B}"));
        await RegisteredAsync(broker, _disks.A, _disks.B);
        var refused = Assert.Single((await client.SendAsync<CreateTopicsResponse>(
            TestTopic.CreateRequest("t"))).Topics);
        Assert.Equal(ErrorCode.InvalidReplicationFactor, refused.ErrorCode);
        Assert.Equal(
            "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log "
            + "directories cordoned.",
            refused.ErrorMessage);
        var named = TestTopic.CreateRequest("t", -1);
        named.Topics[0].ReplicationFactor = -1;
        named.Topics[0].Assignments = [new() { PartitionIndex = 0, BrokerIds = [TestBroker.NodeId] }];
        Assert.Equal(ErrorCode.None, (await client.SendAsync<CreateTopicsResponse>(named)).Topics[0].ErrorCode);
        Assert.Single(broker.State.Partitions.All, static p => p.TopicPartition.Topic == "t" && !p.IsOffline);

        Assert.Equal((ErrorCode.None, null), await AlterAsync(client, ""));
        await RegisteredAsync(broker);
        await TestTopic.CreateAsync(client, "free", 1);
    }

    [Fact]
    public async Task No_replica_is_moved_there_but_one_that_lies_there_may_stay()
    {
        await using var broker = await _disks.StartAsync((Property, _disks.B));
        await using var client = await broker.ConnectAsync();
        await TestTopic.CreateAsync(client, "t", 1);
        Assert.Equal(ErrorCode.InvalidReplicaAssignment, await MoveAsync(client, _disks.B));
        Assert.Empty(broker.State.Logs.Moves.Futures);
        Assert.Equal((ErrorCode.None, null), await AlterAsync(client, _disks.A));
        await RegisteredAsync(broker, _disks.A);
        Assert.Equal(ErrorCode.None, await MoveAsync(client, _disks.A));
        Assert.Equal(ErrorCode.None, await MoveAsync(client, _disks.B));
        await TestNetwork.Eventually(
            () => Disks.PartitionsIn(broker, "t", _disks.B) is [0], "the replica has left the cordoned directory");
        Assert.Equal(ErrorCode.InvalidReplicaAssignment, await MoveAsync(client, _disks.A));
    }

    [Fact]
    public async Task A_directory_that_is_not_there_is_refused_as_kafka_refuses_it()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        Assert.Equal(
            (ErrorCode.InvalidRequest, "requirement failed: All entries in cordoned.log.dirs must be present in "
                + "log.dirs or log.dir. Missing entries : /nope"),
            await AlterAsync(client, $"/nope,{_disks.A}"));
        Assert.Equal(
            (ErrorCode.InvalidRequest, "Cannot update these configs at default cluster level, broker id must be "
                + "specified: [cordoned.log.dirs]"),
            await AlterAsync(client, _disks.A, resource: ""));
        Assert.Empty(Registered(broker));
    }

    [Fact]
    public async Task An_old_metadata_version_tells_the_controller_nothing_and_the_broker_obeys_all_the_same()
    {
        await using var broker = await _disks.StartAsync(
            (Property, _disks.B), ("kbroker.bootstrap.features", "metadata.version=20"));
        await using var client = await broker.ConnectAsync();
        await TestTopic.CreateAsync(client, "t", 2);
        Assert.Equal([0, 1], Disks.PartitionsIn(broker, "t", _disks.A));
        Assert.Null(broker.State.Metadata.Image.Brokers[TestBroker.NodeId].CordonedLogDirs);
        Assert.Empty(broker.Log.Errors);
    }

    private static Task RegisteredAsync(TestBroker broker, params string[] paths) => TestNetwork.Eventually(
        () => Registered(broker).ToHashSet().SetEquals(paths.Select(p => Disks.DirectoryOf(broker, p).DirectoryId)),
        $"the controller knows that {string.Join(", ", paths)} is cordoned");

    private static IReadOnlyList<Uuid> Registered(TestBroker broker) =>
        broker.State.Metadata.Image.Brokers[TestBroker.NodeId].CordonedLogDirs!.Value;

    private static async Task<List<(string Directory, bool IsCordoned)>> DescribeAsync(
        ProtocolClient client, short version) =>
        [.. (await client.SendAsync<DescribeLogDirsResponse>(new DescribeLogDirsRequest { Topics = null }, version))
            .Results.Select(static r => (r.LogDir, r.IsCordoned))];

    private static async Task<(ErrorCode Error, string? Message)> AlterAsync(
        ProtocolClient client, string value, string? resource = null)
    {
        var response = await client.SendAsync<IncrementalAlterConfigsResponse>(new IncrementalAlterConfigsRequest
        {
            Resources =
            [
                new()
                {
                    ResourceType = 4,
                    ResourceName = resource ?? $"{TestBroker.NodeId}",
                    Configs = [new() { Name = Property, Value = value, ConfigOperation = 0 }],
                },
            ],
        });
        return (response.Responses[0].ErrorCode, response.Responses[0].ErrorMessage);
    }

    private static async Task<ErrorCode> MoveAsync(ProtocolClient client, string directory)
    {
        var response = await client.SendAsync<AlterReplicaLogDirsResponse>(new AlterReplicaLogDirsRequest
        {
            Dirs = [new() { Path = directory, Topics = [new() { Name = "t", Partitions = [0] }] }],
        });
        return response.Results[0].Partitions[0].ErrorCode;
    }
}
