using KBroker.Delivery.Tests.Delay;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Delivery.Tests.CheckBack;

/// <summary>Half messages, decisions and checks on a real log, with the test's clock.</summary>
public sealed class CheckBackTests
{
    private const string Checks = "kbroker.check.pay";
    private const string Expired = "kbroker.txn.expired";

    private static readonly LogConfig Config = new() { CheckBackEnable = true, DelayEnable = true };

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_half_message_is_seen_when_it_is_committed_and_never_when_it_is_rolled_back(bool isCommit)
    {
        using var home = new DelayHome(Config);
        var half = Prepare(home, "half");
        home.Append("plain");
        Assert.Equal(["plain"], home.Values());
        Decide(home, half, isCommit);
        string[] expected = isCommit ? ["plain", "half"] : ["plain"];
        Assert.Equal(expected, home.Values());
        Assert.Equal(0, home.Schedule.OpenHalvesCount);
        home.Advance(1_000_000);
        home.Crash();
        home.Advance(1_000_000);
        Assert.Equal(expected, home.Values());
        Assert.Empty(home.Others(Checks));
        if (isCommit)
        {
            var delivered = home.Consume()[^1];
            Assert.Equal(half, delivered.Request.OriginOffset);
            Assert.DoesNotContain("kbroker-txn", delivered.Headers.Keys);
            Assert.DoesNotContain("kbroker-producer-group", delivered.Headers.Keys);
        }
    }

    [Fact]
    public void The_first_decision_counts_and_later_ones_do_nothing()
    {
        using var home = new DelayHome(Config);
        var one = Prepare(home, "one");
        var two = Prepare(home, "two");
        Decide(home, one, isCommit: false);
        Decide(home, two, isCommit: true);
        Decide(home, one, isCommit: true);
        Decide(home, two, isCommit: false);
        Decide(home, two, isCommit: true);
        home.Crash();
        home.Restart();
        Assert.Equal(["two"], home.Values());
    }

    [Fact]
    public void A_group_is_asked_as_often_as_RocketMQ_does_and_then_the_half_message_is_given_up()
    {
        using var home = new DelayHome(Config);
        var half = Prepare(home, "half", ("app", "x"));
        home.Advance(5_999);
        Assert.Empty(home.Others(Checks));
        home.Advance(1);
        var check = Assert.Single(home.Others(Checks));
        Assert.Equal("half", check.Value);
        Assert.Equal(
            new Dictionary<string, string>
            {
                ["app"] = "x",
                ["kbroker-producer-group"] = "pay",
                ["kbroker-origin-topic"] = "later",
                ["kbroker-origin-partition"] = "0",
                ["kbroker-origin-offset"] = $"{half}",
                ["kbroker-origin-timestamp"] = $"{DelayHome.StartMs}",
                ["kbroker-half-checks"] = "1",
            },
            check.Headers);
        for (var i = 2; i <= 15; i++)
        {
            home.Advance(29_999);
            Assert.Equal(i - 1, home.Others(Checks).Count);
            home.Advance(1);
            Assert.Equal($"{i}", home.Others(Checks)[^1].Headers["kbroker-half-checks"]);
        }

        Assert.Equal(1, home.Schedule.OpenHalvesCount);
        home.Advance(30_000);
        Assert.Equal(15, home.Others(Checks).Count);
        var expired = Assert.Single(home.Others(Expired));
        Assert.Equal(
            ("half", "no-decision", "15", $"{half}"),
            (expired.Value, expired.Headers["kbroker-death-reason"], expired.Headers["kbroker-half-checks"],
                expired.Headers["kbroker-origin-offset"]));
        Assert.Equal(0, home.Schedule.OpenHalvesCount);
        // Too late.
        Decide(home, half, isCommit: true);
        home.Crash();
        home.Advance(1_000_000);
        Assert.Empty(home.Values());
        Assert.Single(home.Others(Expired));
        Assert.Equal(15, home.Others(Checks).Count);
    }

    [Fact]
    public void A_crash_forgets_neither_checks_nor_decisions()
    {
        using var home = new DelayHome(Config);
        var one = Prepare(home, "one");
        var two = Prepare(home, "two");
        home.Advance(6_000);
        home.Crash();
        Assert.Equal(2, home.Schedule.OpenHalvesCount);
        home.Advance(29_999);
        Assert.Equal(2, home.Others(Checks).Count);
        home.Advance(1);
        Assert.Equal(4, home.Others(Checks).Count);
        Assert.Equal("2", home.Others(Checks)[^1].Headers["kbroker-half-checks"]);
        Decide(home, one, isCommit: true);
        home.Crash();
        Decide(home, two, isCommit: false);
        home.Restart();
        home.Advance(1_000_000);
        Assert.Equal(["one"], home.Values());
        Assert.Equal(4, home.Others(Checks).Count);
    }

