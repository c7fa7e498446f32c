using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;

namespace KBroker.Coordination.Tests.Classic;

public sealed class StaticMemberTests
{
    private readonly ClassicHarness _group = new();

    [Theory]
    [InlineData(5)]
    [InlineData(8)]
    [InlineData(9)]
    public void A_static_member_that_starts_anew_keeps_its_assignment_without_a_rebalance(short version)
    {
        var members = _group.Stabilize("a", "b");
        for (var i = 0; i < 2; i++)
        {
            var instance = i == 0 ? "a" : "b";
            var wasLeader = _group.Group.LeaderId == members[i].MemberId;
            var leaderBefore = _group.Group.LeaderId;
            var again = _group.Join(instanceId: instance, version: version).Answer();
            Assert.Equal((ErrorCode.None, 1), (again.ErrorCode, again.GenerationId));
            Assert.StartsWith($"{instance}-uuid-", again.MemberId);
            Assert.NotEqual(members[i].MemberId, again.MemberId);
            Assert.Equal(version >= 9 && wasLeader ? 2 : 0, again.Members.Count);
            Assert.Equal(version >= 9 && wasLeader, again.SkipAssignment);
            Assert.Equal(version >= 9 ? _group.Group.LeaderId : leaderBefore, again.Leader);
            Assert.Equal(ErrorCode.FencedInstanceId, _group.Heartbeat(members[i], instance));
            Assert.Equal(ErrorCode.UnknownMemberId, _group.Heartbeat(members[i]));
            Assert.Equal([(byte)i], _group.Sync(again, instance).Answer().Assignment.ToArray());
            Assert.Equal(ErrorCode.None, _group.Heartbeat(members[1 - i] is var o && i == 0 ? o : again,
                i == 0 ? "b" : instance));
        }

        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
    }

    [Fact]
    public void The_new_id_of_a_static_member_survives_a_restart()
    {
        _group.Stabilize("a");
        var again = _group.Join(instanceId: "a", version: 9).Answer();
        _group.Driver.Reload();
        Assert.Equal(ErrorCode.None, _group.Heartbeat(again, "a"));
        Assert.Equal(again.MemberId, _group.Group.LeaderId);
    }

    [Fact]
    public void A_static_member_that_supports_less_rebalances_when_the_assignor_changes()
    {
        var joins = new[]
        {
            _group.Join(instanceId: "a", protocols: [("x", [1]), ("y", [1])]),
            _group.Join(instanceId: "b", protocols: [("x", [1]), ("y", [1])]),
        };
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        _group.Assign([.. joins.Select(static j => j.Answer())]);
        var again = _group.Join(instanceId: "a", protocols: ("y", [1]));
        Assert.False(again.IsCompleted);
        Assert.Equal(ClassicGroupState.PreparingRebalance, _group.Group.State);
        var other = _group.Join(joins[1].Answer().MemberId, "b", protocols: [("x", [1]), ("y", [1])]);
        Assert.Equal(("y", "y"), (again.Answer().ProtocolName, other.Answer().ProtocolName));
    }

    [Fact]
    public void A_static_member_that_starts_anew_before_the_assignment_makes_all_rejoin()
    {
        var first = _group.Join(instanceId: "a");
        var second = _group.Join(instanceId: "b");
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        var sync = _group.Sync(second.Answer(), "b");
        var again = _group.Join(instanceId: "b");
        Assert.Equal(ErrorCode.FencedInstanceId, sync.Answer().ErrorCode);
        Assert.False(again.IsCompleted);
        Assert.Equal(ErrorCode.RebalanceInProgress, _group.Sync(first.Answer(), "a").Answer().ErrorCode);
        _ = _group.Join(first.Answer().MemberId, "a");
        Assert.Equal((ErrorCode.None, 2), (again.Answer().ErrorCode, again.Answer().GenerationId));
    }

    [Fact]
    public void The_join_of_the_one_before_is_fenced_while_all_join()
    {
        var members = _group.Stabilize("a", "b");
        var before = _group.Join(members[0].MemberId, "a", protocols: ("range", [2]));
        var after = _group.Join(instanceId: "a", protocols: ("range", [2]));
        Assert.Equal((ErrorCode.FencedInstanceId, members[0].MemberId),
            (before.Answer().ErrorCode, before.Answer().MemberId));
        Assert.False(after.IsCompleted);
        _ = _group.Join(members[1].MemberId, "b");
        Assert.Equal(ErrorCode.None, after.Answer().ErrorCode);
    }

    [Fact]
    public void A_static_member_needs_no_member_id_first_and_one_of_another_name_is_refused()
    {
        var join = _group.Join(instanceId: "a", version: 9);
        Assert.False(join.IsCompleted);
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Join(join.Answer().MemberId, "b").Answer().ErrorCode);
        Assert.Equal(ErrorCode.FencedInstanceId, _group.Join("other", "a").Answer().ErrorCode);
    }

    [Fact]
    public void A_static_member_stays_through_a_rebalance_until_its_session_ends()
    {
        var member = _group.Stabilize("a")[0];
        var newcomer = _group.Join(rebalanceMs: 4_000);
        _group.Heartbeat(member, "a");
        _group.Driver.Advance(9_999);
        Assert.NotNull(_group.Group.FindStaticMember("a"));
        _group.Driver.Advance(1);
        Assert.Null(_group.Group.FindStaticMember("a"));
        Assert.Equal(newcomer.Answer().MemberId, newcomer.Answer().Leader);
    }

    [Fact]
    public void A_rebalance_that_no_static_member_joins_goes_on_until_their_sessions_end()
    {
        var first = _group.Join(instanceId: "a", sessionMs: 30_000, rebalanceMs: 5_000);
        var second = _group.Join(instanceId: "b", sessionMs: 30_000, rebalanceMs: 5_000);
        _group.Driver.Advance(5_000);
        _group.Assign(first.Answer(), second.Answer());
        _group.Leave(("", "b"));
        _group.Driver.Advance(29_999);
        Assert.Equal(ClassicGroupState.PreparingRebalance, _group.Group.State);
        _group.Driver.Advance(1);
        Assert.Equal(ClassicGroupState.Empty, _group.Group.State);
    }
}
