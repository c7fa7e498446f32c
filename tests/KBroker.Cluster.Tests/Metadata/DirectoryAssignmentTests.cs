using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Tests.Metadata;

/// <summary>AssignReplicasToDirs, and directories that fail, at the controller (KIP-858).</summary>
public sealed class DirectoryAssignmentTests
{
    private static readonly Uuid Second = Uuid.Parse("AAECAwQFBgcICQoLDA0ODw");
    private static readonly Uuid Unknown = Uuid.Parse("EBESExQVFhcYGRobHB0eHw");

    [Fact]
    public async Task The_reserved_ids_are_those_of_kafka()
    {
        Assert.Equal("AAAAAAAAAAAAAAAAAAAAAA", DirectoryIds.Migrating.ToString());
        Assert.Equal("AAAAAAAAAAAAAAAAAAAAAQ", DirectoryIds.Unassigned.ToString());
        Assert.Equal("AAAAAAAAAAAAAAAAAAAAAg", DirectoryIds.Lost.ToString());
        await using var home = await StartAsync();
        Assert.Equal(DirectoryIds.Unassigned, (await CreateAsync(home)).Directories.Single());
    }

    [Fact]
    public async Task An_assignment_is_noted_and_survives_a_restart()
    {
        await using var home = await StartAsync();
        var topic = (await home.CreateAsync("t", 2)).TopicId;
        Assert.Equal(ErrorCode.None, await AssignAsync(home, topic, 1, Second));
        Assert.Equal(Second, Partition(home, 1).DirectoryOf(1));
        Assert.Equal((0, 1), (Partition(home, 1).LeaderEpoch, Partition(home, 1).PartitionEpoch));
        Assert.Equal(DirectoryIds.Unassigned, Partition(home, 0).DirectoryOf(1));

        // Said again, it is no change.
        Assert.Equal(ErrorCode.None, await AssignAsync(home, topic, 1, Second));
        Assert.Equal(1, Partition(home, 1).PartitionEpoch);
        await home.RestartAsync();
        Assert.Equal(Second, Partition(home, 1).DirectoryOf(1));
    }