    [Fact]
    public void A_clean_stop_leaves_a_checkpoint_from_which_open_half_messages_are_found()
    {
        using var home = new DelayHome(Config, checkpointWork: 5);
        home.Append("early", DelayHome.After(500_000));
        var half = Prepare(home, "half");
        for (var i = 0; i < 20; i++)
            home.Append($"{i}", DelayHome.After(1000 + i));
        home.Advance(2000);
        home.Restart();
        Assert.Equal((1, 1), (home.Schedule.OpenHalvesCount, (int)home.Schedule.PendingCount));
        Decide(home, half, isCommit: true);
        home.Restart();
        home.Advance(1_000_000);
        Assert.Equal([.. Enumerable.Range(0, 20).Select(i => $"{i}"), "half", "early"], home.Values());
    }

    [Fact]
    public void A_committed_half_message_may_have_a_delay()
    {
        using var home = new DelayHome(Config);
        var half = Prepare(home, "half", DelayHome.After(10_000));
        home.Advance(1000);
        Decide(home, half, isCommit: true);
        home.Advance(8999);
        home.Crash();
        Assert.Empty(home.Values());
        home.Advance(1);
        Assert.Equal(["half"], home.Values());
        var cancelled = Prepare(home, "cancelled", DelayHome.After(10_000));
        Decide(home, cancelled, isCommit: true);
        home.Append("", DelayHome.Cancel(cancelled));
        home.Advance(1_000_000);
        Assert.Equal(["half"], home.Values());
    }

