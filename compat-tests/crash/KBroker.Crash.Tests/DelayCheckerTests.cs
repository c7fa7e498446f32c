using KBroker.Crash.Delays;
using KBroker.Crash.History;
using KBroker.Crash.Transactions;
using KBroker.Protocol.Records.Delivery;

namespace KBroker.Crash.Tests;

/// <summary>
/// The check of delayed records finds what it is there to find: each test makes one good history bad in one way.
/// </summary>
public sealed class DelayCheckerTests
{
    private const long StartMs = 1_700_000_000_000;
    private const long NowMs = StartMs + 100_000;
    private const long Producer = 7;
    private static readonly Place A = new("a", 0);
    private static readonly Place B = new("b", 0);

    private readonly List<DelaySent> _sent = [];
    private readonly Dictionary<Place, List<DelayFound>> _found = new() { [A] = [], [B] = [] };
    private readonly Dictionary<Place, List<DelayMarker>> _markers = new() { [A] = [], [B] = [] };
    private readonly DelaySent _plain;
    private readonly DelaySent _delayed;
    private readonly DelaySent _committed;
    private bool _hasGap;
    private int _sequence;

    public DelayCheckerTests()
    {
        _plain = Send(DelayKind.Plain, 0);
        Show(_plain, 0);
        _delayed = Send(DelayKind.Delayed, 1, dueMs: StartMs + 5_000);
        Deliver(_delayed, 10);
        var transaction = new SentTransaction(1, 0) { Outcome = Outcome.Committed };
        _committed = Send(DelayKind.Delayed, 2, dueMs: StartMs + 5_000, transaction: transaction);
        _markers[A].Add(new DelayMarker(5, Producer, IsCommit: true));
        Deliver(_committed, 11);
    }

    [Fact]
    public void A_good_history_has_no_problem() => AssertGood();

    [Fact]
    public void What_is_not_due_yet_need_not_be_there()
    {
        Send(DelayKind.Delayed, 20, dueMs: NowMs + 1);
        AssertGood();
    }

    [Fact]
    public void What_is_due_and_not_there_is_lost()
    {
        _found[A].RemoveAll(r => r.Id == _delayed.Id);
        AssertFound("lost: a-0: p1/1");
    }

    [Fact]
    public void A_plain_record_that_is_not_there_is_lost()
    {
        _found[A].RemoveAll(r => r.Id == _plain.Id);
        AssertFound("lost: a-0: p1/0");
    }

    [Fact]
    public void A_committed_record_that_is_not_there_is_lost()
    {
        _found[A].RemoveAll(r => r.Id == _committed.Id);
        AssertFound("lost: a-0: p1/2");
    }

    [Fact]
    public void Where_something_was_deleted_unread_nothing_is_missed()
    {
        _found[A].RemoveAll(r => r.Id == _delayed.Id);
        _hasGap = true;
        AssertGood();
    }

    [Fact]
    public void A_second_delivery_is_found()
    {
        Deliver(_delayed, 12);
        AssertFound("duplicated: a-0: p1/1");
    }

    [Fact]
    public void A_plain_record_that_is_there_twice_is_found()
    {
        Show(_plain, 12);
        AssertFound("duplicated: a-0: p1/0");
    }

    [Fact]
    public void A_delivery_whose_timestamp_is_before_its_instant_is_found()
    {
        Change(_delayed, r => r with { TimestampMs = _delayed.DueLeastMs - 1 });
        AssertFound("early: a-0 offset 10");
    }

    [Fact]
    public void A_delivery_that_a_reader_has_before_its_instant_is_found()
    {
        Change(_delayed, r => r with { SeenMs = _delayed.DueLeastMs - 1 });
        AssertFound("early: a-0 offset 10");
    }

    [Fact]
    public void A_hidden_record_that_is_visible_is_found()
    {
        var hidden = Send(DelayKind.Delayed, 20, dueMs: NowMs + 1_000);
        Show(hidden, 20);
        AssertFound("hidden visible: a-0 offset 20");
    }

    [Fact]
    public void A_hidden_record_that_becomes_visible_when_it_is_due_is_found()
    {
        Change(_delayed, r => r with { Offset = 1, OriginOffset = -1 });
        AssertFound("hidden visible: a-0 offset 1");
    }

    [Fact]
    public void What_was_due_when_it_came_may_be_visible_where_it_is()
    {
        var late = Send(DelayKind.Delayed, 20, dueMs: StartMs - 1);
        Show(late, 20);
        AssertGood();
    }

    [Fact]
    public void A_cancel_that_is_visible_is_found()
    {
        Show(Cancel(_delayed, 12), 12);
        AssertFound("command visible: a-0 offset 12");
    }

    [Fact]
    public void A_cancel_behind_the_delivery_is_none()
    {
        Cancel(_delayed, 12);
        AssertGood();
    }

    [Fact]
    public void A_delivery_behind_the_cancel_is_found()
    {
        Cancel(_delayed, 9);
        AssertFound("cancelled: a-0 offset 10");
    }

