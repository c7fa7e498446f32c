using KBroker.Coordination.Groups.Classic;
using KBroker.Protocol;
using static KBroker.Coordination.Tests.Consumer.ConsumerDriver;

namespace KBroker.Coordination.Tests.Consumer;

/// <summary>Groups that change their type while they have members.</summary>
public sealed class MigrationTests
{
    [Fact]
    public async Task A_member_of_the_new_protocol_turns_a_classic_group_into_a_consumer_group()
    {
        var driver = Create();
        driver.Create("t", 4);
        var old = await driver.StableClassicAsync("t", 4);
        var records = driver.Log.Count;
        var joined = driver.Join("new", ["t"]);
        Assert.Equal("-2 5 3 7 6 8 5 3 7 7 6 8", driver.Kinds(records));
        Assert.Equal((2, ""), (joined.MemberEpoch, joined.Show("t")));
        Assert.Equal([old, "new"], driver.Group().Members.Keys);

        // The classic member learns of it by its heartbeat, joins, gives up, joins again.
        Assert.Equal(ErrorCode.RebalanceInProgress, driver.ClassicBeat(old, 1));
        var rejoined = await driver.ClassicJoin(old, "t", [0, 1, 2, 3]);
        Assert.Equal((ErrorCode.None, 1, "range"), (
            rejoined.ErrorCode, rejoined.GenerationId, rejoined.ProtocolName));
        var kept = await driver.ClassicSync(old, 1);
        Assert.Equal(2, kept.Length);
        Assert.Equal(ErrorCode.RebalanceInProgress, driver.ClassicBeat(old, 1));
        rejoined = await driver.ClassicJoin(old, "t", kept);
        Assert.Equal(2, rejoined.GenerationId);
        Assert.Equal(kept, await driver.ClassicSync(old, 2));
        Assert.Equal(ErrorCode.None, driver.ClassicBeat(old, 2));
        Assert.Equal(2, driver.Beat("new", []).Show("t").Split(',').Length);
        Assert.Equal("Stable", driver.Group().StateName);
        Assert.Equal("consumer", driver.Group().ProtocolType);
    }

    [Fact]
    public async Task The_last_member_of_the_new_protocol_leaves_a_classic_group_behind()
    {
        var driver = Create();
        driver.Create("t", 4);
        var old = await driver.StableClassicAsync("t", 4);
        driver.Join("new", ["t"]);
        driver.Leave("new");
        var group = Assert.IsType<ClassicGroup>(driver.Shard.Groups.Find("g"));
        Assert.Equal("PreparingRebalance", group.StateName);
        Assert.Equal([old], group.Members.Select(static m => m.MemberId));
        Assert.Equal(ErrorCode.RebalanceInProgress, driver.ClassicBeat(old, group.GenerationId));
        var joined = await driver.ClassicJoin(old, "t", []);
        Assert.Equal((ErrorCode.None, old), (joined.ErrorCode, joined.Leader));

        var reloaded = driver.Reload();
        Assert.IsType<ClassicGroup>(reloaded.Groups.Find("g"));
    }

    [Fact]
    public async Task A_session_that_ends_downgrades_as_leaving_does_and_a_restart_keeps_the_group_mixed()
    {
        var driver = Create();
        driver.Create("t", 4);
        var old = await driver.StableClassicAsync("t", 4);
        driver.Join("new", ["t"]);
        driver.Reload();
        Assert.True(driver.Group().Members[old].UsesClassicProtocol);
        Assert.Equal(1, driver.Group().ClassicMemberCount);
        driver.Advance(29_000);
        driver.ClassicBeat(old, 1);
        driver.Advance(16_000);
        Assert.IsType<ClassicGroup>(driver.Shard.Groups.Find("g"));
    }

    [Fact]
    public async Task The_policy_decides_what_may_change()
    {
        var driver = Create(("group.consumer.migration.policy", "DOWNGRADE"));
        driver.Create("t", 1);
        await driver.StableClassicAsync("t", 1);
        var refusal = Refused(ErrorCode.GroupIdNotFound, () => driver.Join("new", ["t"]));
        Assert.Equal(
            "Cannot upgrade classic group g to consumer group because online upgrade is disabled.",
            refusal.ClientMessage);

        driver = Create(("group.consumer.migration.policy", "upgrade"));
        driver.Create("t", 1);
        await driver.StableClassicAsync("t", 1);
        driver.Join("new", ["t"]);
        driver.Leave("new");
        Assert.Single(driver.Group().Members);

        driver = Create(("group.consumer.migration.policy", "disabled"));
        driver.Join("new", ["t"]);
        var joined = await driver.ClassicJoin("", "t", []);
        Assert.Equal((ErrorCode.InconsistentGroupProtocol, ""), (joined.ErrorCode, joined.MemberId));
    }

    [Fact]
    public async Task A_classic_member_may_join_a_consumer_group()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("new", ["t"]);
        var id = await driver.ClassicJoin("", "t", []);
        Assert.Equal(ErrorCode.MemberIdRequired, id.ErrorCode);
        var joined = await driver.ClassicJoin(id.MemberId, "t", []);
        Assert.Equal(3, joined.GenerationId);
        Assert.Empty(await driver.ClassicSync(id.MemberId, 3));
        var told = driver.Beat("new", Own("t", 0, 1));
        driver.Beat("new", Own("t", [.. told.Show("t").Split(',').Select(int.Parse)]));
        Assert.Equal(ErrorCode.RebalanceInProgress, driver.ClassicBeat(id.MemberId, 3));
        await driver.ClassicJoin(id.MemberId, "t", []);
        Assert.Single(await driver.ClassicSync(id.MemberId, 3));
        Assert.Equal("Stable", driver.Group().StateName);
    }

    [Fact]
    public async Task A_classic_member_that_does_not_come_back_is_put_out()
    {
        var driver = Create();
        driver.Create("t", 2);
        var old = await driver.StableClassicAsync("t", 2);
        driver.Join("new", ["t"]);
        for (var i = 0; i < 6; i++)
        {
            driver.ClassicBeat(old, 1);
            driver.Beat("new", []);
            driver.Advance(10_000);
        }

        Assert.Equal(["new"], driver.Group().Members.Keys);
    }

    [Fact]
    public async Task Empty_groups_of_the_other_type_are_replaced()
    {
        var driver = Create();
        driver.Create("t", 1);
        var old = await driver.StableClassicAsync("t", 1);
        driver.Run((shard, turn) => shard.ClassicProtocolOf("g").Leave(turn, "g", [new() { MemberId = old }]));
        driver.Join("new", ["t"]);
        Assert.Equal(["new"], driver.Group().Members.Keys);
        driver.Leave("new");
        await driver.StableClassicAsync("t", 1);
        Assert.IsType<ClassicGroup>(driver.Shard.Groups.Find("g"));
        Assert.IsType<ClassicGroup>(driver.Reload().Groups.Find("g"));
    }
}
