using KBroker.Crash.History;

namespace KBroker.Crash.Tests;

/// <summary>The checker finds what it is there to find: each test makes one good history bad in one way.</summary>
public sealed class CheckerTests
{
    private const int Producer = 1;
    private readonly PartitionHistory _history = new("topic-0", Losses.None);

    [Fact]
    public void A_good_history_has_no_problem()
    {
        Acknowledge(0, 10);
        Assert.Empty(_history.Check(Found(0, 10)));
    }

    [Fact]
    public void A_record_without_acknowledgement_may_be_there_or_not()
    {
        Acknowledge(0, 10);
        Send(10);
        Assert.Empty(_history.Check(Found(0, 10)));
        Assert.Empty(_history.Check(Found(0, 11)));
    }

    [Fact]
    public void A_lost_tail_is_found()
    {
        Acknowledge(0, 10);
        _history.BrokerDied();
        Assert.Contains(_history.Check(Found(0, 9)), p => p.StartsWith("lost: p1/9 (acknowledged)", StringComparison.Ordinal));
    }

    [Fact]
    public void A_lost_tail_whose_offset_was_given_again_is_found()
    {
        Acknowledge(0, 10);
        Send(10);
        var found = Found(0, 9);
        var records = found.Records.Append(new FoundRecord(9, Id(10))).ToList();
        var problems = _history.Check(found with { Records = records, EndOffset = 10 });
        Assert.Contains(problems, p => p.StartsWith("changed: offset 9 was p1/9", StringComparison.Ordinal));
    }

    [Fact]
    public void A_hole_is_found()
    {
        Acknowledge(0, 10);
        var found = Found(0, 10);
        Assert.Contains(
            _history.Check(found with { Records = [.. found.Records.Where(r => r.Offset != 4)] }),
            p => p.StartsWith("lost: no record from offset 4 to 4", StringComparison.Ordinal));
    }

    [Fact]
    public void A_hole_where_nothing_was_acknowledged_is_found()
    {
        for (var i = 0; i < 10; i++)
            Send(i);
        var found = Found(0, 10);
        Assert.NotEmpty(_history.Check(found with { Records = [.. found.Records.Where(r => r.Offset != 4)] }));
    }

    [Fact]
    public void An_end_behind_the_last_record_is_found()
    {
        Acknowledge(0, 10);
        Assert.Contains(
            _history.Check(Found(0, 10) with { EndOffset = 12 }),
            p => p.StartsWith("lost: the log ends with 12", StringComparison.Ordinal));
    }

    [Fact]
    public void A_duplicate_is_found()
    {
        Acknowledge(0, 10);
        var found = Found(0, 10);
        Assert.Contains(
            _history.Check(found with { Records = [.. found.Records, new FoundRecord(10, Id(9))], EndOffset = 11 }),
            p => p.StartsWith("duplicated: p1/9", StringComparison.Ordinal));
    }

    [Fact]
    public void A_changed_order_is_found()
    {
        for (var i = 0; i < 3; i++)
            Send(i);
        var records = new[] { new FoundRecord(0, Id(1)), new FoundRecord(1, Id(0)), new FoundRecord(2, Id(2)) };
        Assert.Contains(
            _history.Check(new Observation(0, 0, 3, records)),
            p => p.StartsWith("reordered: p1/0", StringComparison.Ordinal));
    }

    [Fact]
    public void A_record_that_its_producer_gave_up_may_come_late()
    {
        var late = Send(0);
        Send(1);
        Send(2);
        late.IsGivenUp = true;
        var records = new[] { new FoundRecord(0, Id(1)), new FoundRecord(1, Id(0)), new FoundRecord(2, Id(2)) };
        Assert.Empty(_history.Check(new Observation(0, 0, 3, records)));
    }

    [Fact]
    public void A_record_that_nobody_sent_is_found()
    {
        Acknowledge(0, 3);
        Assert.Contains(_history.Check(Found(0, 4)), p => p.Contains("nobody sent", StringComparison.Ordinal));
    }

