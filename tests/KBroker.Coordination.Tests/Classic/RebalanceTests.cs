using KBroker.Coordination.Groups.Classic;
using KBroker.Protocol;

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
        Assert.Equal(ErrorCode.None, join.Result.ErrorCode);
        Assert.Equal(1, join.Result.GenerationId);
        Assert.Equal("client-uuid-1", join.Result.MemberId);
        Assert.Equal(join.Result.MemberId, join.Result.Leader);
        Assert.Equal("range", join.Result.ProtocolName);
        Assert.Equal("consumer", join.Result.ProtocolType);
        Assert.Equal([1], Assert.Single(join.Result.Members).Metadata.ToArray());
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
        Assert.Empty(second.Result.Members);
        Assert.Equal(2, first.Result.Members.Count);
        var follower = _group.Sync(second.Result);
        Assert.False(follower.IsCompleted);
        var leader = _group.Sync(first.Result, assignments: [(second.Result.MemberId, [7])]);
        Assert.Equal([7], follower.Result.Assignment.ToArray());
        Assert.Empty(leader.Result.Assignment.ToArray());
        Assert.Equal("range", leader.Result.ProtocolName);
        Assert.Equal(ClassicGroupState.Stable, _group.Group.State);
    }
}