    [Fact]
    public void A_half_message_may_say_when_it_is_asked_about_first()
    {
        using var home = new DelayHome(Config);
        Prepare(home, "soon", ("kbroker-check-after-ms", "10"));
        Prepare(home, "late", ("kbroker-check-after-ms", "60000"));
        home.Advance(10);
        Assert.Equal(["soon"], home.Others(Checks).Select(static c => c.Value));
        home.Advance(59_990);
        Assert.Equal(["soon", "soon", "late"], home.Others(Checks).Select(static c => c.Value));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Retention_carries_open_half_messages_and_they_keep_their_identity(bool crash)
    {
        using var home = new DelayHome(Config with { SegmentBytes = 600, RetentionBytes = 1500 });
        var one = Prepare(home, "one");
        var two = Prepare(home, "two", DelayHome.After(3_600_000));
        var three = Prepare(home, "three");
        home.Advance(6_000);
        for (var i = 0; i < 40; i++)
            home.Append($"filler {i}");
        home.Log.DeleteOldSegments(long.MaxValue);
        Assert.True(home.Log.LogStartOffset > three);
        if (crash)
            home.Crash();
        home.Advance(30_000);
        Assert.Equal(6, home.Others(Checks).Count);
        Assert.Equal(
            ("2", $"{one}", $"{DelayHome.StartMs}"),
            (home.Others(Checks)[3].Headers["kbroker-half-checks"],
                home.Others(Checks)[3].Headers["kbroker-origin-offset"],
                home.Others(Checks)[3].Headers["kbroker-origin-timestamp"]));
        // A stranger's decision is not noticed before, because the first offset is gone.
        Assert.Equal(ErrorCode.None, TryDecide(home, one, "rollback", "other").Error);
        Decide(home, one, isCommit: true);
        Decide(home, two, isCommit: true);
        Decide(home, three, isCommit: false);
        if (crash)
            home.Crash();
        Assert.Equal("one", home.Values()[^1]);
        home.Advance(3_600_000);
        Assert.Equal(["one", "two"], home.Values().Where(v => v!.Length < 6));
        Assert.Equal(6, home.Others(Checks).Count);
    }

    [Fact]
    public void What_was_given_up_and_not_moved_yet_is_moved_after_a_crash()
    {
        using var home = new DelayHome(Config with { CheckBackMax = 1 });
        var half = Prepare(home, "half");
        home.Advance(6_000);
        home.CanCreateTopics = false;
        home.Advance(30_000);
        Decide(home, half, isCommit: true);
        home.Crash();
        Assert.Equal(1, home.Schedule.OpenHalvesCount);
        Assert.Empty(home.Others(Expired));
        home.CanCreateTopics = true;
        home.Advance(1000);
        Assert.Single(home.Others(Expired));
        Assert.Empty(home.Values());
    }

    [Fact]
    public void While_there_is_no_topic_for_checks_nothing_is_counted()
    {
        using var home = new DelayHome(Config) { CanCreateTopics = false };
        Prepare(home, "half");
        home.Advance(1_000_000);
        Assert.Equal(1, home.Schedule.OpenHalvesCount);
        home.CanCreateTopics = true;
        home.Advance(1000);
        Assert.Equal("1", Assert.Single(home.Others(Checks)).Headers["kbroker-half-checks"]);
    }

    [Fact]
    public void A_clock_that_is_set_changes_nothing_for_checks()
    {
        using var home = new DelayHome(Config);
        Prepare(home, "half");
        home.Clock.Set(DelayHome.StartMs - 3_600_000);
        home.Schedule.Wake();
        home.Advance(5_999);
        Assert.Empty(home.Others(Checks));
        home.Advance(1);
        Assert.Single(home.Others(Checks));
        home.Clock.Set(DelayHome.StartMs + 3_600_000);
        home.Schedule.Wake();
        home.Advance(29_999);
        Assert.Single(home.Others(Checks));
        home.Advance(1);
        Assert.Equal(2, home.Others(Checks).Count);
    }

    [Fact]
    public void What_is_open_and_what_became_of_it_is_measured()
    {
        using var home = new DelayHome(Config with { CheckBackMax = 1 });
        using var seen = new MetricsListener(home.Metrics, "halves.");
        Assert.Equal(["halves.open/later = 0"], seen.Observe());
        var one = Prepare(home, "one");
        home.Advance(1000);
        Prepare(home, "two");
        home.Advance(1000);
        Assert.Equal(["halves.oldest/later = 2000", "halves.open/later = 2"], seen.Observe());
        Decide(home, one, isCommit: true);
        Decide(home, one, isCommit: false);
        Assert.Equal(["halves.decisions.ignored/later = 1"], seen.Recorded());
        home.Advance(5000);
        Assert.Equal(["halves.checks/later = 1"], seen.Recorded());
        home.Advance(30_000);
        Assert.Equal(["halves.expired/later = 1"], seen.Recorded());
        Assert.Equal(["halves.open/later = 0"], seen.Observe());
    }

    [Theory]
    [InlineData("prepare", null, null, "needs kbroker-producer-group")]
    [InlineData("prepare", "a b", null, "is 'a b'")]
    [InlineData("half", "pay", null, "must be prepare, commit or rollback")]
    [InlineData("commit", "pay", null, "a decision needs kbroker-ref")]
    [InlineData("commit", "pay", "x", "a decision needs kbroker-ref")]
    [InlineData("rollback", null, "99", "the last offset is 2")]
    [InlineData("commit", null, "0", "is no half message")]
    [InlineData("commit", null, "2", "is no half message")]
    [InlineData("commit", "other", "1", "belongs to the producer group 'pay', not to 'other'")]
    public void What_cannot_be_meant_is_refused(string transaction, string? group, string? reference, string problem)
    {
        using var home = new DelayHome(Config);
        home.Append("plain");
        Prepare(home, "half");
        Decide(home, 1, isCommit: false);
        var headers = new List<(string, string)> { ("kbroker-txn", transaction) };
        if (group is not null)
            headers.Add(("kbroker-producer-group", group));
        if (reference is not null)
            headers.Add(("kbroker-ref", reference));
        var refused = home.TryAppend("x", null, [.. headers]);
        Assert.Equal(ErrorCode.InvalidRecord, refused.Error);
        Assert.Contains(problem, Assert.Single(refused.Append.RecordErrors!).Message, StringComparison.Ordinal);
        Assert.Equal(3, home.Log.LogEndOffset);
    }

    [Fact]
    public void Half_messages_and_decisions_do_not_go_into_a_Kafka_transaction()
    {
        using var home = new DelayHome(Config);
        var refused = home.TryAppend(
            "x",
            new RecordBatchOptions { ProducerId = 5, ProducerEpoch = 0, BaseSequence = 0, IsTransactional = true },
            ("kbroker-txn", "prepare"),
            ("kbroker-producer-group", "pay"));
        Assert.Equal(ErrorCode.InvalidRecord, refused.Error);
        Assert.Contains("Kafka transaction", refused.Append.RecordErrors![0].Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_topic_allows_delays_and_check_back_each_for_itself()
    {
        using var delays = new DelayHome();
        Assert.Contains(
            "kbroker.txn.enable",
            TryPrepare(delays, "x").Append.RecordErrors![0].Message,
            StringComparison.Ordinal);
        using var halves = new DelayHome(new LogConfig { CheckBackEnable = true });
        Assert.Contains(
            "kbroker.delay.enable",
            TryPrepare(halves, "x", DelayHome.After(5)).Append.RecordErrors![0].Message,
            StringComparison.Ordinal);
        Assert.Equal(ErrorCode.None, TryPrepare(halves, "x").Error);
    }

    private static long Prepare(DelayHome home, string value, params (string Key, string Value)[] more)
    {
        var appended = TryPrepare(home, value, more);
        Assert.True(appended.Error == ErrorCode.None, appended.Message);
        return appended.Append.FirstOffset;
    }

    private static KBroker.Cluster.Replication.PartitionAppend TryPrepare(
        DelayHome home, string value, params (string Key, string Value)[] more) =>
        home.TryAppend(
            value, null, [("kbroker-txn", "prepare"), ("kbroker-producer-group", "pay"), .. more]);

    private static void Decide(DelayHome home, long half, bool isCommit) =>
        Assert.Equal(ErrorCode.None, TryDecide(home, half, isCommit ? "commit" : "rollback", "pay").Error);

    private static KBroker.Cluster.Replication.PartitionAppend TryDecide(
        DelayHome home, long half, string decision, string group) =>
        home.TryAppend(
            "", null, ("kbroker-txn", decision), ("kbroker-producer-group", group), ("kbroker-ref", $"{half}"));
}
