using KBroker.Delivery.Delay;

namespace KBroker.Delivery.Tests.Delay;

/// <summary>The meter KBroker.Delivery, as somebody who listens sees it.</summary>
public sealed class DelayMetricsTests
{
    [Fact]
    public void Pending_records_and_the_time_to_the_next_are_told_by_topic()
    {
        using var one = new DelayHome();
        using var other = new DelayHome();
        using var metrics = new DelayMetrics(() => [one.Schedule, other.Schedule], () => one.Clock.WallMs, () => 0);
        using var seen = new MetricsListener(metrics, "delay.");
        Assert.Equal(["delay.pending/later = 0"], seen.Observe());
        one.Append("a", DelayHome.After(3000));
        other.Append("b", DelayHome.After(2000));
        other.Append("c", DelayHome.After(9000));
        Assert.Equal(["delay.next.due/later = 2000", "delay.pending/later = 3"], seen.Observe());
        one.Advance(2500);
        Assert.Equal(["delay.next.due/later = -500", "delay.pending/later = 3"], seen.Observe());
        other.Advance(2500);
        Assert.Equal(["delay.next.due/later = 500", "delay.pending/later = 2"], seen.Observe());
    }

    [Fact]
    public void Lateness_counts_from_when_a_record_was_due_to_its_delivery()
    {
        using var home = new DelayHome();
        using var seen = new MetricsListener(home.Metrics, "delay.");
        home.Append("in time", DelayHome.After(1000));
        home.Advance(1000);
        Assert.Equal(["delay.delivered/later = 1", "delay.lateness/later = 0"], seen.Recorded());
        home.Append("late", DelayHome.After(1000));
        home.Append("late, too", DelayHome.After(3000));
        home.Partition.MinInSyncReplicas = 2;
        home.SetReplicas(2);
        home.Advance(5000);
        Assert.Empty(seen.Recorded());
        home.SetReplicas(1);
        home.Advance(1000);
        var appended = home.Consume()[^1].Timestamp - DelayHome.StartMs - 1000;
        Assert.Equal(
            ["delay.delivered/later = 2", $"delay.lateness/later = {appended - 3000}",
                $"delay.lateness/later = {appended - 1000}"],
            seen.Recorded());
    }

    [Fact]
    public void What_is_carried_forward_is_counted()
    {
        using var home = new DelayHome();
        using var seen = new MetricsListener(home.Metrics, "delay.");
        home.Append("kept", DelayHome.After(1000));
        home.Append("plain");
        home.Partition.DeleteRecords(-1, out _);
        Assert.Equal(["delay.carried/later = 1"], seen.Recorded());
    }
}
