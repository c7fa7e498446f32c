using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Tests.Brokers;

/// <summary>A group of a simple consumer on a test broker, and the requests that most tests need.</summary>
internal sealed class TestGroup(ProtocolClient client, string id)
{
    public string Id { get; } = id;

    /// <summary>Waits until the group has a coordinator that answers.</summary>
    public static async Task<TestGroup> FindAsync(ProtocolClient client, string id)
    {
        var group = new TestGroup(client, id);
        var began = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var found = await client.SendAsync<FindCoordinatorResponse>(
                new FindCoordinatorRequest { CoordinatorKeys = [id] });
            var error = Assert.Single(found.Coordinators).ErrorCode;
            if (error == ErrorCode.None)
                error = (await group.FetchAllAsync()).ErrorCode;
            if (error == ErrorCode.None)
                return group;
            Assert.True(IsTransient(error), $"The coordinator of {id} answers {error}");
            Assert.True(TimeProvider.System.GetElapsedTime(began) < ProtocolClient.Deadline, $"still {error}");
            await Task.Delay(20);
        }
    }

    /// <summary>A request that commits one offset; it names the topic and gives its id.</summary>
    public OffsetCommitRequest CommitRequest(
        TestTopic topic, long offset, int partition = 0, string? metadata = "", int epoch = -1) => new()
        {
            GroupId = Id,
            Topics =
            [
                new()
                {
                    Name = topic.Name,
                    TopicId = topic.Id,
                    Partitions =
                    [
                        new()
                        {
                            PartitionIndex = partition,
                            CommittedOffset = offset,
                            CommittedLeaderEpoch = epoch,
                            CommittedMetadata = metadata,
                        },
                    ],
                },
            ],
        };

    /// <summary>Commits one offset.</summary>
    public async Task<ErrorCode> CommitAsync(TestTopic topic, long offset, int partition = 0, short version = -1)
    {
        var response = await client.SendAsync<OffsetCommitResponse>(CommitRequest(topic, offset, partition), version);
        return Assert.Single(Assert.Single(response.Topics).Partitions).ErrorCode;
    }

    /// <summary>Reads one offset.</summary>
    public async Task<(ErrorCode Error, long Offset, int LeaderEpoch, string? Metadata)> FetchAsync(
        TestTopic topic, int partition = 0, short version = -1, bool requireStable = false)
    {
        version = version < 0 ? ProtocolClient.Latest(ApiKey.OffsetFetch) : version;
        var response = await client.SendAsync<OffsetFetchResponse>(
            FetchRequest(topic, partition, version, requireStable), version);
        if (version < 8)
        {
            Assert.Equal(ErrorCode.None, response.ErrorCode);
            var old = Assert.Single(Assert.Single(response.Topics).Partitions);
            return (old.ErrorCode, old.CommittedOffset, old.CommittedLeaderEpoch, old.Metadata);
        }

        var group = Assert.Single(response.Groups);
        Assert.Equal((Id, ErrorCode.None), (group.GroupId, group.ErrorCode));
        var read = Assert.Single(Assert.Single(group.Topics).Partitions);
        return (read.ErrorCode, read.CommittedOffset, read.CommittedLeaderEpoch, read.Metadata);
    }

    /// <summary>Reads all offsets.</summary>
    public async Task<OffsetFetchResponse.OffsetFetchResponseGroup> FetchAllAsync() => Assert.Single(
        (await client.SendAsync<OffsetFetchResponse>(
            new OffsetFetchRequest { Groups = [new() { GroupId = Id, Topics = null }] })).Groups);

    private static bool IsTransient(ErrorCode error) => error is ErrorCode.CoordinatorNotAvailable
        or ErrorCode.CoordinatorLoadInProgress or ErrorCode.NotCoordinator;

    private OffsetFetchRequest FetchRequest(TestTopic topic, int partition, short version, bool requireStable) =>
        version < 8
            ? new OffsetFetchRequest
            {
                GroupId = Id,
                RequireStable = requireStable,
                Topics = [new() { Name = topic.Name, PartitionIndexes = [partition] }],
            }
            : new OffsetFetchRequest
            {
                RequireStable = requireStable,
                Groups =
                [
                    new()
                    {
                        GroupId = Id,
                        Topics = [new() { Name = topic.Name, TopicId = topic.Id, PartitionIndexes = [partition] }],
                    },
                ],
            };
}