    [Fact]
    public async Task Refusals_name_what_is_wrong()
    {
        await using var home = await StartAsync();
        var topic = (await home.CreateAsync("t")).TopicId;
        Assert.Equal(ErrorCode.UnknownTopicId, await AssignAsync(home, Unknown, 0, Second));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, await AssignAsync(home, topic, 7, Second));
        var request = Request(home, topic, 0, Second);
        request.BrokerEpoch = 9_999;
        Assert.Equal(
            ErrorCode.StaleBrokerEpoch, (await home.Controller.AssignReplicasToDirsAsync(request)).ErrorCode);
        request.BrokerId = 5;
        Assert.Equal(
            ErrorCode.BrokerIdNotRegistered, (await home.Controller.AssignReplicasToDirsAsync(request)).ErrorCode);
    }

    [Fact]
    public async Task A_failed_directory_takes_the_leader_of_its_partitions_and_a_registration_with_it_gives_it_back()
    {
        await using var home = await StartAsync();
        var topic = (await home.CreateAsync("t", 2)).TopicId;
        var first = home.Image.Brokers[1].LogDirs[0];
        await AssignAsync(home, topic, 0, first);
        await AssignAsync(home, topic, 1, Second);
        await home.Controller.FailDirectoriesAsync(1, home.Image.Brokers[1].Epoch, [Second]);

        Assert.Equal((1, 0), (Partition(home, 0).Leader, Partition(home, 0).LeaderEpoch));
        Assert.Equal((-1, 1), (Partition(home, 1).Leader, Partition(home, 1).LeaderEpoch));
        Assert.Empty(Partition(home, 1).Isr);
        Assert.Equal([1], Partition(home, 1).EligibleLeaderReplicas);
        Assert.Equal([1], Partition(home, 1).LastKnownElr);
        Assert.Equal([first], home.Image.Brokers[1].LogDirs);

        // Told twice it is the same; without the directory no election brings a leader.
        await home.Controller.FailDirectoriesAsync(1, home.Image.Brokers[1].Epoch, [Second]);
        foreach (sbyte type in new sbyte[] { 0, 1 })
        {
            var elected = await home.Controller.ElectLeadersAsync(
                new() { ElectionType = type, TopicPartitions = [new() { Topic = "t", Partitions = [1] }] }, 2);
            Assert.NotEqual(ErrorCode.None, elected.ReplicaElectionResults[0].PartitionResult[0].ErrorCode);
        }

        Assert.Equal((-1, 1), (Partition(home, 1).Leader, Partition(home, 1).LeaderEpoch));
        await home.Controller.RegisterBrokerAsync(
            home.Broker() with { LogDirs = [first, Second] }, cleanShutdown: true);
        Assert.Equal((1, 2), (Partition(home, 1).Leader, Partition(home, 1).LeaderEpoch));
        Assert.Equal([1], Partition(home, 1).Isr);
        Assert.Empty(Partition(home, 1).EligibleLeaderReplicas);
    }

    [Fact]
    public async Task A_registration_without_a_directory_takes_the_leader_and_an_assignment_gives_it_back()
    {
        await using var home = await StartAsync();
        var topic = (await home.CreateAsync("t")).TopicId;
        await AssignAsync(home, topic, 0, Second);
        var epoch = await home.Controller.RegisterBrokerAsync(
            home.Broker() with { LogDirs = [Unknown, home.Logs.Directories[0].DirectoryId] }, cleanShutdown: false);
        Assert.Equal(-1, Partition(home, 0).Leader);

        var request = Request(home, topic, 0, Unknown);
        request.BrokerEpoch = epoch;
        Assert.Equal(ErrorCode.None, (await home.Controller.AssignReplicasToDirsAsync(request)).ErrorCode);
        Assert.Equal((1, Unknown), (Partition(home, 0).Leader, Partition(home, 0).DirectoryOf(1)));

        // One that is not registered takes it away again.
        request = Request(home, topic, 0, Second);
        request.BrokerEpoch = epoch;
        await home.Controller.AssignReplicasToDirsAsync(request);
        Assert.Equal((-1, Second), (Partition(home, 0).Leader, Partition(home, 0).DirectoryOf(1)));
    }

    [Fact]
    public async Task A_level_without_directories_takes_no_assignment()
    {
        await using var home = await new MetadataHome(
            null, ("kbroker.bootstrap.features", "metadata.version=3.6-IV2,eligible.leader.replicas.version=0"))
            .StartAsync();
        var topic = (await home.CreateAsync("t")).TopicId;
        var response = await home.Controller.AssignReplicasToDirsAsync(Request(home, topic, 0, Second));
        Assert.Equal(ErrorCode.UnsupportedVersion, response.ErrorCode);
        await home.Controller.FailDirectoriesAsync(1, home.Image.Brokers[1].Epoch, [Second]);
        Assert.Equal(1, Partition(home, 0).Leader);
    }

    private static async Task<MetadataHome> StartAsync()
    {
        var home = await new MetadataHome().StartAsync();
        await home.Controller.RegisterBrokerAsync(
            home.Broker() with { LogDirs = [home.Logs.Directories[0].DirectoryId, Second] }, cleanShutdown: true);
        return home;
    }

    private static async Task<PartitionImage> CreateAsync(MetadataHome home)
    {
        await home.CreateAsync("t");
        return Partition(home, 0);
    }

    private static PartitionImage Partition(MetadataHome home, int index) =>
        home.Image.Topics.FindPartition("t", index)!;

    private static AssignReplicasToDirsRequest Request(MetadataHome home, Uuid topic, int partition, Uuid directory) =>
        new()
        {
            BrokerId = 1,
            BrokerEpoch = home.Image.Brokers[1].Epoch,
            Directories =
            [
                new()
                {
                    Id = directory,
                    Topics = [new() { TopicId = topic, Partitions = [new() { PartitionIndex = partition }] }],
                },
            ],
        };

    private static async Task<ErrorCode> AssignAsync(MetadataHome home, Uuid topic, int partition, Uuid directory)
    {
        var response = await home.Controller.AssignReplicasToDirsAsync(Request(home, topic, partition, directory));
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        return Assert.Single(Assert.Single(Assert.Single(response.Directories).Topics).Partitions).ErrorCode;
    }
}
