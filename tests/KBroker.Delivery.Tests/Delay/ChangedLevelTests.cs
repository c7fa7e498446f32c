using KBroker.Delivery.Delay;

namespace KBroker.Delivery.Tests.Delay;

/// <summary>
/// The list of levels is a config that may change under what is pending: new records go by it at once, pending ones
/// from the next start on; nothing is delivered twice for it, and every cancel finds its record.
/// </summary>
public sealed class ChangedLevelTests
{
    private const long Hour = 3_600_000;
    private static readonly (string, string) First = ("kbroker-delay-level", "1");

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_was_delivered_does_not_come_again_by_a_longer_level(bool isClean)
    {
        // Little is near, so that what is delivered is met again in the files.
        using var home = new DelayHome(nearMax: 4, farMax: 4);
        var values = Enumerable.Range(0, 40).Select(static i => (string?)$"{i}").ToList();
        foreach (var value in values[..20])
            home.Append(value!, First);
        home.Advance(1000);
        SetLevels(home, Hour);
        foreach (var value in values[20..])
            home.Append(value!, ("kbroker-delay-ms", "60000"));
        for (var life = 0; life < 3; life++)
        {
            Restart(home, isClean);
            Assert.Equal(20, home.Schedule.PendingCount);
        }

        home.Advance(3 * Hour);
        Assert.Equal(values, home.Values());
        Restart(home, isClean);
        home.Advance(3 * Hour);
        Assert.Equal(values, home.Values());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Pending_records_go_by_the_new_list_from_the_next_start_on(bool isClean)
    {
        using var home = new DelayHome();
        home.Append("one", First);
        SetLevels(home, Hour);
        home.Append("two", First);
        Assert.Equal([(0L, 1000L), (1L, Hour)], Pending(home));
        Restart(home, isClean);
        Assert.Equal([(0L, Hour), (1L, Hour)], Pending(home));
        SetLevels(home, 2000);
        Restart(home, isClean);
        Assert.Equal([(0L, 2000L), (1L, 2000L)], Pending(home));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_list_that_was_another_one_in_between_hides_no_record_from_its_cancel(bool isClean)
    {
        using var home = new DelayHome();
        SetLevels(home, Hour);
        home.Append("one", First);
        SetLevels(home, 2000);
        home.Append("two", First);
        SetLevels(home, Hour);
        home.Append("three", First);
        Restart(home, isClean);
        foreach (var offset in (long[])[0, 1])
            home.Append("", DelayHome.Cancel(offset));
        Assert.Equal([(2L, Hour)], Pending(home));
        SetLevels(home, 5000);
        home.Append("", DelayHome.Cancel(2));
        Assert.Empty(Pending(home));
        home.Advance(3 * Hour);
        Assert.Empty(home.Values());
    }

    [Fact]
    public void A_record_that_was_carried_forward_and_is_still_there_comes_once()
    {
        using var home = new DelayHome();
        home.Append("one", First);
        // The copy is written, and the broker dies before the original is deleted.
        Assert.True(home.Schedule.TryRelease(1));
        SetLevels(home, Hour);
        home.Crash();
        Assert.Equal(1, home.Schedule.PendingCount);
        home.Advance(3 * Hour);
        Assert.Equal(["one"], home.Values());
    }

    private static void SetLevels(DelayHome home, params long[] levelsMs)
    {
        home.Config = home.Config with { DelayLevelsMs = levelsMs };
        home.Log.UpdateConfig(home.Config);
    }

    private static void Restart(DelayHome home, bool isClean)
    {
        if (isClean)
            home.Restart();
        else
            home.Crash();
    }

    private static List<(long Offset, long DelayMs)> Pending(DelayHome home) =>
    [
        .. home.List(new PendingQuery { Limit = 100 })!.Entries
            .Select(static e => (e.Offset, e.DueMs - DelayHome.StartMs)),
    ];
}
