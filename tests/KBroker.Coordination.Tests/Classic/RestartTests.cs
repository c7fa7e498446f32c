using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;

namespace KBroker.Coordination.Tests.Classic;

public sealed class RestartTests
{
    private readonly ClassicHarness _group = new();

    [Fact]
    public void A_stable_group_goes_on_after_a_restart_with_fresh_sessions()
    {
        var members = _group.Stabilize("a", null);
        _group.Driver.Advance(9_000);
        _group.Driver.Reload();
        Assert.Equal((ClassicGroupState.Stable, 1), (_group.Group.State, _group.Group.GenerationId));
        _group.Driver.Advance(9_000);
        Assert.Equal(ErrorCode.None, _group.Heartbeat(members[0], "a"));
        Assert.Equal(ErrorCode.None, _group.Heartbeat(members[1]));
        Assert.Equal([0], _group.Sync(members[0], "a").Answer().Assignment.ToArray());
        Assert.Equal([1], _group.Sync(members[1]).Answer().Assignment.ToArray());
        var follower = members.Single(static m => m.MemberId != m.Leader);
        Assert.Equal(1, _group.Join(
            follower.MemberId, follower == members[0] ? "a" : null).Answer().GenerationId);
    }

    [Fact]
    public void A_member_that_is_silent_after_a_restart_is_removed_a_session_later()
    {
        var members = _group.Stabilize(null, null);
        _group.Driver.Reload();
        _group.Driver.Advance(9_999);
        Assert.Equal(ErrorCode.None, _group.Heartbeat(members[0]));
        _group.Driver.Advance(1);
        Assert.Equal(ErrorCode.RebalanceInProgress, _group.Heartbeat(members[0]));
        Assert.Equal(2, _group.Join(members[0].MemberId).Answer().GenerationId);
    }

    [Fact]
    public async Task Who_waits_in_JoinGroup_at_a_restart_is_sent_on_and_finds_the_old_generation()
    {
        var member = _group.Stabilize([null])[0];
        var newcomer = _group.Join();
        _group.Driver.Reload();
        var refused = await Assert.ThrowsAsync<CoordinatorException>(() => newcomer);
        Assert.Equal(ErrorCode.NotCoordinator, refused.Error);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
        Assert.Equal(ErrorCode.None, _group.Heartbeat(member));
        newcomer = _group.Join();
        _ = _group.Join(member.MemberId);
        Assert.Equal(2, newcomer.Answer().GenerationId);
    }

    [Fact]
    public async Task Who_waits_in_SyncGroup_at_a_restart_is_sent_on_and_must_rejoin()
    {
        var members = _group.Stabilize(null, null);
        var again = members.Select(m => _group.Join(m.MemberId, protocols: ("range", [2]))).ToList();
        var follower = again.Single(static j => j.Answer().MemberId != j.Answer().Leader).Answer();
        var sync = _group.Sync(follower);
        _group.Driver.Reload();
        var refused = await Assert.ThrowsAsync<CoordinatorException>(() => sync);
        Assert.Equal(ErrorCode.NotCoordinator, refused.Error);
        Assert.Equal((ClassicGroupState.Stable, 1), (_group.Group.State, _group.Group.GenerationId));
        Assert.Equal(ErrorCode.IllegalGeneration, _group.Sync(follower).Answer().ErrorCode);
        Assert.Equal(ErrorCode.IllegalGeneration, _group.Heartbeat(follower));
        again = [.. members.Select(m => _group.Join(m.MemberId, protocols: ("range", [2])))];
        _group.Assign([.. again.Select(static j => j.Answer())]);
        Assert.Equal(2, _group.Group.GenerationId);
    }

    [Fact]
    public void The_first_rebalance_of_a_group_is_forgotten_and_the_group_is_not()
    {
        var given = _group.Join(version: 9).Answer();
        _ = _group.Join(given.MemberId, version: 9);
        _group.Driver.Reload();
        Assert.Equal((ClassicGroupState.Empty, 0), (_group.Group.State, _group.Group.GenerationId));
        Assert.Equal(ErrorCode.UnknownMemberId, _group.Join(given.MemberId, version: 9).Answer().ErrorCode);
        _group.Stabilize([null]);
    }

    [Fact]
    public void An_empty_group_keeps_its_generation_its_type_and_the_time_since_when_it_is_empty()
    {
        var member = _group.Stabilize([null])[0];
        _group.Driver.Advance(1_234);
        _group.Leave((member.MemberId, null));
        var emptyMs = _group.Driver.NowMs;
        _group.Driver.Advance(5_000);
        _group.Driver.Reload();
        Assert.Equal((ClassicGroupState.Empty, 2, "consumer", emptyMs),
            (_group.Group.State, _group.Group.GenerationId, _group.Group.ProtocolType,
                _group.Group.StateTimestampMs!.Value));
    }

    [Fact]
    public void A_deleted_group_stays_deleted()
    {
        var member = _group.Stabilize([null])[0];
        _group.Leave((member.MemberId, null));
        _group.Driver.Run((shard, turn) =>
        {
            shard.Groups.Find(ClassicHarness.GroupId)!.AppendTombstones(turn);
            return 0;
        });
        Assert.Empty(_group.Driver.Shard.Groups.All);
        _group.Driver.Reload();
        Assert.Empty(_group.Driver.Shard.Groups.All);
        Assert.Equal(1, _group.Stabilize([null])[0].GenerationId);
    }

    [Fact]
    public void A_group_above_a_lowered_limit_rebalances_after_the_restart()
    {
        var group = new ClassicHarness(("group.max.size", "2"));
        foreach (var (context, record) in Three().Driver.Log)
            group.Driver.Log.Add((context, record));
        group.Driver.Reload();
        Assert.Equal(ClassicGroupState.PreparingRebalance, group.Group.State);
        var joins = group.Group.Members.ToList().ConvertAll(m => group.Join(m.MemberId));
        Assert.Equal(
            [ErrorCode.None, ErrorCode.None, ErrorCode.GroupMaxSizeReached],
            joins.Select(static j => j.Answer().ErrorCode).Order());

        static ClassicHarness Three()
        {
            var three = new ClassicHarness();
            three.Stabilize(null, null, null);
            return three;
        }
    }
}
