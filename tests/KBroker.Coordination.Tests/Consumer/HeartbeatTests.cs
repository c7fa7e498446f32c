using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using static KBroker.Coordination.Tests.Consumer.ConsumerDriver;

namespace KBroker.Coordination.Tests.Consumer;

/// <summary>Joining, rebalancing, fencing and leaving, one rule a test.</summary>
public sealed class HeartbeatTests
{
    [Fact]
    public void The_first_member_gets_everything_at_epoch_two_and_the_records_stand_in_kafkas_order()
    {
        var driver = Create();
        driver.Create("t", 3);
        var answer = driver.Join("a", ["t"]);
        Assert.Equal((ErrorCode.None, "a", 2, 5000), (
            answer.ErrorCode, answer.MemberId, answer.MemberEpoch, answer.HeartbeatIntervalMs));
        Assert.Equal("0,1,2", answer.Show("t"));
        Assert.Equal("Stable", driver.Group().StateName);
        Assert.Equal("5 3 7 6 8", driver.Kinds(0));
    }

    [Fact]
    public void A_heartbeat_without_news_appends_nothing_and_tells_no_assignment()
    {
        var driver = Create();
        driver.Create("t", 3);
        driver.Join("a", ["t"]);
        var records = driver.Log.Count;
        var answer = driver.Beat("a");
        Assert.Null(answer.Assignment);
        Assert.Equal(2, answer.MemberEpoch);
        Assert.Equal(records, driver.Log.Count);
    }

    [Fact]
    public void Partitions_move_only_when_their_owner_has_given_them_up()
    {
        var driver = Create();
        driver.Create("t", 4);
        driver.Join("a", ["t"]);

        // b waits, at the new epoch, for what a still owns.
        var joined = driver.Join("b", ["t"]);
        Assert.Equal(3, joined.MemberEpoch);
        Assert.Equal("", joined.Show("t"));
        Assert.Equal(MemberState.UnreleasedPartitions, driver.Group().Members["b"].State);
        Assert.Equal("Reconciling", driver.Group().StateName);

        // a is told to keep two, at its old epoch.
        var told = driver.Beat("a", Own("t", 0, 1, 2, 3));
        Assert.Equal(2, told.MemberEpoch);
        Assert.Equal(2, told.Show("t").Split(',').Length);
        Assert.Equal(MemberState.UnrevokedPartitions, driver.Group().Members["a"].State);

        // Until it says so, nothing happens.
        Assert.Null(driver.Beat("a", Own("t", 0, 1, 2, 3)).Assignment);
        Assert.Null(driver.Beat("b", []).Assignment);

        var kept = told.Show("t").Split(',').Select(int.Parse).ToArray();
        Assert.Equal(3, driver.Beat("a", Own("t", kept)).MemberEpoch);
        var got = driver.Beat("b", []).Show("t").Split(',').Select(int.Parse);
        Assert.Equal([0, 1, 2, 3], kept.Concat(got).Order());
        Assert.Equal("Stable", driver.Group().StateName);
    }

