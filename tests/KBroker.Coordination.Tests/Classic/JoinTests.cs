using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;

namespace KBroker.Coordination.Tests.Classic;

public sealed class JoinTests
{
    private readonly ClassicHarness _group = new();

    [Fact]
    public void From_version_4_on_a_dynamic_member_first_gets_its_id()
    {
        var refused = _group.Join(version: 4).Answer();
        Assert.Equal((ErrorCode.MemberIdRequired, "client-uuid-1"), (refused.ErrorCode, refused.MemberId));
        Assert.Equal(ClassicGroupState.Empty, _group.Group.State);
        var join = _group.Join(refused.MemberId, version: 4);
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        Assert.Equal((ErrorCode.None, refused.MemberId), (join.Answer().ErrorCode, join.Answer().MemberId));
    }

    [Fact]
    public void A_member_id_is_good_for_a_session_timeout()
    {
        var first = _group.Join(version: 9).Answer();
        _group.Driver.Advance(9_999);
        Assert.True(_group.Group.IsPending(first.MemberId));
        _group.Driver.Advance(1);
        Assert.False(_group.Group.IsPending(first.MemberId));
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Join(first.MemberId, version: 9).Answer().ErrorCode);
    }

    [Fact]
    public void A_rebalance_waits_for_a_member_id_that_is_out_until_that_expires_or_leaves()
    {
        var first = _group.Stabilize([null])[0];
        var given = _group.Join(version: 9).Answer();
        var again = _group.Join(first.MemberId, protocols: ("range", [2]));
        Assert.False(again.IsCompleted);
        _group.Driver.Advance(9_999);
        Assert.False(again.IsCompleted);
        _group.Driver.Advance(1);
        Assert.Equal((ErrorCode.None, 2), (again.Answer().ErrorCode, again.Answer().GenerationId));

        given = _group.Join(version: 9).Answer();
        _group.Assign(again.Answer());
        again = _group.Join(first.MemberId, protocols: ("range", [3]));
        Assert.False(again.IsCompleted);
        Assert.Equal([ErrorCode.None], _group.Leave((given.MemberId, null)));
        Assert.Equal(3, again.Answer().GenerationId);
    }

    [Fact]
    public void An_unknown_member_of_an_unknown_group_makes_no_group()
    {
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Join("nobody").Answer().ErrorCode);
        Assert.Equal(ErrorCode.InconsistentGroupProtocol, _group.Join(type: "").Answer().ErrorCode);
        Assert.Empty(_group.Driver.Shard.Groups.All);
        _group.Stabilize([null]);
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Join("nobody").Answer().ErrorCode);
    }

    [Fact]
    public void Who_shares_no_assignor_or_type_with_all_members_is_refused()
    {
        _group.Stabilize([null]);
        Assert.Equal(ErrorCode.InconsistentGroupProtocol, _group.Join(type: "connect").Answer().ErrorCode);
        var refused = _group.Join(protocols: ("sticky", [1])).Answer();
        Assert.Equal(ErrorCode.InconsistentGroupProtocol, refused.ErrorCode);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
        Assert.False(_group.Join(protocols: [("sticky", [1]), ("range", [1])]).IsCompleted);
    }

    [Fact]
    public void An_emptied_group_takes_any_type()
    {
        var member = _group.Stabilize([null])[0];
        _group.Leave((member.MemberId, null));
        Assert.Equal(("consumer", ClassicGroupState.Empty), (_group.Group.ProtocolType, _group.Group.State));
        var join = _group.Join(type: "connect", protocols: ("default", [1]));
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        Assert.Equal(("connect", 3), (join.Answer().ProtocolType, join.Answer().GenerationId));
    }

    [Fact]
    public void A_full_group_refuses_newcomers_and_takes_its_members_back()
    {
        var group = new ClassicHarness(("group.max.size", "2"));
        var members = group.Stabilize(null, null);
        var refused = group.Join().Answer();
        Assert.Equal((ErrorCode.GroupMaxSizeReached, ""), (refused.ErrorCode, refused.MemberId));
        Assert.Equal(ErrorCode.GroupMaxSizeReached, group.Join(version: 9).Answer().ErrorCode);
        var again = members.Select(m => group.Join(m.MemberId, protocols: ("range", [2]))).ToList();
        Assert.All(again, static join => Assert.Equal(ErrorCode.None, join.Answer().ErrorCode));
    }

    [Fact]
    public void While_members_join_those_count_that_have_joined()
    {
        var group = new ClassicHarness(("group.max.size", "2"));
        var members = group.Stabilize(null, null);
        var first = group.Join(members[0].MemberId, protocols: ("range", [2]));
        var newcomer = group.Join();
        Assert.False(newcomer.IsCompleted);
        Assert.Equal(ErrorCode.GroupMaxSizeReached, group.Join(members[1].MemberId).Answer().ErrorCode);
        Assert.Null(group.Group.FindMember(members[1].MemberId));
        Assert.Equal((ErrorCode.None, 2), (first.Answer().ErrorCode, first.Answer().Members.Count));
        Assert.Equal(ErrorCode.None, newcomer.Answer().ErrorCode);
    }

    [Fact]
    public void Version_0_has_the_session_timeout_as_rebalance_timeout()
    {
        var join = _group.Join(version: 0, sessionMs: 20_000, rebalanceMs: -1);
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        Assert.Equal(20_000, _group.Group.FindMember(join.Answer().MemberId)!.RebalanceTimeoutMs);
    }

    [Fact]
    public void Of_two_joins_of_one_member_the_older_is_sent_back()
    {
        var members = _group.Stabilize(null, null);
        var first = _group.Join(members[0].MemberId, protocols: ("range", [2]));
        var second = _group.Join(members[0].MemberId, protocols: ("range", [2]));
        Assert.True(first.IsFaulted);
        Assert.False(second.IsCompleted);
        Assert.Equal(1, _group.Group.AwaitingJoinCount);
        _ = _group.Join(members[1].MemberId);
        Assert.Equal(ErrorCode.None, second.Answer().ErrorCode);
    }

    [Fact]
    public void An_assignor_named_twice_counts_once()
    {
        var join = _group.Join(protocols: [("range", [1]), ("range", [2])]);
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        Assert.Equal([1], join.Answer().Members[0].Metadata.ToArray());
        _ = _group.Join();
        _group.Join(join.Answer().MemberId);
        Assert.Equal(ClassicGroupState.CompletingRebalance, _group.Group.State);
    }
}
