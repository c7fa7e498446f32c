using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;

namespace KBroker.Coordination.Tests.Classic;

public sealed class SessionTests
{
    private readonly ClassicHarness _group = new();

    [Fact]
    public void A_silent_member_is_removed_when_its_session_ends()
    {
        var member = _group.Stabilize([null])[0];
        _group.Driver.Advance(9_999);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
        _group.Driver.Advance(1);
        Assert.Equal(ClassicGroupState.Empty, _group.Group.State);
        Assert.Equal(2, _group.Group.GenerationId);
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Heartbeat(member));
    }

    [Fact]
    public void Every_heartbeat_extends_the_session_by_its_whole_length()
    {
        var member = _group.Stabilize([null])[0];
        foreach (var pause in new[] { 9_999, 1, 9_999, 5_000, 9_999 })
        {
            _group.Driver.Advance(pause);
            Assert.Equal(ErrorCode.None, _group.Heartbeat(member));
        }

        _group.Driver.Advance(9_999);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
        _group.Driver.Advance(1);
        Assert.Equal(ClassicGroupState.Empty, _group.Group.State);
    }

    [Fact]
    public void A_commit_is_a_sign_of_life()
    {
        var member = _group.Stabilize([null])[0];
        _group.Driver.Advance(9_000);
        Assert.Equal(ErrorCode.None, _group.CheckCommit(member.MemberId, member.GenerationId));
        _group.Driver.Advance(9_999);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
        _group.Driver.Advance(1);
        Assert.Equal(ClassicGroupState.Empty, _group.Group.State);
    }

    [Fact]
    public void A_refused_heartbeat_is_no_sign_of_life()
    {
        var member = _group.Stabilize("a")[0];
        _group.Driver.Advance(9_000);
        Assert.Equal(ErrorCode.IllegalGeneration, _group.Heartbeat(member.MemberId, 7, "a"));
        Assert.Equal(ErrorCode.FencedInstanceId, _group.Heartbeat("old", 1, "a"));
        _group.Driver.Advance(1_000);
        Assert.Equal(ClassicGroupState.Empty, _group.Group.State);
    }

    [Fact]
    public void A_member_that_waits_in_JoinGroup_or_SyncGroup_needs_no_heartbeat()
    {
        var members = _group.Stabilize(null, null);
        var again = _group.Join(members[0].MemberId, protocols: ("range", [2]));
        for (var i = 0; i < 5; i++)
        {
            _group.Driver.Advance(9_000);
            Assert.Equal(ErrorCode.RebalanceInProgress, _group.Heartbeat(members[1]));
        }

        Assert.False(again.IsCompleted);
        var other = _group.Join(members[1].MemberId);
        var followed = again.Answer().MemberId == again.Answer().Leader ? other : again;
        var leading = followed == other ? again : other;
        var sync = _group.Sync(followed.Answer());
        for (var i = 0; i < 5; i++)
        {
            _group.Driver.Advance(9_000);
            Assert.Equal(ErrorCode.None, _group.Heartbeat(leading.Answer()));
        }

        Assert.False(sync.IsCompleted);
        _group.Sync(leading.Answer(), assignments: [(followed.Answer().MemberId, [3])]);
        Assert.Equal([3], sync.Answer().Assignment.ToArray());
        _group.Heartbeat(leading.Answer());

        // The session goes on from the answer, not from the last heartbeat.
        _group.Driver.Advance(9_999);
        Assert.Equal(ErrorCode.None, _group.Heartbeat(followed.Answer()));
    }

    [Fact]
    public void A_new_member_waits_five_minutes_at_most()
    {
        var first = _group.Join(sessionMs: 1_000_000, rebalanceMs: 1_000_000);
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        _group.Assign(first.Answer());
        var newcomer = _group.Join();
        _group.Driver.Advance(ClassicSessions.NewMemberJoinTimeoutMs - 1);
        Assert.False(newcomer.IsCompleted);
        _group.Driver.Advance(1);
        Assert.Equal((ErrorCode.UnknownMemberId, ""), (newcomer.Answer().ErrorCode, newcomer.Answer().MemberId));
        Assert.Single(_group.Group.Members);
    }

    [Fact]
    public void A_shorter_session_asked_for_when_rejoining_holds()
    {
        var member = _group.Stabilize([null])[0];
        var again = _group.Join(member.MemberId, sessionMs: 6_000);
        _group.Assign(again.Answer());
        _group.Driver.Advance(5_999);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
        _group.Driver.Advance(1);
        Assert.Equal(ClassicGroupState.Empty, _group.Group.State);
    }

    [Fact]
    public void A_heartbeat_sets_no_timer()
    {
        var member = _group.Stabilize([null])[0];
        var timer = Assert.Single(_group.Driver.Timers);
        Assert.Equal($"classic-session/g/{member.MemberId}", timer);
        _group.Driver.Advance(1_000);
        Assert.Equal(ErrorCode.None, _group.Heartbeat(member));
        var found = _group.Group.FindMember(member.MemberId)!;
        Assert.Equal(1_000, found.SessionDeadlineMs - found.SessionTimerMs);
    }

    [Fact]
    public void A_group_without_members_has_no_timers()
    {
        var members = _group.Stabilize(null, "a");
        _group.Leave((members[0].MemberId, null));
        _group.Leave(("", "a"));
        Assert.Equal(ClassicGroupState.Empty, _group.Group.State);
        Assert.Empty(_group.Driver.Timers);
    }
}
