using KBroker.Crash.History;
using KBroker.Crash.Transactions;

namespace KBroker.Crash.Tests;

/// <summary>
/// The transactional check finds what it is there to find: each test makes one good history bad in one way. Two
/// producers write to two topics; a pipeline copies the one topic to a third.
/// </summary>
public sealed class TransactionCheckerTests
{
    private static readonly Place A = new("a", 0);
    private static readonly Place B = new("b", 0);
    private static readonly Place Output = new("out", 0);
    private static readonly PipelineTopics Pipeline = new("pipe", "a", "out", 1);

    private readonly TransactionHistory _history = new();
    private readonly Dictionary<Place, List<FoundRecord>> _all = new() { [A] = [], [B] = [], [Output] = [] };
    private readonly Dictionary<Place, List<FoundRecord>> _committed = new() { [A] = [], [B] = [], [Output] = [] };
    private readonly Dictionary<string, string> _states = new() { ["one"] = "CompleteCommit", ["two"] = "Empty" };
    private readonly Dictionary<(string Group, Place Place), long?> _offsets = [];
    private readonly Dictionary<Place, long> _offsetOf = new() { [A] = 0, [B] = 0, [Output] = 0 };
    private int _sequence;

    public TransactionCheckerTests()
    {
        Commit(1, 0);
        Abort(1, 1);
        Commit(1, 2);
        _offsets[("pipe", A)] = _committed[A][^1].Offset + 1;
        _offsets[("mine", A)] = 2;
    }

