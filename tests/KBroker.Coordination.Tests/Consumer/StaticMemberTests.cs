using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Protocol;
using static KBroker.Coordination.Tests.Consumer.ConsumerDriver;

namespace KBroker.Coordination.Tests.Consumer;

public sealed class StaticMemberTests
{
    [Fact]
    public void A_static_member_that_comes_back_in_time_gets_its_partitions_without_rebalance()
    {
        var driver = Create();
        driver.Create("t", 4);
        driver.Join("a", ["t"], instance: "i");
        driver.Join("b", ["t"]);
        driver.Settle();
        var had = driver.Assigned("a", "t");

        var records = driver.Log.Count;
        Assert.Equal(-2, driver.Leave("a", instance: "i", epoch: -2).MemberEpoch);
        Assert.Equal("8", driver.Kinds(records));
        records = driver.Log.Count;
        var back = driver.Join("c", ["t"], instance: "i");
        Assert.Equal((3, had), (back.MemberEpoch, back.Show("t")));
        Assert.Equal("-8 -7 -5 5 7 8 8", driver.Kinds(records));
        Assert.Equal((3, "Stable"), (driver.Group().GroupEpoch, driver.Group().StateName));
        Assert.Equal(["b", "c"], driver.Group().Members.Keys.Order());
        Assert.Null(driver.Beat("b").Assignment);
    }

    [Fact]
    public void A_static_member_that_stays_away_is_put_out_with_its_session()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("a", ["t"], instance: "i");
        driver.Leave("a", instance: "i", epoch: -2);
        driver.Advance(45_000);
        Assert.Empty(driver.Group().Members);
        Assert.Equal("0,1", driver.Join("b", ["t"], instance: "i").Show("t"));
    }

    [Fact]
    public void An_instance_id_in_use_is_not_given_away()
    {
        var driver = Create();
        driver.Join("a", ["t"], instance: "i");
        var refusal = Refused(ErrorCode.UnreleasedInstanceId, () => driver.Join("b", ["t"], instance: "i"));
        Assert.Equal(
            "Static member b with instance id i cannot join the group because the instance id is owned by a member.",
            refusal.ClientMessage);
    }

    [Fact]
    public void Who_was_replaced_is_fenced_and_who_is_unknown_is_told_so()
    {
        var driver = Create();
        driver.Join("a", ["t"], instance: "i");
        driver.Leave("a", instance: "i", epoch: -2);
        driver.Join("b", ["t"], instance: "i");
        var fenced = Refused(ErrorCode.FencedInstanceId, () => driver.Heartbeat(
            new() { GroupId = "g", MemberId = "a", InstanceId = "i", MemberEpoch = 1 }));
        Assert.Equal("Static member a with instance id i was fenced by member b.", fenced.ClientMessage);
        Refused(ErrorCode.FencedInstanceId, () => driver.Leave("a", instance: "i"));
        var unknown = Refused(ErrorCode.UnknownMemberId, () => driver.Heartbeat(
            new() { GroupId = "g", MemberId = "a", InstanceId = "j", MemberEpoch = 1 }));
        Assert.Equal("Instance id j is unknown.", unknown.ClientMessage);
    }

    [Fact]
    public void A_static_member_that_leaves_for_good_is_gone_at_once()
    {
        var driver = Create();
        driver.Join("a", ["t"], instance: "i");
        driver.Leave("a", instance: "i", epoch: -1);
        Assert.Empty(driver.Group().Members);
        Assert.Null(driver.Group().StaticMember("i"));
    }

    [Fact]
    public void A_static_member_that_was_to_give_up_partitions_keeps_none_of_them_while_it_is_away()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("a", ["t"], instance: "i");
        driver.Join("b", ["t"]);
        driver.Beat("a", Own("t", 0, 1), instance: "i");
        Assert.Equal(MemberState.UnrevokedPartitions, driver.Group().Members["a"].State);
        driver.Leave("a", instance: "i", epoch: -2);
        Assert.Single(driver.Beat("b", []).Show("t").Split(','));
        driver.Join("c", ["t"], instance: "i");
        driver.Settle();
        Assert.Equal("Stable", driver.Group().StateName);
        Assert.Equal(1, driver.Group().Members["c"].Assigned.PartitionCount);
    }
}
