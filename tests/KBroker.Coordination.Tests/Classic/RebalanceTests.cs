using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Classic;

public sealed class RebalanceTests
{
    private readonly ClassicHarness _group = new();

    [Fact]
    public void A_first_member_waits_the_initial_delay_and_leads()
    {
        var join = _group.Join();
        _group.Driver.Advance(ClassicHarness.InitialDelayMs - 1);
        Assert.False(join.IsCompleted);
        _group.Driver.Advance(1);
        Assert.Equal(ErrorCode.None, join.Answer().ErrorCode);
        Assert.Equal(1, join.Answer().GenerationId);
        Assert.Equal("client-uuid-1", join.Answer().MemberId);
        Assert.Equal(join.Answer().MemberId, join.Answer().Leader);
        Assert.Equal("range", join.Answer().ProtocolName);
        Assert.Equal("consumer", join.Answer().ProtocolType);
        Assert.Equal([1], Assert.Single(join.Answer().Members).Metadata.ToArray());
        Assert.Equal(ClassicGroupState.CompletingRebalance, _group.Group.State);
    }

    [Fact]
    public void Members_that_join_extend_the_initial_delay_up_to_the_rebalance_timeout()
    {
        var joins = new List<Task>();
        for (var i = 0; i < 12; i++)
        {
            joins.Add(_group.Join(rebalanceMs: 10_000));
            if (joins[0].IsCompleted)
                break;
            _group.Driver.Advance(1_000);
        }

        // 3 s, then 3, 3 and 1 more: a rebalance timeout of 10 s bounds them all.
        Assert.Equal(10, joins.Count(static j => j.IsCompleted));
    }

    [Fact]
    public void The_answers_to_SyncGroup_wait_for_the_leader()
    {
        var first = _group.Join();
        var second = _group.Join();
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        Assert.Empty(second.Answer().Members);
        Assert.Equal(2, first.Answer().Members.Count);
        var follower = _group.Sync(second.Answer());
        Assert.False(follower.IsCompleted);
        var leader = _group.Sync(first.Answer(), assignments: [(second.Answer().MemberId, [7])]);
        Assert.Equal([7], follower.Answer().Assignment.ToArray());
        Assert.Empty(leader.Answer().Assignment.ToArray());
        Assert.Equal("range", leader.Answer().ProtocolName);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
    }

    [Fact]
    public void Everybody_rejoins_when_a_member_comes()
    {
        var first = _group.Stabilize([null])[0];
        var second = _group.Join();
        Assert.Equal(ClassicGroupState.PreparingRebalance, _group.Group.State);
        Assert.Equal(ErrorCode.RebalanceInProgress, _group.Heartbeat(first));
        Assert.False(second.IsCompleted);
        var again = _group.Join(first.MemberId);
        Assert.Equal((2, 2), (again.Answer().GenerationId, second.Answer().GenerationId));
        Assert.Equal(first.MemberId, second.Answer().Leader);
        _group.Assign(again.Answer(), second.Answer());
        Assert.Equal(ErrorCode.IllegalGeneration, _group.Heartbeat(first));
        Assert.Equal(ErrorCode.None, _group.Heartbeat(again.Answer()));
    }

