using KBroker.Coordination.Groups;
using KBroker.Coordination.Groups.Consumer.Migration;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Consumer;

/// <summary>A consumer of the classic protocol in group <c>g</c>, as the Java client is one.</summary>
internal static class ClassicClient
{
    public static Task<JoinGroupResponse> ClassicJoin(
        this ShardDriver driver, string memberId, string topic, int[] owned, string? instance = null) =>
        driver.Run<JoinGroupResponse>((shard, turn, reply) => shard.ClassicProtocolOf("g").Join(
            turn,
            new GroupRequest<JoinGroupRequest>(
                new JoinGroupRequest
                {
                    GroupId = "g",
                    MemberId = memberId,
                    GroupInstanceId = instance,
                    SessionTimeoutMs = 30_000,
                    RebalanceTimeoutMs = 60_000,
                    ProtocolType = "consumer",
                    Protocols = [new() { Name = "range", Metadata = Subscription(topic, owned) }],
                },
                9,
                ConsumerDriver.Client),
            reply));

    public static async Task<int[]> ClassicSync(
        this ShardDriver driver, string memberId, int generation, byte[]? assignment = null)
    {
        var response = await driver.Run<SyncGroupResponse>((shard, turn, reply) => shard.ClassicProtocolOf("g").Sync(
            turn,
            new GroupRequest<SyncGroupRequest>(
                new SyncGroupRequest
                {
                    GroupId = "g",
                    MemberId = memberId,
                    GenerationId = generation,
                    ProtocolType = "consumer",
                    ProtocolName = "range",
                    Assignments = assignment is null ? [] : [new() { MemberId = memberId, Assignment = assignment }],
                },
                5,
                ConsumerDriver.Client),
            reply));
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        return [.. EmbeddedProtocol.ReadAssignment(response.Assignment).AssignedPartitions
            .SelectMany(static t => t.Partitions)];
    }

    public static ErrorCode ClassicBeat(this ShardDriver driver, string memberId, int generation) =>
        driver.Run((shard, turn) => shard.ClassicProtocolOf("g").Heartbeat(
            turn, new HeartbeatRequest { GroupId = "g", MemberId = memberId, GenerationId = generation }));

    /// <summary>A classic group of one member that has all partitions; gives its id.</summary>
    public static async Task<string> StableClassicAsync(this ShardDriver driver, string topic, int partitions)
    {
        var id = (await driver.ClassicJoin("", topic, [])).MemberId;
        var joining = driver.ClassicJoin(id, topic, []);
        driver.Advance(10_000);
        var generation = (await joining).GenerationId;
        var assignment = new ConsumerProtocolAssignment
        {
            AssignedPartitions = [new() { Topic = topic, Partitions = [.. Enumerable.Range(0, partitions)] }],
        };
        await driver.ClassicSync(id, generation, Bytes(assignment, 1));
        return id;
    }

    private static byte[] Subscription(string topic, int[] owned) => Bytes(
        new ConsumerProtocolSubscription
        {
            Topics = [topic],
            OwnedPartitions = owned.Length == 0 ? [] : [new() { Topic = topic, Partitions = [.. owned] }],
        },
        1);

    private static byte[] Bytes(IMessage message, short version)
    {
        using var writer = new ProtocolWriter();
        writer.WriteInt16(version);
        message.Write(writer, version);
        return writer.ToArray();
    }
}