    [Fact]
    public void A_damaged_record_is_found()
    {
        Acknowledge(0, 3);
        var value = Id(2).ToValue();
        value[^1] ^= 1;
        Assert.Null(RecordId.FromValue(value));
        var found = Found(0, 2);
        Assert.Contains(
            _history.Check(found with { Records = [.. found.Records, new FoundRecord(2, null)], EndOffset = 3 }),
            p => p.StartsWith("damaged", StringComparison.Ordinal));
    }

    [Fact]
    public void A_record_that_reads_differently_later_is_found()
    {
        for (var i = 0; i < 2; i++)
            Send(i);
        Assert.Null(_history.Read(new FoundRecord(0, Id(0)), era: 0));
        Assert.NotNull(_history.Read(new FoundRecord(0, Id(1)), era: 0));
    }

    [Fact]
    public void A_log_start_that_moves_back_is_found()
    {
        var history = Trimmed(5);
        Assert.Empty(history.Check(Found(5, 10)));
        Assert.Contains(
            history.Check(Found(3, 10)),
            p => p.StartsWith("the log start moved back from 5 to 3", StringComparison.Ordinal));
    }

    [Fact]
    public void A_log_start_that_nobody_moved_is_found()
    {
        Acknowledge(0, 10);
        Assert.Contains(_history.Check(Found(2, 10)), p => p.StartsWith("lost: the log starts at 2", StringComparison.Ordinal));
        Assert.NotEmpty(Trimmed(5).Check(Found(6, 10)));
    }

    [Fact]
    public void Retention_may_move_the_start_even_while_the_log_is_read()
    {
        var history = new PartitionHistory("retained-0", Losses.Retention);
        Acknowledge(history, 0, 10);
        var found = Found(2, 10);
        Assert.Empty(history.Check(found));
        var records = found.Records.Where(r => r.Offset is < 4 or >= 7).ToList();
        Assert.Empty(history.Check(new Observation(2, 7, 10, records)));
        Assert.NotEmpty(history.Check(new Observation(2, 6, 10, records)));
    }

    [Fact]
    public void After_a_power_cut_only_what_is_not_safe_may_be_gone()
    {
        Acknowledge(0, 5);
        var loose = Send(5, acksAll: false);
        Assert.Null(_history.Acked(loose, 5));
        Send(6);
        Assert.Null(_history.Read(new FoundRecord(6, Id(6)), era: 0));
        _history.PowerCut();
        _history.BrokerDied();
        Assert.Empty(_history.Check(Found(0, 5)));
        Assert.Contains(_history.Check(Found(0, 4)), p => p.StartsWith("lost: p1/4", StringComparison.Ordinal));
    }

    [Fact]
    public void After_a_kill_what_was_acknowledged_without_a_flush_is_still_there()
    {
        var loose = Send(0, acksAll: false);
        Assert.Null(_history.Acked(loose, 0));
        _history.BrokerDied();
        Assert.NotEmpty(_history.Check(new Observation(0, 0, 0, [])));
    }

    [Fact]
    public void An_offset_acknowledged_twice_is_found()
    {
        Acknowledge(0, 3);
        Assert.NotNull(_history.Acked(Send(3), 2));
    }

    private static RecordId Id(int sequence) => new(Producer, sequence);

    private SentRecord Send(int sequence, bool acksAll = true) => _history.Sent(Id(sequence), acksAll);

    private void Acknowledge(int from, int to) => Acknowledge(_history, from, to);

    private static void Acknowledge(PartitionHistory history, int from, int to)
    {
        for (var i = from; i < to; i++)
            Assert.Null(history.Acked(history.Sent(Id(i), acksAll: true), i));
    }

    private static PartitionHistory Trimmed(long offset)
    {
        var history = new PartitionHistory("trimmed-0", Losses.DeleteRecords);
        Acknowledge(history, 0, 10);
        history.TrimAsked(offset);
        history.StartSeen(offset);
        return history;
    }

    /// <summary>What is found when the n-th record is at offset n.</summary>
    private static Observation Found(long start, long end) => new(
        start, start, end, [.. Enumerable.Range((int)start, (int)(end - start)).Select(i => new FoundRecord(i, Id(i)))]);
}