    [Fact]
    public void A_good_history_has_no_problem()
    {
        Assert.Empty(Check());
        Assert.Empty(Check());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_commit_without_an_answer_may_end_either_way_and_stays_so(bool isCommit)
    {
        var asked = Send(2, 0, Outcome.CommitAsked, isCommit, A, B);
        Assert.Empty(Check());
        Assert.Equal(isCommit ? Outcome.Committed : Outcome.Aborted, asked.Outcome);
        if (isCommit)
            Hide(asked, A, B);
        else
            Show(asked, A, B);
        AssertFound(isCommit ? "lost: t2/0 was committed" : "aborted record read: t2/0");
    }

    [Fact]
    public void A_commit_without_an_answer_that_holds_in_one_partition_is_torn()
    {
        Hide(Send(2, 0, Outcome.CommitAsked, true, A, B), B);
        AssertFound("torn: t2/0 (CommitAsked)");
    }

    [Fact]
    public void A_commit_that_holds_in_one_partition_is_torn()
    {
        Hide(_history.All[2], B);
        AssertFound("torn: t1/2 (Committed)");
    }

    [Fact]
    public void A_lost_commit_is_found()
    {
        Hide(_history.All[2], A, B);
        AssertFound("lost: t1/2 was committed");
    }

    [Fact]
    public void A_commit_whose_records_are_in_no_log_is_lost()
    {
        var lost = _history.Begin(2, 0);
        _history.Sent(lost, B, new RecordId(2, 0));
        _history.Ended(lost, Outcome.Committed);
        AssertFound("lost: t2/0 was committed");
    }

    [Fact]
    public void An_abort_that_is_read_is_found()
    {
        Show(_history.All[1], A, B);
        AssertFound("aborted record read: t1/1 is Aborted");
    }

    [Fact]
    public void What_nobody_has_committed_and_is_read_is_found()
    {
        Send(2, 0, Outcome.Open, true, B);
        AssertFound("aborted record read: t2/0 is Open");
    }

    [Fact]
    public void A_reader_that_gets_more_than_the_markers_commit_is_found()
    {
        var views = Views();
        views[1] = views[1] with { CommittedByMarkers = views[1].CommittedByMarkers.Skip(1).ToList() };
        Assert.Contains(Run(views), static p => p.Contains("and a marker aborts it", StringComparison.Ordinal));
    }

    [Fact]
    public void A_reader_that_gets_less_than_the_markers_commit_is_found()
    {
        var views = Views();
        views[1] = views[1] with { CommittedByMarkers = views[1].All };
        Assert.Contains(Run(views), static p => p.Contains("and a marker commits it", StringComparison.Ordinal));
    }

    [Fact]
    public void A_duplicate_is_found()
    {
        var record = _committed[B][0] with { Offset = 100 };
        _all[B].Add(record);
        _committed[B].Add(record);
        AssertFound($"duplicated: {record.Id} is at offset {_committed[B][0].Offset} and at 100 of b-0");
    }

    [Fact]
    public void A_duplicate_of_an_aborted_record_is_found()
    {
        var aborted = _all[B].Find(r => !_committed[B].Contains(r)) with { Offset = 100 };
        _all[B].Add(aborted);
        AssertFound($"duplicated: {aborted.Id}");
    }

    [Fact]
    public void A_changed_order_is_found()
    {
        (_all[B][0], _all[B][^1]) = (_all[B][^1], _all[B][0]);
        AssertFound("reordered: ");
    }

    [Fact]
    public void A_record_that_nobody_sent_is_found()
    {
        _all[B].Add(new FoundRecord(100, new RecordId(9, 9)));
        AssertFound("offset 100 of b-0 is p9/9, which nobody sent there");
    }

    [Fact]
    public void A_record_of_another_partition_is_found()
    {
        _all[B].Add(_all[A][0] with { Offset = 100 });
        Assert.Contains(Check(), static p => p.EndsWith("which nobody sent there", StringComparison.Ordinal));
    }

    [Fact]
    public void A_damaged_record_is_found()
    {
        _all[B].Add(new FoundRecord(100, null));
        AssertFound("damaged: the record at offset 100 of b-0");
    }

    [Fact]
    public void What_was_readable_and_is_so_no_more_is_found()
    {
        Assert.Empty(Check());
        var gone = _committed[Output][^1];
        _committed[Output].Remove(gone);
        AssertFound($"lost: {gone.Id} at offset {gone.Offset} of out-0 was readable before");
    }

    [Fact]
    public void An_offset_that_reads_differently_later_is_found()
    {
        Assert.Empty(Check());
        _committed[B][0] = _committed[B][0] with { Id = new RecordId(9, 9) };
        AssertFound($"changed: offset {_committed[B][0].Offset} of b-0");
    }

    [Fact]
    public void A_last_stable_offset_that_does_not_reach_the_end_is_found()
    {
        var views = Views();
        views[1] = views[1] with { LastStableOffset = views[1].HighWatermark - 1 };
        Assert.Contains(Run(views), static p => p.StartsWith("stuck: the last stable offset of b-0", StringComparison.Ordinal));
    }

    [Fact]
    public void Records_without_a_marker_are_found()
    {
        var views = Views();
        views[1] = views[1] with { WithoutMarker = [7] };
        Assert.Contains(Run(views), static p => p.StartsWith("stuck: b-0 has no marker", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("Ongoing")]
    [InlineData("PrepareCommit")]
    [InlineData("PrepareAbort")]
    [InlineData("Dead")]
    public void A_transaction_that_is_left_open_is_found(string state)
    {
        _states["one"] = state;
        AssertFound($"left open: transactional id one is {state}");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(-1)]
    public void An_offset_of_another_transaction_than_the_last_committed_is_found(long offset)
    {
        _offsets[("mine", A)] = offset;
        AssertFound($"offset: group mine has {offset} for a-0, its last committed transaction 2");
    }

    [Fact]
    public void An_offset_that_never_becomes_stable_is_found()
    {
        _offsets[("mine", A)] = null;
        AssertFound("stuck: the offset of a-0 in group mine");
    }

    [Fact]
    public void An_input_that_was_worked_on_twice_is_found()
    {
        _committed[Output].Add(_committed[Output][^1] with { Offset = 100 });
        Assert.Contains(Check(), static p => p.StartsWith("pipeline: out-0 has ", StringComparison.Ordinal));
        AssertFound("duplicated: ");
    }

    [Fact]
    public void An_input_that_was_left_out_is_found()
    {
        _committed[Output].RemoveAt(0);
        AssertFound("pipeline: out-0 has ");
    }

    [Fact]
    public void An_output_in_another_order_is_found()
    {
        var output = _committed[Output];
        (output[0], output[1]) = (output[0] with { Id = output[1].Id }, output[1] with { Id = output[0].Id });
        AssertFound("pipeline: out-0 has ");
    }

    [Fact]
    public void An_output_of_an_input_that_was_aborted_is_found()
    {
        var aborted = _all[A].Find(r => !_committed[A].Contains(r));
        _committed[Output].Add(new FoundRecord(100, PipelineTopics.OutputOf(aborted.Id!.Value)));
        AssertFound("pipeline: out-0 has ");
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    public void A_group_that_stands_elsewhere_than_its_pipeline_is_found(int difference)
    {
        _offsets[("pipe", A)] += difference;
        AssertFound("offset: group pipe has ");
    }

    [Fact]
    public void A_reader_that_gets_an_aborted_record_is_found()
    {
        var aborted = _history.All[1].Records[0];
        Assert.Contains("is Aborted", _history.Read(aborted.Place, 5, aborted.Id), StringComparison.Ordinal);
    }

    [Fact]
    public void A_reader_that_gets_another_record_at_an_offset_is_found()
    {
        var (first, second) = (_history.All[0].Records[0], _history.All[2].Records[0]);
        Assert.Null(_history.Read(first.Place, 5, first.Id));
        Assert.Contains("changed: offset 5", _history.Read(second.Place, 5, second.Id), StringComparison.Ordinal);
    }

    [Fact]
    public void A_reader_that_gets_what_nobody_sent_is_found()
    {
        Assert.NotNull(_history.Read(A, 5, new RecordId(9, 9)));
        Assert.NotNull(_history.Read(A, 5, null));
    }

    [Fact]
    public void A_commit_without_an_answer_that_was_read_and_is_aborted_afterwards_is_found()
    {
        var asked = Send(2, 0, Outcome.CommitAsked, false, B);
        Assert.Null(_history.Read(B, 100, asked.Records[0].Id));
        AssertFound("lost: t2/0 was read");
    }

    private void Commit(int producer, int number) => Send(producer, number, Outcome.Committed, true, A, B).Group = "mine";

    private void Abort(int producer, int number) => Send(producer, number, Outcome.Aborted, false, A, B).Group = "mine";

    /// <summary>Two records for each partition; what is readable of the pipeline's input goes to its output.</summary>
    private SentTransaction Send(int producer, int number, Outcome outcome, bool isReadable, params Place[] places)
    {
        var transaction = _history.Begin(producer, number);
        foreach (var place in places.Concat(places))
        {
            var id = new RecordId(producer, _sequence++);
            _history.Sent(transaction, place, id);
            _all[place].Add(new FoundRecord(_offsetOf[place]++, id));
        }

        foreach (var place in places)
            _offsetOf[place]++;
        _history.Ended(transaction, outcome);
        if (isReadable)
            Show(transaction, places);
        return transaction;
    }

    private void Show(SentTransaction transaction, params Place[] places)
    {
        foreach (var (place, id) in transaction.Records.Where(r => places.Contains(r.Place)))
        {
            _committed[place].Add(_all[place].Find(r => r.Id == id));
            if (place == A)
                _committed[Output].Add(new FoundRecord(_offsetOf[Output]++, PipelineTopics.OutputOf(id)));
        }

        _committed[A].Sort(static (x, y) => x.Offset.CompareTo(y.Offset));
        if (_offsets.ContainsKey(("pipe", A)))
            _offsets[("pipe", A)] = _committed[A][^1].Offset + 1;
    }

    private void Hide(SentTransaction transaction, params Place[] places)
    {
        foreach (var (place, id) in transaction.Records.Where(r => places.Contains(r.Place)))
            _committed[place].RemoveAll(r => r.Id == id);
    }

    private void AssertFound(string start)
    {
        var problems = Check();
        Assert.True(
            problems.Exists(p => p.StartsWith(start, StringComparison.Ordinal)),
            $"no '{start}' in:\n{string.Join('\n', problems)}");
    }

    private List<string> Check() => Run(Views());

    private List<string> Run(List<PartitionView> views) =>
        new TransactionCheck(_history, views, new CoordinatorView(_states, _offsets), [Pipeline]).Run();

    private List<PartitionView> Views() =>
    [
        .. _all.Keys.Select(place => new PartitionView(place)
        {
            HighWatermark = _offsetOf[place],
            LastStableOffset = _offsetOf[place],
            All = [.. _all[place]],
            Committed = [.. _committed[place]],
            CommittedByMarkers = [.. _committed[place]],
        }),
    ];
}