    [Fact]
    public void A_member_that_does_not_give_up_in_time_is_put_out()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("a", ["t"], rebalanceTimeoutMs: 10_000);
        driver.Join("b", ["t"]);
        driver.Beat("a", Own("t", 0, 1));
        driver.Advance(9_999);
        driver.Beat("a", Own("t", 0, 1));
        driver.Advance(1);
        Assert.Equal(["b"], driver.Group().Members.Keys);
        Refused(ErrorCode.UnknownMemberId, () => driver.Heartbeat(
            new() { GroupId = "g", MemberId = "a", MemberEpoch = 1 }));
        Assert.Equal("0,1", driver.Beat("b", []).Show("t"));
    }

    [Fact]
    public void A_silent_member_is_put_out_when_its_session_ends()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("a", ["t"]);
        driver.Join("b", ["t"]);
        driver.Settle();
        driver.Advance(44_999);
        driver.Beat("a");
        var records = driver.Log.Count;
        driver.Advance(1);
        Assert.Equal(["a"], driver.Group().Members.Keys);
        Assert.Equal("-8 -7 -5 3", driver.Kinds(records));
        driver.Advance(44_998);
        Assert.Single(driver.Group().Members);
        driver.Advance(1);
        Assert.Empty(driver.Group().Members);
        Assert.Equal("Empty", driver.Group().StateName);
        Assert.Empty(driver.Timers);
    }

    [Fact]
    public void A_member_that_leaves_frees_its_partitions_at_once()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("a", ["t"]);
        driver.Join("b", ["t"]);
        driver.Settle();
        var answer = driver.Leave("a");
        Assert.Equal(("a", -1), (answer.MemberId, answer.MemberEpoch));
        Assert.Equal("0,1", driver.Beat("b", OwnedOf(driver.Group().Members["b"])).Show("t"));
        Assert.Equal("Stable", driver.Group().StateName);
    }

    [Fact]
    public void Epochs_that_are_not_the_members_are_fenced()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("a", ["t"]);
        var greater = Refused(ErrorCode.FencedMemberEpoch, () => driver.Heartbeat(
            new() { GroupId = "g", MemberId = "a", MemberEpoch = 3 }));
        Assert.Equal(
            "The consumer group member has a greater member epoch (3) than the one known by the group " +
            "coordinator (2). The member must abandon all its partitions and rejoin.", greater.ClientMessage);
        driver.Join("b", ["t"]);
        driver.Settle();

        // The epoch before is accepted from who owns nothing but what it was assigned: the answer may be lost.
        Assert.Equal(3, driver.Group().Members["a"].MemberEpoch);
        var owned = OwnedOf(driver.Group().Members["a"]);
        driver.Heartbeat(new() { GroupId = "g", MemberId = "a", MemberEpoch = 2, TopicPartitions = owned });
        Refused(ErrorCode.FencedMemberEpoch, () => driver.Heartbeat(
            new() { GroupId = "g", MemberId = "a", MemberEpoch = 2, TopicPartitions = Own("t", 0, 1) }));
        Refused(ErrorCode.FencedMemberEpoch, () => driver.Heartbeat(
            new() { GroupId = "g", MemberId = "a", MemberEpoch = 2 }));
    }

    [Fact]
    public void A_fenced_member_joins_again_and_is_told_what_it_has()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("a", ["t"]);
        var records = driver.Log.Count;
        var answer = driver.Join("a", ["t"]);
        Assert.Equal((2, "0,1"), (answer.MemberEpoch, answer.Show("t")));
        Assert.Equal(records, driver.Log.Count);
    }

    [Fact]
    public void Groups_and_members_that_do_not_exist_are_told_so()
    {
        var driver = Create();
        var missing = Refused(ErrorCode.GroupIdNotFound, () => driver.Heartbeat(
            new() { GroupId = "g", MemberId = "a", MemberEpoch = 1 }));
        Assert.Equal("Consumer group g not found.", missing.ClientMessage);
        Refused(ErrorCode.GroupIdNotFound, () => driver.Leave("a"));
        driver.Join("a", ["t"]);
        var unknown = Refused(ErrorCode.UnknownMemberId, () => driver.Heartbeat(
            new() { GroupId = "g", MemberId = "b", MemberEpoch = 1 }));
        Assert.Equal("Member b is not a member of group g.", unknown.ClientMessage);
        Refused(ErrorCode.UnknownMemberId, () => driver.Leave("b"));
    }

    [Fact]
    public void A_group_takes_no_more_members_than_its_size()
    {
        var driver = Create(("group.consumer.max.size", "1"));
        driver.Join("a", ["t"]);
        var refusal = Refused(ErrorCode.GroupMaxSizeReached, () => driver.Join("b", ["t"]));
        Assert.Equal("The consumer group has reached its maximum capacity of 1 members.", refusal.ClientMessage);
        driver.Join("a", ["t"]);
    }

    [Fact]
    public void A_client_of_version_zero_gets_a_member_id()
    {
        var driver = Create();
        driver.Create("t", 1);
        var answer = driver.Heartbeat(
            new() { GroupId = "g", RebalanceTimeoutMs = 1, SubscribedTopicNames = ["t"], TopicPartitions = [] }, 0);
        Assert.NotEqual("", answer.MemberId);
        Assert.Equal([answer.MemberId!], driver.Group().Members.Keys);
    }

    [Fact]
    public void A_changed_subscription_gives_up_what_is_not_wanted_any_more()
    {
        var driver = Create();
        driver.Create("t", 1);
        driver.Create("u", 1);
        driver.Join("a", ["t"]);
        var answer = driver.Heartbeat(new()
        {
            GroupId = "g",
            MemberId = "a",
            MemberEpoch = 2,
            SubscribedTopicNames = ["u"],
            TopicPartitions = Own("t", 0),
        });
        Assert.Equal((2, ""), (answer.MemberEpoch, answer.Show("u")));
        answer = driver.Beat("a", []);
        Assert.Equal((3, "0"), (answer.MemberEpoch, answer.Show("u")));
    }

    [Fact]
    public void Targets_are_not_computed_more_often_than_the_interval_allows()
    {
        var driver = new ShardDriver(("group.consumer.assignment.interval.ms", "1000"));
        driver.Create("t", 2);
        driver.Join("a", ["t"]);
        Assert.Equal("0,1", driver.Assigned("a", "t"));

        // b is a member at the last assignment's epoch, which knows nothing of it.
        var joined = driver.Join("b", ["t"]);
        Assert.Equal((2, ""), (joined.MemberEpoch, joined.Show("t")));
        Assert.Equal("Assigning", driver.Group().StateName);
        driver.Advance(999);
        driver.Beat("a", Own("t", 0, 1));
        Assert.Equal(2, driver.Group().AssignmentEpoch);
        driver.Advance(1);
        driver.Beat("a", Own("t", 0, 1));
        Assert.Equal(3, driver.Group().AssignmentEpoch);
        driver.Settle();
        Assert.Equal("Stable", driver.Group().StateName);
    }

    [Fact]
    public void The_assignor_that_most_members_wish_for_is_used_and_the_first_one_by_default()
    {
        var driver = Create();
        driver.Create("t", 5);
        driver.Join("a", ["t"], assignor: "range");
        driver.Join("b", ["t"], assignor: "range");
        driver.Join("c", ["t"], assignor: "uniform");
        driver.Settle();
        Assert.Equal("range", Describe(driver).AssignorName);
        Assert.Equal("0,1", driver.Assigned("a", "t"));
        Assert.Equal("4", driver.Assigned("c", "t"));
        driver.Leave("a");
        driver.Leave("b");
        driver.Settle();
        Assert.Equal("uniform", Describe(driver).AssignorName);
    }

    [Fact]
    public void Topics_that_are_created_deleted_or_grow_change_the_assignment_with_the_next_heartbeat()
    {
        var driver = Create();
        driver.Join("a", ["t"]);
        Assert.Equal(2, driver.Group().GroupEpoch);
        driver.Create("t", 1);
        Assert.Equal("0", driver.Beat("a", []).Show("t"));
        driver.Grow("t", 3);
        Assert.Equal("0,1,2", driver.Beat("a", Own("t", 0)).Show("t"));
        Assert.Equal(4, driver.Group().GroupEpoch);
        driver.Create("unrelated", 1);
        driver.Beat("a", Own("t", 0, 1, 2));
        Assert.Equal(4, driver.Group().GroupEpoch);
        driver.Delete("t");
        driver.Beat("a", Own("t", 0, 1, 2));
        driver.Beat("a", []);
        Assert.Equal((5, 0L), (driver.Group().GroupEpoch, driver.Group().MetadataHash));
        Assert.True(driver.Group().Members["a"].Assigned.IsEmpty);
    }

    [Fact]
    public void A_group_takes_its_own_configs_as_soon_as_they_change()
    {
        var driver = Create(("group.consumer.max.session.timeout.ms", "60000"));
        driver.Join("a", ["t"]);
        driver.Configure("g", "consumer.heartbeat.interval.ms", "6000");
        driver.Configure("g", "consumer.session.timeout.ms", "50000");
        Assert.Equal(6000, driver.Beat("a").HeartbeatIntervalMs);
        driver.Advance(49_999);
        Assert.Single(driver.Group().Members);
        driver.Advance(1);
        Assert.Empty(driver.Group().Members);
        driver.Configure("g", "consumer.heartbeat.interval.ms", null);
        Assert.Equal(5000, driver.Join("a", ["t"]).HeartbeatIntervalMs);
    }

    [Fact]
    public void Values_beyond_the_bounds_of_the_broker_are_cut_to_them()
    {
        var driver = Create(("group.consumer.max.session.timeout.ms", "46000"));
        driver.Configure("g", "consumer.session.timeout.ms", "50000");
        driver.Join("a", ["t"]);
        driver.Advance(46_000);
        Assert.Empty(driver.Group().Members);
    }

    [Fact]
    public void Deleted_groups_leave_no_record_and_no_timer()
    {
        var driver = Create();
        driver.Create("t", 2);
        driver.Join("a", ["t"]);
        driver.Join("b", null, regex: "t.*");
        driver.Run<object?>((shard, turn) =>
        {
            shard.Groups.Find("g")!.AppendTombstones(turn);
            return null;
        });
        Assert.Null(driver.Shard.Groups.Find("g"));
        Assert.Empty(driver.Timers);
        var last = driver.Log.GroupBy(static e => Key(e.Record.Key)).Select(static g => g.Last().Record.Value);
        Assert.All(last, Assert.Null);
    }

    private static string Key(IRecordMessage key)
    {
        using var writer = new ProtocolWriter();
        key.Write(writer, 0);
        return key.RecordType + Convert.ToHexString(writer.ToArray());
    }

    private static ConsumerGroupDescribeResponse.DescribedGroup Describe(ShardDriver driver) =>
        driver.Run((shard, turn) => shard.Consumer.Description.Describe("g", turn.Metadata));
}
