using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Tests.Brokers;

/// <summary>A classic group on a test broker, of which each request is made by hand, in any version.</summary>
internal sealed class ClassicTestGroup(ProtocolClient client, string id)
{
    private const short FirstJoinWithMemberIdRequired = 4;

    public string Id { get; } = id;

    /// <summary>A new group whose coordinator is there: the first one of a broker has to wait for its topic.</summary>
    public static async Task<ClassicTestGroup> CreateAsync(ProtocolClient client, string id)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            var found = await client.SendAsync<FindCoordinatorResponse>(
                new FindCoordinatorRequest { CoordinatorKeys = [id] });
            var error = found.Coordinators[0].ErrorCode;
            if (error == ErrorCode.None)
            {
                var described = await client.SendAsync<DescribeGroupsResponse>(
                    new DescribeGroupsRequest { Groups = [id] }, 5);
                error = described.Groups[0].ErrorCode;
            }

            if (error == ErrorCode.None)
                return new ClassicTestGroup(client, id);
            Assert.True(Stopwatch.GetElapsedTime(started) < ProtocolClient.Deadline, $"no coordinator: {error}");
            await Task.Delay(20);
        }
    }

    public JoinGroupRequest JoinRequest(string memberId = "", string? instanceId = null) => new()
    {
        GroupId = Id,
        MemberId = memberId,
        GroupInstanceId = instanceId,
        ProtocolType = "consumer",
        SessionTimeoutMs = 30_000,
        RebalanceTimeoutMs = 60_000,
        Protocols = [new() { Name = "range", Metadata = new byte[] { 0, 0, 0, 0, 0, 0, 255, 255, 255, 255 } }],
    };

    /// <summary>Joins, and gets a member id first where the version wants it.</summary>
    public async Task<JoinGroupResponse> JoinAsync(
        short version = -1, string memberId = "", string? instanceId = null, ProtocolClient? by = null)
    {
        by ??= client;
        var response = await by.SendAsync<JoinGroupResponse>(JoinRequest(memberId, instanceId), version);
        if (response.ErrorCode != ErrorCode.MemberIdRequired)
            return response;
        Assert.True(version is < 0 or >= FirstJoinWithMemberIdRequired);
        return await by.SendAsync<JoinGroupResponse>(JoinRequest(response.MemberId), version);
    }

    public Task<SyncGroupResponse> SyncAsync(
        JoinGroupResponse joined, short version = -1, byte[]? assignment = null, string? instanceId = null)
    {
        var request = new SyncGroupRequest
        {
            GroupId = Id,
            MemberId = joined.MemberId,
            GenerationId = joined.GenerationId,
            GroupInstanceId = instanceId,
            ProtocolType = "consumer",
            ProtocolName = "range",
        };
        if (assignment is not null)
            request.Assignments.Add(new() { MemberId = joined.MemberId, Assignment = assignment });
        return client.SendAsync<SyncGroupResponse>(request, version);
    }

    /// <summary>Joins alone, and assigns something to itself.</summary>
    public async Task<JoinGroupResponse> StabilizeAsync(
        short version = -1, string memberId = "", string? instanceId = null)
    {
        var joined = await JoinAsync(version, memberId, instanceId);
        Assert.Equal(ErrorCode.None, joined.ErrorCode);
        var synced = await SyncAsync(joined, assignment: [1, 2, 3], instanceId: instanceId);
        Assert.Equal((ErrorCode.None, 3), (synced.ErrorCode, synced.Assignment.Length));
        return joined;
    }

    public async Task<ErrorCode> HeartbeatAsync(
        JoinGroupResponse joined, short version = -1, string? instanceId = null, int? generation = null) =>
        (await client.SendAsync<HeartbeatResponse>(
            new HeartbeatRequest
            {
                GroupId = Id,
                MemberId = joined.MemberId,
                GenerationId = generation ?? joined.GenerationId,
                GroupInstanceId = instanceId,
            }, version)).ErrorCode;

    public Task<LeaveGroupResponse> LeaveAsync(string memberId, short version = -1, string? instanceId = null) =>
        client.SendAsync<LeaveGroupResponse>(
            version is >= 0 and < 3
                ? new LeaveGroupRequest { GroupId = Id, MemberId = memberId }
                : new LeaveGroupRequest
                {
                    GroupId = Id,
                    Members = [new() { MemberId = memberId, GroupInstanceId = instanceId }],
                },
            version);

    public async Task<DescribeGroupsResponse.DescribedGroup> DescribeAsync(
        short version = -1, bool withOperations = false) =>
        Assert.Single((await client.SendAsync<DescribeGroupsResponse>(
            new DescribeGroupsRequest { Groups = [Id], IncludeAuthorizedOperations = withOperations },
            version)).Groups);

    public async Task<ErrorCode> DeleteAsync(short version = -1) =>
        Assert.Single((await client.SendAsync<DeleteGroupsResponse>(
            new DeleteGroupsRequest { GroupsNames = [Id] }, version)).Results).ErrorCode;
}
