using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.LogDirs;

/// <summary>AssignReplicasToDirs (KIP-858) over TCP, where brokers send it: on the controller's listener.</summary>
public sealed class AssignReplicasToDirsTests : IDisposable
{
    private readonly Disks _disks = new();

    public void Dispose() => _disks.Dispose();

    [Fact]
    public async Task The_controllers_listener_serves_it_and_no_other()
    {
        await using var broker = await _disks.StartAsync(
            ("process.roles", "broker,controller"),
            ("controller.quorum.voters", $"{TestBroker.NodeId}@localhost:9093"),
            ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
            ("controller.listener.names", "CONTROLLER"),
            ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"));
        await using var client = await broker.ConnectAsync();
        await using var controller = await broker.ConnectAsync("CONTROLLER");
        Assert.DoesNotContain((short)ApiKey.AssignReplicasToDirs, await KeysAsync(client));
        Assert.Contains((short)ApiKey.AssignReplicasToDirs, await KeysAsync(controller));

        var topic = await Disks.CreateTopicAsync(broker, client, "t");
        var partition = Disks.PartitionsIn(broker, "t", _disks.A)[0];
        var target = Disks.DirectoryOf(broker, _disks.B).DirectoryId;
        Assert.Equal(
            (ErrorCode.None, ErrorCode.None), await AssignAsync(broker, controller, topic.Id, partition, target));
        var image = broker.State.Metadata.Image.Topics.FindPartition("t", partition)!;
        Assert.Equal((target, TestBroker.NodeId), (image.DirectoryOf(TestBroker.NodeId), image.Leader));

        Assert.Equal(
            (ErrorCode.None, ErrorCode.UnknownTopicOrPartition),
            await AssignAsync(broker, controller, topic.Id, 99, target));
        Assert.Equal(
            (ErrorCode.StaleBrokerEpoch, null),
            await AssignAsync(broker, controller, topic.Id, partition, target, epochsAgo: 1));

        // One that the broker has not registered takes the replica away.
        Assert.Equal(
            (ErrorCode.None, ErrorCode.None),
            await AssignAsync(broker, controller, topic.Id, partition, Uuid.Parse("AAECAwQFBgcICQoLDA0ODw")));
        Assert.Equal(-1, broker.State.Metadata.Image.Topics.FindPartition("t", partition)!.Leader);
    }

    private static async Task<List<short>> KeysAsync(ProtocolClient client)
    {
        var versions = await client.SendAsync<ApiVersionsResponse>(
            new ApiVersionsRequest { ClientSoftwareName = "test", ClientSoftwareVersion = "1" });
        return [.. versions.ApiKeys.Select(static api => api.ApiKey)];
    }

    private static async Task<(ErrorCode Request, ErrorCode? Partition)> AssignAsync(
        TestBroker broker, ProtocolClient controller, Uuid topic, int partition, Uuid directory, int epochsAgo = 0)
    {
        var response = await controller.SendAsync<AssignReplicasToDirsResponse>(new AssignReplicasToDirsRequest
        {
            BrokerId = TestBroker.NodeId,
            BrokerEpoch = broker.State.BrokerEpoch - epochsAgo,
            Directories =
            [
                new()
                {
                    Id = directory,
                    Topics = [new() { TopicId = topic, Partitions = [new() { PartitionIndex = partition }] }],
                },
            ],
        });
        return (response.ErrorCode,
            response.Directories.FirstOrDefault()?.Topics.FirstOrDefault()?.Partitions.FirstOrDefault()?.ErrorCode);
    }
}
