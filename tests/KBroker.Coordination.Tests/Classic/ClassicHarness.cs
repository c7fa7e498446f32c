using KBroker.Coordination.Groups;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Classic;

/// <summary>A shard and the requests of classic clients to one group, <c>g</c>.</summary>
internal sealed class ClassicHarness(params (string Name, string Value)[] configs)
{
    public const string GroupId = "g";
    public const int InitialDelayMs = 3_000;

    public ShardDriver Driver { get; } = new(configs);

    public ClassicGroup Group => (ClassicGroup)Driver.Shard.Groups.Find(GroupId)!;

    /// <summary>A JoinGroup as a consumer sends it; by default the version that needs no member id first.</summary>
    public Task<JoinGroupResponse> Join(
        string memberId = "",
        string? instanceId = null,
        short version = 3,
        string type = "consumer",
        int sessionMs = 10_000,
        int rebalanceMs = 60_000,
        string clientId = "client",
        params (string Name, byte[] Metadata)[] protocols)
    {
        var message = new JoinGroupRequest
        {
            GroupId = GroupId,
            MemberId = memberId,
            GroupInstanceId = instanceId,
            ProtocolType = type,
            SessionTimeoutMs = sessionMs,
            RebalanceTimeoutMs = rebalanceMs,
        };
        if (protocols.Length == 0)
            protocols = [("range", [1])];
        foreach (var (name, metadata) in protocols)
            message.Protocols.Add(new() { Name = name, Metadata = metadata });
        var request = new GroupRequest<JoinGroupRequest>(message, version, new GroupClient(clientId, "/127.0.0.1"));
        return Driver.Run<JoinGroupResponse>((shard, turn, reply) => shard.Classic.Join(turn, request, reply));
    }

    public Task<SyncGroupResponse> Sync(
        JoinGroupResponse joined,
        string? instanceId = null,
        string? type = null,
        string? name = null,
        params (string MemberId, byte[] Assignment)[] assignments)
    {
        var message = new SyncGroupRequest
        {
            GroupId = GroupId,
            MemberId = joined.MemberId,
            GroupInstanceId = instanceId,
            GenerationId = joined.GenerationId,
            ProtocolType = type,
            ProtocolName = name,
        };
        foreach (var (memberId, assignment) in assignments)
            message.Assignments.Add(new() { MemberId = memberId, Assignment = assignment });
        var request = new GroupRequest<SyncGroupRequest>(message, 5, new GroupClient("client", "/127.0.0.1"));
        return Driver.Run<SyncGroupResponse>((shard, turn, reply) => shard.Classic.Sync(turn, request, reply));
    }

    public ErrorCode Heartbeat(string memberId, int generation, string? instanceId = null) =>
        Driver.Run((shard, turn) => shard.Classic.Heartbeat(turn, new HeartbeatRequest
        {
            GroupId = GroupId,
            MemberId = memberId,
            GenerationId = generation,
            GroupInstanceId = instanceId,
        }));

    public ErrorCode Heartbeat(JoinGroupResponse joined, string? instanceId = null) =>
        Heartbeat(joined.MemberId, joined.GenerationId, instanceId);

    public List<ErrorCode> Leave(params (string MemberId, string? InstanceId)[] members) =>
        Driver.Run((shard, turn) => shard.Classic.Leave(turn, GroupId,
        [
            .. members.Select(static m => new LeaveGroupRequest.MemberIdentity
            {
                MemberId = m.MemberId,
                GroupInstanceId = m.InstanceId,
            }),
        ])).Members.ConvertAll(static m => m.ErrorCode);

    /// <summary>Commits as far as the group is concerned: the checks, without the offsets.</summary>
    public ErrorCode CheckCommit(string memberId, int generation, string? instanceId = null, bool transactional = false)
    {
        try
        {
            Driver.Run((_, turn) =>
            {
                Group.CheckOffsetCommit(
                    turn, new OffsetCommitter(memberId, instanceId, generation, transactional, 9));
                return 0;
            });
            return ErrorCode.None;
        }
        catch (CoordinatorException refused)
        {
            return refused.Error;
        }
    }

    /// <summary>Members join an empty group and reach a stable generation; each gets its index as assignment.</summary>
    public JoinGroupResponse[] Stabilize(params string?[] instanceIds)
    {
        var joins = instanceIds.Select(id => Join(instanceId: id)).ToArray();
        while (joins.Any(static j => !j.IsCompleted))
            Driver.Advance(InitialDelayMs);
        return Assign([.. joins.Select(static j => j.Result)]);
    }

    /// <summary>Everybody asks for its assignment, the leader last; each gets its index.</summary>
    public JoinGroupResponse[] Assign(params JoinGroupResponse[] joined)
    {
        var leader = joined.Single(static j => j.MemberId == j.Leader);
        var followers = joined.Where(j => j != leader).Select(j => (j, Sync(j))).ToList();
        var assignments = joined.Select(static (j, i) => (j.MemberId, new[] { (byte)i })).ToArray();
        var syncs = followers.Append((leader, Sync(leader, assignments: assignments))).ToList();
        foreach (var (member, sync) in syncs)
        {
            Assert.Equal(ErrorCode.None, sync.Result.ErrorCode);
            Assert.Equal([(byte)Array.IndexOf(joined, member)], sync.Result.Assignment.ToArray());
        }

        Assert.Equal(ClassicGroupState.Stable, Group.State);
        return joined;
    }
}
