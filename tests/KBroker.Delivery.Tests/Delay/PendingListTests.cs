using KBroker.Delivery.Delay;
using KBroker.Protocol.Records;

namespace KBroker.Delivery.Tests.Delay;

/// <summary>What a schedule tells of itself: near entries, far ones in memory, and files.</summary>
public sealed class PendingListTests
{
    [Fact]
    public void Pending_records_are_listed_soonest_first_with_their_numbers()
    {
        using var home = new DelayHome();
        home.Append("three", DelayHome.After(3000));
        home.Append("one", DelayHome.After(1000));
        home.Append("visible");
        home.Append("another one", DelayHome.After(1000));
        var list = home.List(new PendingQuery { Limit = 10 })!;
        Assert.Equal(
            [Entry(1, 1000), Entry(3, 1000), Entry(0, 3000)],
            list.Entries);
        Assert.Equal((3L, DelayHome.StartMs + 1000, 4L), (list.Count, list.NextDueMs, list.UpToOffset));
        Assert.Null(list.Next);
        home.Advance(1000);
        list = home.List(new PendingQuery { Limit = 10 })!;
        Assert.Equal([Entry(0, 3000)], list.Entries);
        home.Advance(2000);
        list = home.List(new PendingQuery { Limit = 10 })!;
        Assert.Equal((0L, null), (list.Count, list.NextDueMs));
        Assert.Empty(list.Entries);
    }

    /// <summary>With room for 16 near and 16 far entries in memory, nearly all of a thousand are in files.</summary>
    [Theory]
    [InlineData(7, 100_000)]
    [InlineData(1, 100_000)]
    [InlineData(5_000, 100_000)]
    [InlineData(1_000, 3)]
    public void Page_by_page_all_of_it_comes_from_memory_and_from_files(int limit, int scanMax)
    {
        using var home = new DelayHome(nearMax: 16, farMax: 16, queryScanMax: scanMax);
        var random = new Random(7);
        var expected = new List<PendingEntry>();
        for (var i = 0; i < 1000; i++)
        {
            // Many are due at the same instant.
            var delay = 1000 * random.Next(1, 100);
            expected.Add(Entry(home.Append($"{i}", DelayHome.After(delay)), delay));
        }

        foreach (var cancelled in expected.Where(static e => e.Offset % 10 == 3).ToList())
        {
            home.Append("", DelayHome.Cancel(cancelled.Offset));
            expected.Remove(cancelled);
        }

        expected = [.. expected.OrderBy(static e => e.DueMs).ThenBy(static e => e.Offset)];
        Assert.Equal(expected, Pages(home, new PendingQuery { Limit = limit }));
        var from = DelayHome.StartMs + 50_000;
        Assert.Equal(
            expected.Where(e => e.DueMs >= from), Pages(home, new PendingQuery { Limit = limit, FromMs = from }));
        home.Advance(20_000);
        home.Restart();
        expected.RemoveAll(static e => e.DueMs <= DelayHome.StartMs + 20_000);
        Assert.Equal(expected, Pages(home, new PendingQuery { Limit = limit }));
        Assert.Equal(expected.Count, home.List(new PendingQuery())!.Count);
    }

    [Fact]
    public void Single_records_are_found_wherever_they_are()
    {
        using var home = new DelayHome(nearMax: 16, farMax: 16);
        for (var i = 0; i < 500; i++)
            home.Append($"{i}", DelayHome.After(1000 + i));
        home.Append("", DelayHome.Cancel(498));
        home.Append("visible");
        var asked = new PendingQuery { Offsets = [400, 3, 498, 500, 501, 77_777, -1], Limit = 10 };
        Assert.Equal([Entry(3, 1003), Entry(400, 1400)], home.List(asked)!.Entries);
        var first = home.List(asked with { Limit = 1 })!;
        Assert.Equal([Entry(3, 1003)], first.Entries);
        Assert.Equal((DelayHome.StartMs + 1400, 400), first.Next);
        home.Advance(1003);
        Assert.Equal([Entry(400, 1400)], home.List(asked)!.Entries);
        home.Crash();
        Assert.Equal([Entry(400, 1400)], home.List(asked)!.Entries);
    }

    [Fact]
    public void A_record_that_was_carried_forward_keeps_its_offset_and_tells_where_it_lies()
    {
        using var home = new DelayHome();
        home.Append("kept", DelayHome.After(1000));
        home.Append("plain");
        home.Partition.DeleteRecords(-1, out _);
        Assert.Equal([new PendingEntry(0, DelayHome.StartMs + 1000, 2)], home.List(new() { Limit = 5 })!.Entries);
        Assert.Equal(
            [new PendingEntry(0, DelayHome.StartMs + 1000, 2)],
            home.List(new() { Limit = 5, Offsets = [0, 1, 2] })!.Entries);
    }

    [Fact]
    public void Records_of_a_transaction_are_pending_when_it_commits()
    {
        using var home = new DelayHome();
        var options = new RecordBatchOptions
        {
            ProducerId = 7,
            ProducerEpoch = 0,
            BaseSequence = 0,
            IsTransactional = true,
        };
        home.Append(options, ("one", DelayHome.After(1000)));
        Assert.Equal(0, home.List(new PendingQuery())!.Count);
        Assert.Empty(home.List(new PendingQuery { Offsets = [0], Limit = 1 })!.Entries);
        home.Mark(7, isCommit: true);
        Assert.Equal([Entry(0, 1000)], home.List(new PendingQuery { Limit = 1 })!.Entries);
    }

    [Fact]
    public void A_record_is_found_and_cancelled_also_when_its_level_has_another_time_by_now()
    {
        using var home = new DelayHome();
        var one = home.Append("one", ("kbroker-delay-level", "1"));
        home.Append("two", ("kbroker-delay-level", "2"));
        home.Config = home.Config with { DelayLevelsMs = [60_000, 70_000] };
        home.Log.UpdateConfig(home.Config);
        Assert.Equal([Entry(0, 1000)], home.List(new() { Limit = 5, Offsets = [one] })!.Entries);
        home.Append("", DelayHome.Cancel(one));
        Assert.Equal([Entry(1, 5000)], home.List(new() { Limit = 5 })!.Entries);
        home.Advance(100_000);
        Assert.Equal(["two"], home.Values());
    }

    [Fact]
    public async Task A_schedule_that_has_stopped_or_does_not_lead_tells_nothing()
    {
        using var home = new DelayHome();
        home.Append("one", DelayHome.After(1000));
        home.Partition.Stop();
        Assert.Null(home.List(new PendingQuery { Limit = 1 }));
        await home.Schedule.StopAsync();
        Assert.Null(home.List(new PendingQuery { Limit = 1 }));
    }

    private static PendingEntry Entry(long offset, long delayMs) =>
        new(offset, DelayHome.StartMs + delayMs, offset);

    private static List<PendingEntry> Pages(DelayHome home, PendingQuery query)
    {
        var all = new List<PendingEntry>();
        for (PendingQuery? page = query; page is not null;)
        {
            var list = home.List(page)!;
            Assert.True(list.Entries.Count <= query.Limit);
            all.AddRange(list.Entries);
            page = list.Next is var (fromMs, fromOffset)
                ? query with { FromMs = fromMs, FromOffset = fromOffset }
                : null;
        }

        return all;
    }
}