    [Fact]
    public void What_was_cancelled_need_not_be_there()
    {
        Cancel(_delayed, 9);
        _found[A].RemoveAll(r => r.Id == _delayed.Id);
        AssertGood();
    }

    [Fact]
    public void A_cancel_without_an_answer_leaves_both_open()
    {
        Cancel(_delayed, -1);
        AssertGood();
        _found[A].RemoveAll(r => r.Id == _delayed.Id);
        AssertGood();
    }

    [Fact]
    public void A_cancel_of_an_aborted_transaction_is_none()
    {
        Cancel(_delayed, 3, new SentTransaction(1, 9) { Outcome = Outcome.Aborted }, producerId: 8);
        _markers[A].Add(new DelayMarker(4, 8, IsCommit: false));
        AssertGood();
        _found[A].RemoveAll(r => r.Id == _delayed.Id);
        AssertFound("lost: a-0: p1/1");
    }

    [Theory]
    [InlineData(9, true)]
    [InlineData(12, false)]
    public void A_cancel_in_a_transaction_is_in_force_from_its_marker_on(long marker, bool isBefore)
    {
        Cancel(_delayed, 3, new SentTransaction(1, 9) { Outcome = Outcome.Committed }, producerId: 8);
        _markers[A].Add(new DelayMarker(marker, 8, IsCommit: true));
        if (isBefore)
            AssertFound("cancelled: a-0 offset 10");
        else
            AssertGood();
    }

    [Fact]
    public void An_aborted_record_that_is_delivered_is_found()
    {
        var aborted = Send(
            DelayKind.Delayed, 20, StartMs + 1, new SentTransaction(1, 5) { Outcome = Outcome.Aborted });
        _markers[A].Add(new DelayMarker(21, Producer, IsCommit: false));
        AssertGood();
        Deliver(aborted, 30);
        AssertFound("aborted: a-0 offset 30");
    }

    [Fact]
    public void A_delivery_before_its_commit_is_found()
    {
        _markers[A][0] = _markers[A][0] with { Offset = 12 };
        AssertFound("uncommitted: a-0 offset 11");
    }

    [Fact]
    public void A_marker_that_says_another_end_is_found()
    {
        _markers[A][0] = _markers[A][0] with { IsCommit = false };
        AssertFound("torn: a-0: p1/2");
    }

