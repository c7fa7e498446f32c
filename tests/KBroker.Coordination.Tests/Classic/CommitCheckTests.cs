using KBroker.Coordination.Groups;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Classic;

/// <summary>What a classic group says to commits, to the deletion of offsets and to their expiry.</summary>
public sealed class CommitCheckTests
{
    private readonly ClassicHarness _group = new();

    [Fact]
    public void Members_commit_in_their_generation_and_others_do_not()
    {
        var member = _group.Stabilize("a")[0];
        Assert.Equal(ErrorCode.None, _group.CheckCommit(member.MemberId, 1, "a"));
        Assert.Equal(ErrorCode.None, _group.CheckCommit(member.MemberId, 1, "a", transactional: true));
        Assert.Equal(ErrorCode.IllegalGeneration, _group.CheckCommit(member.MemberId, 2, "a"));
        Assert.Equal(ErrorCode.IllegalGeneration, _group.CheckCommit(member.MemberId, -1, "a"));
        Assert.Equal(ErrorCode.UnknownMemberId, _group.CheckCommit("nobody", 1));
        Assert.Equal(ErrorCode.UnknownMemberId, _group.CheckCommit(member.MemberId, 1, "b"));
        Assert.Equal(ErrorCode.FencedInstanceId, _group.CheckCommit("nobody", 1, "a"));
        Assert.Equal(ErrorCode.UnknownMemberId, _group.CheckCommit("", -1));
        Assert.Equal(ErrorCode.None, _group.CheckCommit("", -1, transactional: true));
    }

    [Fact]
    public void Simple_consumers_commit_while_the_group_is_empty()
    {
        var member = _group.Stabilize([null])[0];
        _group.Leave((member.MemberId, null));
        Assert.Equal(ErrorCode.None, _group.CheckCommit("", -1));
        Assert.Equal(ErrorCode.None, _group.CheckCommit("", -1, transactional: true));
        Assert.Equal(ErrorCode.UnknownMemberId, _group.CheckCommit(member.MemberId, 1));
    }

    [Fact]
    public void Members_commit_before_they_rejoin_and_not_before_they_have_their_assignment()
    {
        var member = _group.Stabilize([null])[0];
        var newcomer = _group.Join();
        Assert.Equal(ErrorCode.None, _group.CheckCommit(member.MemberId, 1));
        var again = _group.Join(member.MemberId);
        Assert.Equal(ErrorCode.RebalanceInProgress, _group.CheckCommit(member.MemberId, 2));
        Assert.Equal(ErrorCode.None, _group.CheckCommit(member.MemberId, 2, transactional: true));
        _group.Assign(again.Answer(), newcomer.Answer());
        Assert.Equal(ErrorCode.None, _group.CheckCommit(member.MemberId, 2));
    }

    [Fact]
    public void Offsets_are_deleted_unless_other_than_consumers_are_members()
    {
        var member = _group.Stabilize([null])[0];
        _group.Group.CheckOffsetDelete();
        Assert.Equal(ErrorCode.NonEmptyGroup, Assert.Throws<CoordinatorException>(_group.Group.CheckDelete).Error);
        _group.Leave((member.MemberId, null));
        _group.Group.CheckOffsetDelete();
        _group.Group.CheckDelete();
        var join = _group.Join(type: "connect");
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        Assert.Equal(
            ErrorCode.NonEmptyGroup, Assert.Throws<CoordinatorException>(_group.Group.CheckOffsetDelete).Error);
        Assert.Equal(ErrorCode.None, join.Answer().ErrorCode);
    }

    [Fact]
    public void Subscriptions_are_read_from_the_metadata_of_consumers()
    {
        var joins = new[]
        {
            _group.Join(protocols: ("range", Subscription(0, "x", "y"))),
            _group.Join(protocols: ("range", Subscription(3, "z"))),
        };
        _group.Driver.Advance(2 * ClassicHarness.InitialDelayMs);
        _group.Assign([.. joins.Select(static j => j.Answer())]);
        Assert.Equal([true, true, true, false], "xyzw".Select(t => _group.Group.IsSubscribedTo(t.ToString())));
        Assert.Equal(5, _group.Group.ExpiryBaseMs(5));
        _group.Driver.Reload();
        Assert.Equal([true, true, true, false], "xyzw".Select(t => _group.Group.IsSubscribedTo(t.ToString())));
        _group.Leave((joins[0].Answer().MemberId, null), (joins[1].Answer().MemberId, null));
        Assert.False(_group.Group.IsSubscribedTo("x"));
        Assert.Equal(_group.Driver.NowMs, _group.Group.ExpiryBaseMs(5));
    }

    [Theory]
    [InlineData("")]
    [InlineData("00")]
    [InlineData("FFFF00000001")]
    [InlineData("0000FFFFFFFF")]
    [InlineData("00007FFFFFFF0001")]
    [InlineData("000000000001FFFF")]
    [InlineData("0000000000010003FFFEFD00000000")]
    public void Where_a_consumers_metadata_is_garbage_every_topic_counts_as_subscribed(string hex)
    {
        var join = _group.Join(protocols: ("range", Convert.FromHexString(hex)));
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        _group.Assign(join.Answer());
        Assert.True(_group.Group.IsSubscribedTo("x"));
        Assert.Null(_group.Group.ExpiryBaseMs(5));
    }

    [Fact]
    public void Members_of_another_type_keep_all_offsets_without_being_subscribed()
    {
        var join = _group.Join(type: "connect", protocols: ("default", Subscription(0, "x")));
        _group.Driver.Advance(ClassicHarness.InitialDelayMs);
        _group.Assign(join.Answer());
        Assert.False(_group.Group.IsSubscribedTo("x"));
        Assert.Null(_group.Group.ExpiryBaseMs(5));
    }

    [Fact]
    public void A_group_of_simple_consumers_is_there_once_and_its_offsets_count_from_their_commits()
    {
        var driver = new ShardDriver();
        var group = ClassicGroups.GetOrCreateSimple(driver.Shard.Groups, "simple");
        Assert.Same(group, ClassicGroups.GetOrCreateSimple(driver.Shard.Groups, "simple"));
        Assert.Equal((GroupType.Classic, "", "Empty"), (group.Type, group.ProtocolType, group.StateName));
        Assert.Equal(7, group.ExpiryBaseMs(7));
        Assert.False(group.IsSubscribedTo("x"));
        driver.Run((_, turn) =>
        {
            group.CheckOffsetCommit(turn, new OffsetCommitter("", null, -1, false, 9));
            group.CheckDelete();
            group.AppendTombstones(turn);
            return 0;
        });
        Assert.Empty(driver.Shard.Groups.All);
    }

    private static byte[] Subscription(short version, params string[] topics) =>
        SubscriptionBytes.Of(version, new ConsumerProtocolSubscription { Topics = [.. topics] });
}
