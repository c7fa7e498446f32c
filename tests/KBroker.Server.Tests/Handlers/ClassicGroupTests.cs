using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

public sealed class ClassicGroupTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.JoinGroup, MemberType = typeof(Versions))]
    public async Task A_member_joins_in_every_version(short version)
    {
        var group = await NewGroupAsync();
        var joined = await group.JoinAsync(version);
        Assert.Equal(ErrorCode.None, joined.ErrorCode);
        Assert.StartsWith("test-", joined.MemberId);
        Assert.Equal(1, joined.GenerationId);
        Assert.Equal(joined.MemberId, joined.Leader);
        Assert.Equal(joined.MemberId, Assert.Single(joined.Members).MemberId);
        Assert.Equal("range", joined.ProtocolName);
        Assert.Equal(version < 7 ? null : "consumer", joined.ProtocolType);
        Assert.False(joined.SkipAssignment);
    }

    [Fact]
    public async Task A_refused_join_names_no_assignor_as_its_version_can()
    {
        var group = await NewGroupAsync();
        var old = await group.JoinAsync(6, "nobody");
        Assert.Equal((ErrorCode.UnknownMemberId, "", "nobody"), (old.ErrorCode, old.ProtocolName, old.MemberId));
        Assert.Equal((-1, ""), (old.GenerationId, old.Leader));
        var young = await group.JoinAsync(memberId: "nobody");
        Assert.Equal((ErrorCode.UnknownMemberId, "nobody"), (young.ErrorCode, young.MemberId));
    }

    [Fact]
    public async Task A_session_timeout_out_of_bounds_and_an_empty_group_id_are_refused()
    {
        var group = await NewGroupAsync();
        var request = group.JoinRequest("someone");
        request.SessionTimeoutMs = 5_999;
        var response = await fixture.Client.SendAsync<JoinGroupResponse>(request);
        Assert.Equal((ErrorCode.InvalidSessionTimeout, "someone"), (response.ErrorCode, response.MemberId));
        request.SessionTimeoutMs = 1_800_001;
        response = await fixture.Client.SendAsync<JoinGroupResponse>(request);
        Assert.Equal(ErrorCode.InvalidSessionTimeout, response.ErrorCode);
        request = new ClassicTestGroup(fixture.Client, "").JoinRequest();
        response = await fixture.Client.SendAsync<JoinGroupResponse>(request);
        Assert.Equal(ErrorCode.InvalidGroupId, response.ErrorCode);
        Assert.Equal(ErrorCode.InvalidGroupId, await new ClassicTestGroup(fixture.Client, "").HeartbeatAsync(response));
    }

    [Fact]
    public async Task SyncGroup_5_must_name_type_and_assignor()
    {
        var group = await NewGroupAsync();
        var joined = await group.JoinAsync();
        var request = new SyncGroupRequest
        {
            GroupId = group.Id,
            MemberId = joined.MemberId,
            GenerationId = joined.GenerationId,
        };
        Assert.Equal(ErrorCode.InconsistentGroupProtocol, await SyncAsync(5));
        Assert.Equal(ErrorCode.None, await SyncAsync(4));

        async Task<ErrorCode> SyncAsync(short version) =>
            (await fixture.Client.SendAsync<SyncGroupResponse>(request, version)).ErrorCode;
    }

    [Fact]
    public async Task Heartbeats_are_checked_against_member_and_generation()
    {
        var group = await NewGroupAsync();
        var nobody = new JoinGroupResponse { MemberId = "nobody", GenerationId = 1 };
        Assert.Equal(ErrorCode.UnknownMemberId, await group.HeartbeatAsync(nobody));
        var joined = await group.StabilizeAsync();
        for (short version = 0; version <= 4; version++)
            Assert.Equal(ErrorCode.None, await group.HeartbeatAsync(joined, version));
        Assert.Equal(ErrorCode.IllegalGeneration, await group.HeartbeatAsync(joined, generation: 2));
        Assert.Equal(ErrorCode.UnknownMemberId, await group.HeartbeatAsync(nobody));
        Assert.Equal(ErrorCode.UnknownMemberId, await group.HeartbeatAsync(joined, instanceId: "other"));
    }

    [Fact]
    public async Task A_second_member_makes_the_first_rejoin()
    {
        var group = await NewGroupAsync();
        var first = await group.StabilizeAsync();
        await using var other = await fixture.Broker.ConnectAsync();
        var second = group.JoinAsync(by: other);
        await Until.True(async () => await group.HeartbeatAsync(first) == ErrorCode.RebalanceInProgress);
        var again = await group.JoinAsync(memberId: first.MemberId);
        Assert.Equal(2, again.GenerationId);
        Assert.Equal(2, (await second).GenerationId);
        Assert.Equal(2, again.Members.Count);
        Assert.Empty((await second).Members);
        Assert.Equal(first.MemberId, (await second).Leader);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.LeaveGroup, MemberType = typeof(Versions))]
    public async Task A_member_leaves_in_every_version(short version)
    {
        var group = await NewGroupAsync();
        var unknown = await group.LeaveAsync("nobody", version);
        var joined = await group.StabilizeAsync();
        var left = await group.LeaveAsync(joined.MemberId, version);
        if (version < 3)
        {
            Assert.Equal((ErrorCode.UnknownMemberId, ErrorCode.None), (unknown.ErrorCode, left.ErrorCode));
        }
        else
        {
            Assert.Equal((ErrorCode.None, ErrorCode.None), (unknown.ErrorCode, left.ErrorCode));
            Assert.Equal(ErrorCode.UnknownMemberId, Assert.Single(unknown.Members).ErrorCode);
            Assert.Equal((joined.MemberId, ErrorCode.None), (left.Members[0].MemberId, left.Members[0].ErrorCode));
        }

        Assert.Equal("Empty", (await group.DescribeAsync()).GroupState);
    }

    [Fact]
    public async Task A_static_member_that_starts_anew_goes_on_without_a_rebalance()
    {
        var group = await NewGroupAsync();
        var before = await group.StabilizeAsync(instanceId: "one");
        Assert.StartsWith("one-", before.MemberId);
        var after = await group.JoinAsync(instanceId: "one");
        Assert.NotEqual(before.MemberId, after.MemberId);
        Assert.Equal((before.GenerationId, after.MemberId), (after.GenerationId, after.Leader));
        Assert.True(after.SkipAssignment);
        Assert.Single(after.Members);
        Assert.Equal(ErrorCode.FencedInstanceId, await group.HeartbeatAsync(before, instanceId: "one"));
        Assert.Equal([1, 2, 3], (await group.SyncAsync(after, instanceId: "one")).Assignment.ToArray());
        var old = await group.JoinAsync(8, instanceId: "one");
        Assert.Equal((after.MemberId, false), (old.Leader, old.SkipAssignment));
        Assert.Empty(old.Members);
    }

    [Fact]
    public async Task A_stable_group_is_described_with_its_members()
    {
        var group = await NewGroupAsync();
        var joined = await group.JoinAsync();
        var completing = await group.DescribeAsync();
        Assert.Equal(("CompletingRebalance", "", "consumer"),
            (completing.GroupState, completing.ProtocolData, completing.ProtocolType));
        Assert.Equal(0, Assert.Single(completing.Members).MemberMetadata.Length);
        await group.SyncAsync(joined, assignment: [9]);
        for (short version = 0; version <= 6; version++)
        {
            var stable = await group.DescribeAsync(version, withOperations: version >= 3);
            Assert.Equal((ErrorCode.None, "Stable", "range"),
                (stable.ErrorCode, stable.GroupState, stable.ProtocolData));
            Assert.Equal(
                version < 3 ? int.MinValue : 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11, stable.AuthorizedOperations);
            var member = Assert.Single(stable.Members);
            Assert.Equal((joined.MemberId, "test", "/127.0.0.1"),
                (member.MemberId, member.ClientId, member.ClientHost));
            Assert.Equal((10, 9), (member.MemberMetadata.Length, member.MemberAssignment.Span[0]));
        }
    }

    [Fact]
    public async Task An_unknown_group_is_dead_and_from_version_6_on_not_found()
    {
        var group = await NewGroupAsync();
        var old = await group.DescribeAsync(5, withOperations: true);
        Assert.Equal((ErrorCode.None, "Dead", ""), (old.ErrorCode, old.GroupState, old.ProtocolType));
        Assert.NotEqual(int.MinValue, old.AuthorizedOperations);
        var young = await group.DescribeAsync(6, withOperations: true);
        Assert.Equal((ErrorCode.GroupIdNotFound, "Dead", $"Group {group.Id} not found."),
            (young.ErrorCode, young.GroupState, young.ErrorMessage));
        Assert.Equal(int.MinValue, young.AuthorizedOperations);
    }

    [Fact]
    public async Task Groups_are_listed_by_state_and_type()
    {
        var stable = await NewGroupAsync();
        await stable.StabilizeAsync();
        var empty = await NewGroupAsync();
        await empty.LeaveAsync((await empty.StabilizeAsync()).MemberId);
        Assert.Equal([stable.Id, empty.Id], await ListAsync(new ListGroupsRequest()));
        Assert.Equal([stable.Id, empty.Id], await ListAsync(new ListGroupsRequest(), 3));
        Assert.Equal([stable.Id], await ListAsync(new ListGroupsRequest { StatesFilter = ["Stable"] }));
        Assert.Equal([empty.Id], await ListAsync(new ListGroupsRequest { StatesFilter = ["eMPTY", "Dead"] }, 4));
        Assert.Equal([], await ListAsync(new ListGroupsRequest { StatesFilter = ["Sleeping"] }));
        Assert.Equal([stable.Id, empty.Id], await ListAsync(new ListGroupsRequest { TypesFilter = ["Classic"] }));
        Assert.Equal([], await ListAsync(new ListGroupsRequest { TypesFilter = ["consumer"] }));
        Assert.Equal([], await ListAsync(new ListGroupsRequest { TypesFilter = ["other"] }));
        var listed = (await fixture.Client.SendAsync<ListGroupsResponse>(new ListGroupsRequest()))
            .Groups.Single(g => g.GroupId == stable.Id);
        Assert.Equal(("consumer", "Stable", "classic"), (listed.ProtocolType, listed.GroupState, listed.GroupType));

        async Task<List<string>> ListAsync(ListGroupsRequest request, short version = -1)
        {
            var response = await fixture.Client.SendAsync<ListGroupsResponse>(request, version);
            Assert.Equal(ErrorCode.None, response.ErrorCode);
            return [.. new[] { stable.Id, empty.Id }.Where(id => response.Groups.Any(g => g.GroupId == id))];
        }
    }

    [Fact]
    public async Task Only_a_group_without_members_is_deleted()
    {
        var group = await NewGroupAsync();
        Assert.Equal(ErrorCode.GroupIdNotFound, await group.DeleteAsync());
        var joined = await group.StabilizeAsync();
        Assert.Equal(ErrorCode.NonEmptyGroup, await group.DeleteAsync());
        await group.LeaveAsync(joined.MemberId);
        Assert.Equal(ErrorCode.None, await group.DeleteAsync());
        Assert.Equal(ErrorCode.GroupIdNotFound, await group.DeleteAsync());
        Assert.Equal("Dead", (await group.DescribeAsync(5)).GroupState);
        var again = await group.JoinAsync();
        Assert.Equal(1, again.GenerationId);
        var twice = await fixture.Client.SendAsync<DeleteGroupsResponse>(
            new DeleteGroupsRequest { GroupsNames = [group.Id, "no-such-group", group.Id] });
        Assert.Equal(2, twice.Results.Count);
    }

    private Task<ClassicTestGroup> NewGroupAsync() => ClassicTestGroup.CreateAsync(fixture.Client, fixture.NewName());
}