    [Fact]
    public void A_transaction_without_an_end_is_found()
    {
        _markers[A].Clear();
        AssertFound("no marker of producer id 7");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_commit_without_an_answer_ends_as_the_first_marker_says(bool isCommit)
    {
        var asked = new SentTransaction(1, 5) { Outcome = Outcome.CommitAsked };
        var first = Send(DelayKind.Delayed, 20, StartMs + 1, asked);
        _markers[A].Add(new DelayMarker(21, Producer, isCommit));
        if (isCommit)
            Deliver(first, 30);
        AssertGood();
        Assert.Equal(isCommit ? Outcome.Committed : Outcome.Aborted, asked.Outcome);
        var second = Send(DelayKind.Delayed, 20, StartMs + 1, asked, B);
        _markers[B].Add(new DelayMarker(21, Producer, !isCommit));
        if (!isCommit)
            Deliver(second, 30);
        AssertFound("torn: b-0");
    }

    [Fact]
    public void A_copy_of_another_offset_is_found()
    {
        Change(_delayed, static r => r with { OriginOffset = 2 });
        AssertFound("origin: a-0 offset 10");
    }

    [Fact]
    public void A_copy_that_tells_another_time_is_found()
    {
        Change(_delayed, static r => r with { OriginTimestampMs = StartMs + 1 });
        AssertFound("origin: a-0 offset 10");
    }

    [Fact]
    public void A_copy_with_a_request_is_found()
    {
        Change(_delayed, static r => r with { HasRequest = true });
        AssertFound("headers: a-0 offset 10");
    }

    [Fact]
    public void A_copy_without_its_key_or_header_is_found()
    {
        Change(_delayed, static r => r with { Key = null });
        AssertFound("damaged: a-0 offset 10");
        Change(_delayed, r => r with { Key = DelayBatches.KeyOf(_delayed.Id), UserHeader = "p1/0" });
        AssertFound("damaged: a-0 offset 10");
    }

    [Fact]
    public void A_damaged_value_is_found()
    {
        Change(_delayed, static r => r with { Id = null });
        AssertFound("damaged: a-0 offset 10");
    }

    [Fact]
    public void A_copy_of_a_plain_record_is_found()
    {
        Change(_plain, static r => r with { Offset = 20, OriginOffset = 0, OriginTimestampMs = StartMs });
        AssertFound("copied: a-0 offset 20");
    }

    [Fact]
    public void A_record_of_another_partition_is_found()
    {
        _found[B].Add(_found[A][0]);
        AssertFound("unknown: b-0 offset 0");
    }

    [Fact]
    public void A_record_at_another_offset_is_found()
    {
        Change(_plain, static r => r with { Offset = 3 });
        AssertFound("moved: a-0 offset 3");
    }

    [Fact]
    public void What_changes_between_two_readings_is_found()
    {
        var view = new DelayView(A);
        Assert.Empty(view.Take(Stretch(0, 12, _found[A])));
        Assert.Empty(view.Take(Stretch(0, 12, _found[A])));
        Assert.Contains(
            view.Take(Stretch(0, 12, [.. _found[A].Select(static r => r with { TimestampMs = 1 })])),
            static p => p.StartsWith("changed: a-0", StringComparison.Ordinal));
        Assert.Contains(
            view.Take(Stretch(0, 12, _found[A][1..])), static p => p.StartsWith("lost: a-0", StringComparison.Ordinal));
        Assert.Contains(
            view.Take(Stretch(0, 12, [.. _found[A], _found[A][0] with { Offset = 4 }])),
            static p => p.StartsWith("appeared: a-0", StringComparison.Ordinal));
        Assert.Contains(
            view.Take(Stretch(14, 15, [])), static p => p.StartsWith("skipped: a-0", StringComparison.Ordinal));
    }

    [Fact]
    public void Only_what_nobody_had_read_before_it_was_deleted_is_a_gap()
    {
        var view = new DelayView(A);
        view.Take(Stretch(0, 12, _found[A]));
        view.StartsAt(11);
        Assert.False(view.HasGap);
        view.StartsAt(13);
        Assert.True(view.HasGap);
        Assert.Equal((13, 3), (view.ReadTo, view.Records.Count));
    }

    [Fact]
    public void After_a_power_cut_only_what_was_deleted_before_is_still_known()
    {
        var view = new DelayView(A);
        view.Take(Stretch(0, 12, _found[A]));
        view.PowerCut();
        Assert.Equal((0, 0), (view.ReadTo, view.Records.Count));
        view.StartsAt(10);
        Assert.Equal([0L], view.Records.Select(static r => r.Offset));
        Assert.Equal([5L], view.Markers.Select(static r => r.Offset));
        // What lies behind may be something else now.
        Assert.Empty(view.Take(Stretch(10, 12, [_found[A][1] with { TimestampMs = NowMs }])));
        view.StartsAt(12);
        Assert.Equal([0L, 10L], view.Records.Select(static r => r.Offset));
        Assert.False(view.HasGap);
    }

    private DelayStretch Stretch(long from, long next, IReadOnlyList<DelayFound> records) =>
        new(from, next, next, records, _markers[A]);

    private DelaySent Send(
        DelayKind kind, long offset, long dueMs = 0, SentTransaction? transaction = null, Place? place = null)
    {
        var sent = new DelaySent(place ?? A, new RecordId(1, _sequence++), kind)
        {
            Request = kind == DelayKind.Delayed ? (DeliveryHeaders.DeliverAt, dueMs) : null,
            TimestampMs = StartMs,
            DueLeastMs = dueMs,
            Transaction = transaction,
            ProducerId = transaction is null ? -1 : Producer,
        };
        sent.Acked(offset, StartMs + 1);
        _sent.Add(sent);
        return sent;
    }

    private DelaySent Cancel(
        DelaySent target, long offset, SentTransaction? transaction = null, long producerId = -1)
    {
        var sent = new DelaySent(A, new RecordId(1, _sequence++), DelayKind.Cancel)
        {
            Request = (DeliveryHeaders.Cancel, target.Offset),
            TimestampMs = StartMs,
            Target = target,
            Transaction = transaction,
            ProducerId = producerId,
        };
        if (offset >= 0)
            sent.Acked(offset, StartMs + 1);
        _sent.Add(sent);
        return sent;
    }

    private void Show(DelaySent sent, long offset) => _found[sent.Place].Add(new DelayFound(offset, sent.Id)
    {
        Key = DelayBatches.KeyOf(sent.Id),
        UserHeader = sent.Id.ToString(),
        TimestampMs = StartMs,
        HasRequest = sent.Request is not null,
        SeenMs = NowMs,
    });

    private void Deliver(DelaySent sent, long offset) => _found[sent.Place].Add(new DelayFound(offset, sent.Id)
    {
        Key = DelayBatches.KeyOf(sent.Id),
        UserHeader = sent.Id.ToString(),
        TimestampMs = sent.DueLeastMs,
        OriginOffset = sent.Offset,
        OriginTimestampMs = StartMs,
        SeenMs = sent.DueLeastMs,
    });

    private void Change(DelaySent sent, Func<DelayFound, DelayFound> change)
    {
        var at = _found[A].FindIndex(r => r.Id == sent.Id);
        _found[A][at] = change(_found[A][at]);
    }

    private List<string> Run() => new DelayCheck(
        _sent,
        [.. _found.Select(f => new DelayPartition(f.Key, f.Value, _markers[f.Key], _hasGap))],
        NowMs).Run();

    private void AssertGood() => Assert.Empty(Run());

    private void AssertFound(string problem) =>
        Assert.Contains(Run(), p => p.Contains(problem, StringComparison.Ordinal));
}