    [Fact]
    public void Who_does_not_rejoin_within_the_rebalance_timeout_is_out_although_it_heartbeats()
    {
        var first = _group.Stabilize([null])[0];
        var second = _group.Join();
        for (var second2 = 0; second2 < 59; second2++)
        {
            _group.Driver.Advance(1_000);
            Assert.Equal(ErrorCode.RebalanceInProgress, _group.Heartbeat(first));
        }

        Assert.False(second.IsCompleted);
        _group.Driver.Advance(1_000);
        Assert.Equal((2, second.Answer().MemberId), (second.Answer().GenerationId, second.Answer().Leader));
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Heartbeat(first));
    }

    [Fact]
    public void The_rebalance_waits_as_long_as_the_most_patient_member_asks()
    {
        var patient = _group.Join(rebalanceMs: 90_000, sessionMs: 200_000);
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        _group.Assign(patient.Answer());
        var second = _group.Join(rebalanceMs: 5_000);
        _group.Driver.Advance(89_999);
        Assert.False(second.IsCompleted);
        _group.Driver.Advance(1);
        Assert.Equal(second.Answer().MemberId, second.Answer().Leader);
    }

    [Fact]
    public void A_silent_member_ends_the_join_phase_of_the_others_with_its_session()
    {
        var members = _group.Stabilize(null, null);
        var again = _group.Join(members[0].MemberId);
        _group.Driver.Advance(9_999);
        Assert.False(again.IsCompleted);
        _group.Driver.Advance(1);
        Assert.Equal((2, 1), (again.Answer().GenerationId, again.Answer().Members.Count));
    }

    [Fact]
    public void A_rejoining_leader_starts_a_rebalance_and_a_rejoining_follower_does_not()
    {
        var members = _group.Stabilize(null, null);
        var leader = members.Single(static m => m.MemberId == m.Leader);
        var follower = members.Single(static m => m.MemberId != m.Leader);
        var told = _group.Join(follower.MemberId);
        Assert.Equal((1, leader.MemberId), (told.Answer().GenerationId, told.Answer().Leader));
        Assert.Empty(told.Answer().Members);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
        var again = _group.Join(leader.MemberId);
        Assert.False(again.IsCompleted);
        Assert.Equal(ErrorCode.RebalanceInProgress, _group.Heartbeat(follower));
    }

    [Fact]
    public void A_follower_that_says_something_else_starts_a_rebalance()
    {
        var members = _group.Stabilize(null, null);
        var follower = members.Single(static m => m.MemberId != m.Leader);
        var again = _group.Join(follower.MemberId, protocols: ("range", [2]));
        Assert.False(again.IsCompleted);
        Assert.Equal(ClassicGroupState.PreparingRebalance, _group.Group.State);
    }

    [Fact]
    public void A_join_repeated_before_the_assignment_is_answered_with_the_same_generation()
    {
        var first = _group.Join();
        var second = _group.Join();
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        var leader = _group.Join(first.Answer().MemberId);
        var follower = _group.Join(second.Answer().MemberId);
        Assert.Equal((1, 2), (leader.Answer().GenerationId, leader.Answer().Members.Count));
        Assert.Equal((1, 0), (follower.Answer().GenerationId, follower.Answer().Members.Count));
        var changed = _group.Join(second.Answer().MemberId, protocols: ("range", [2]));
        Assert.False(changed.IsCompleted);
        Assert.Equal(ClassicGroupState.PreparingRebalance, _group.Group.State);
    }

    [Fact]
    public void A_rebalance_that_begins_before_the_assignment_sends_those_back_who_wait_for_it()
    {
        var first = _group.Join();
        var second = _group.Join();
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        var sync = _group.Sync(second.Answer());
        _ = _group.Join();
        Assert.Equal(ErrorCode.RebalanceInProgress, sync.Answer().ErrorCode);
        Assert.Equal(ErrorCode.RebalanceInProgress, _group.Sync(first.Answer()).Answer().ErrorCode);
    }

    [Fact]
    public void Who_does_not_ask_for_its_assignment_within_the_rebalance_timeout_is_out()
    {
        var first = _group.Join(sessionMs: 100_000);
        var second = _group.Join(sessionMs: 100_000);
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        var sync = _group.Sync(first.Answer(), assignments: (first.Answer().MemberId, [1]));
        Assert.Equal(ErrorCode.None, sync.Answer().ErrorCode);
        _group.Driver.Advance(59_999);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
        _group.Driver.Advance(1);
        Assert.Equal(ClassicGroupState.PreparingRebalance, _group.Group.State);
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Heartbeat(second.Answer()));
        Assert.Single(_group.Join(first.Answer().MemberId).Answer().Members);
    }

    [Fact]
    public void A_leader_that_does_not_assign_is_out_and_those_who_wait_rejoin_under_another()
    {
        var first = _group.Join();
        var second = _group.Join();
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        var sync = _group.Sync(second.Answer());
        _group.Driver.Advance(9_999);
        Assert.False(sync.IsCompleted);
        _group.Driver.Advance(1);
        Assert.Equal(ErrorCode.RebalanceInProgress, sync.Answer().ErrorCode);
        var again = _group.Join(second.Answer().MemberId);
        Assert.Equal((second.Answer().MemberId, 2), (again.Answer().Leader, again.Answer().GenerationId));
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Heartbeat(first.Answer()));
    }

    [Fact]
    public void A_leader_that_is_late_is_succeeded_by_a_member_that_has_joined()
    {
        var members = _group.Stabilize("a", "b");
        var leader = members.Single(static m => m.MemberId == m.Leader);
        var other = members.Single(static m => m.MemberId != m.Leader);
        var instance = other == members[0] ? "a" : "b";
        var leaderInstance = other == members[0] ? "b" : "a";
        var again = _group.Join(other.MemberId, instance, protocols: ("range", [2]));
        for (var i = 0; i < 60; i++)
        {
            _group.Heartbeat(leader, leaderInstance);
            _group.Driver.Advance(1_000);
        }

        // Static members are not evicted by the rebalance timeout, but the lead goes on.
        Assert.Equal((other.MemberId, 2), (again.Answer().Leader, again.Answer().Members.Count));
        Assert.Equal(ErrorCode.IllegalGeneration, _group.Heartbeat(leader, leaderInstance));
    }

    [Fact]
    public void A_member_without_an_assignment_gets_an_empty_one()
    {
        var first = _group.Join();
        var second = _group.Join();
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        var follower = _group.Sync(second.Answer());
        _group.Sync(first.Answer(), assignments: [(first.Answer().MemberId, [5]), ("nobody", [6])]);
        Assert.Equal((ErrorCode.None, 0), (follower.Answer().ErrorCode, follower.Answer().Assignment.Length));
        Assert.Equal([5], _group.Sync(first.Answer()).Answer().Assignment.ToArray());
    }

    [Fact]
    public void SyncGroup_is_checked_against_member_generation_type_and_assignor()
    {
        var joined = _group.Stabilize([null])[0];
        Assert.Equal(ErrorCode.UnknownMemberId, Error(new() { MemberId = "nobody", GenerationId = 1 }));
        Assert.Equal(ErrorCode.IllegalGeneration, Error(new() { MemberId = joined.MemberId, GenerationId = 0 }));
        Assert.Equal(ErrorCode.InconsistentGroupProtocol, Error(joined, type: "connect"));
        Assert.Equal(ErrorCode.InconsistentGroupProtocol, Error(joined, name: "sticky"));
        Assert.Equal(ErrorCode.UnknownMemberId, Error(joined, instance: "x"));
        Assert.Equal(ErrorCode.None, Error(joined, type: "consumer", name: "range"));

        ErrorCode Error(
            JoinGroupResponse who, string? instance = null, string? type = null, string? name = null) =>
            _group.Sync(who, instance, type, name).Answer().ErrorCode;
    }

    [Fact]
    public void The_assignor_that_most_vote_for_wins_among_those_that_all_support()
    {
        (string, byte[]) Of(string name) => (name, [(byte)name[0]]);
        var joins = new[]
        {
            _group.Join(protocols: [Of("a"), Of("b"), Of("c")]),
            _group.Join(protocols: [Of("b"), Of("c")]),
            _group.Join(protocols: [Of("d"), Of("c"), Of("b")]),
        };
        _group.Driver.Advance(3 * ClassicHarness.InitialDelayMs);
        Assert.All(joins, static join => Assert.Equal("b", join.Answer().ProtocolName));
        Assert.All(joins[0].Answer().Members, static m => Assert.Equal([(byte)'b'], m.Metadata.ToArray()));
    }
}
