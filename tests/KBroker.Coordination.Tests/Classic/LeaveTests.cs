using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;

namespace KBroker.Coordination.Tests.Classic;

public sealed class LeaveTests
{
    private readonly ClassicHarness _group = new();

    [Fact]
    public void The_last_member_leaves_an_empty_group_of_a_new_generation()
    {
        var member = _group.Stabilize([null])[0];
        Assert.Equal([ErrorCode.None], _group.Leave((member.MemberId, null)));
        Assert.Equal((ClassicGroupState.Empty, 2), (_group.Group.State, _group.Group.GenerationId));
        Assert.Null(_group.Group.ProtocolName);
        Assert.Null(_group.Group.LeaderId);
    }

    [Fact]
    public void Several_members_leave_at_once_and_the_rest_rebalances_once()
    {
        var members = _group.Stabilize(null, "a", "b", null);
        var errors = _group.Leave(
            (members[0].MemberId, null), ("", "a"), ("x", "b"), ("", "c"), ("nobody", null), ("", null));
        Assert.Equal(
            [
                ErrorCode.None, ErrorCode.None, ErrorCode.FencedInstanceId, ErrorCode.UnknownMemberId,
                ErrorCode.UnknownMemberId, ErrorCode.UnknownMemberId,
            ],
            errors);
        Assert.Equal(ClassicGroupState.PreparingRebalance, _group.Group.State);
        Assert.Equal(2, _group.Group.Members.Count);
        var third = _group.Join(members[2].MemberId, "b");
        var last = _group.Join(members[3].MemberId);
        Assert.Equal((2, 2), (third.Answer().GenerationId, last.Answer().GenerationId));
    }

    [Fact]
    public void A_leader_that_leaves_is_succeeded()
    {
        var members = _group.Stabilize(null, null);
        var leader = members.Single(static m => m.MemberId == m.Leader);
        var other = members.Single(static m => m.MemberId != m.Leader);
        _group.Leave((leader.MemberId, null));
        Assert.Equal(other.MemberId, _group.Group.LeaderId);
        Assert.Equal(other.MemberId, _group.Join(other.MemberId).Answer().Leader);
    }

    [Fact]
    public void A_member_that_leaves_while_others_join_is_waited_for_no_more()
    {
        var members = _group.Stabilize(null, null);
        var again = _group.Join(members[0].MemberId, protocols: ("range", [2]));
        Assert.False(again.IsCompleted);
        _group.Leave((members[1].MemberId, null));
        Assert.Equal(ErrorCode.None, again.Answer().ErrorCode);
    }

    [Fact]
    public void Who_waits_and_is_removed_is_told_that_it_is_unknown()
    {
        var members = _group.Stabilize("a", "b");
        var join = _group.Join(members[0].MemberId, "a", protocols: ("range", [2]));
        _group.Leave(("", "a"));
        Assert.Equal(ErrorCode.UnknownMemberId, join.Answer().ErrorCode);
        var again = _group.Join(members[1].MemberId, "b");
        Assert.True(again.IsCompleted);
        var newcomer = _group.Join(instanceId: "c");
        again = _group.Join(members[1].MemberId, "b");
        var sync = _group.Sync(newcomer.Answer(), "c");
        _group.Leave(("", "c"));
        Assert.Equal(ErrorCode.UnknownMemberId, sync.Answer().ErrorCode);
    }

    [Fact]
    public void A_group_that_does_not_exist_has_no_members()
    {
        var refused = Assert.Throws<CoordinatorException>(() => _group.Leave(("nobody", null)));
        Assert.Equal(ErrorCode.UnknownMemberId, refused.Error);
    }
}
