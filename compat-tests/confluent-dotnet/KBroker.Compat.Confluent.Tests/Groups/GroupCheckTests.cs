using KBroker.Storm.History;

namespace KBroker.Compat.Confluent.Tests.Groups;

/// <summary>The check of a group's history finds what it is there to find.</summary>
public sealed class GroupCheckTests
{
    private readonly List<GroupEvent> _events = [];
    private int _time;

    [Fact]
    public void A_handover_in_good_order_is_sound()
    {
        Happens("a", EventKind.Assigned, 1);
        Happens("a", EventKind.Processed, from: 0, to: 10);
        Happens("a", EventKind.Committed, to: 10);
        Happens("a", EventKind.Revoked);
        Happens("b", EventKind.Assigned, 2);
        Happens("b", EventKind.Processed, from: 10, to: 20);
        Happens("b", EventKind.Committed, to: 20);
        Assert.Empty(GroupCheck.All(_events));
        Assert.Empty(GroupCheck.CommitsLost(_events, Offset(20)));
        Assert.Empty(GroupCheck.NotProcessed(_events, Offset(20)));
    }

    [Fact]
    public void A_partition_given_away_before_it_was_given_back_is_found()
    {
        Happens("a", EventKind.Assigned, 1);
        Happens("b", EventKind.Assigned, 2);
        Happens("a", EventKind.Revoked);
        Assert.Single(GroupCheck.OwnedTwice(_events));
    }

    [Fact]
    public void A_partition_that_nobody_ever_gave_back_is_found()
    {
        Happens("a", EventKind.Assigned, 1);
        Happens("b", EventKind.Assigned, 2);
        Assert.Single(GroupCheck.OwnedTwice(_events));
    }

    [Theory]
    [InlineData((int)EventKind.Lost)]
    [InlineData((int)EventKind.Killed)]
    public void Who_was_thrown_out_or_killed_need_not_give_back(int end)
    {
        Happens("a", EventKind.Assigned, 1);
        Happens("b", EventKind.Assigned, 2);
        Happens("a", (EventKind)end);
        Assert.Empty(GroupCheck.OwnedTwice(_events));
    }

    [Fact]
    public void Two_owners_in_a_generation_are_found_also_when_one_was_thrown_out()
    {
        Happens("a", EventKind.Assigned, 3, note: GroupCheck.ClassicNote);
        Happens("a", EventKind.Lost);
        Happens("b", EventKind.Assigned, 3, note: GroupCheck.ClassicNote);
        Assert.Single(GroupCheck.OwnedTwiceInAGeneration(_events));
    }

    [Fact]
    public void A_static_member_under_another_name_is_the_same_owner()
    {
        Happens("a", EventKind.Assigned, 3, note: $"{GroupCheck.ClassicNote}:one");
        Happens("a", EventKind.Left);
        Happens("b", EventKind.Assigned, 3, note: $"{GroupCheck.ClassicNote}:one");
        Assert.Empty(GroupCheck.All(_events));
    }

    [Fact]
    public void A_start_below_a_commit_is_found()
    {
        Happens("a", EventKind.Committed, to: 10);
        Happens("b", EventKind.Assigned, 2);
        Happens("b", EventKind.Processed, from: 9, to: 12);
        Assert.Single(GroupCheck.ReadBelowACommit(_events));
    }

    [Fact]
    public void A_commit_after_the_assignment_may_be_above_the_start()
    {
        Happens("b", EventKind.Assigned, 2);
        Happens("a", EventKind.Committed, to: 10);
        Happens("b", EventKind.Processed, from: 9, to: 12);
        Assert.Empty(GroupCheck.ReadBelowACommit(_events));
    }

    [Fact]
    public void A_commit_of_somebody_who_is_not_the_owner_any_more_is_found()
    {
        Happens("a", EventKind.Committed, to: 10);
        Happens("b", EventKind.Committed, to: 20);
        Happens("a", EventKind.Committed, to: 12);
        Assert.Single(GroupCheck.CommitsThatWentBack(_events));
    }

    [Fact]
    public void A_lost_commit_and_a_record_nobody_worked_on_are_found()
    {
        Happens("a", EventKind.Processed, from: 0, to: 4);
        Happens("a", EventKind.Processed, from: 5, to: 10);
        Happens("a", EventKind.Committed, to: 10);
        Assert.Single(GroupCheck.CommitsLost(_events, Offset(9)));
        Assert.Single(GroupCheck.CommitsLost(_events, new Dictionary<(string, int), long>()));
        Assert.Contains("at 4,", Assert.Single(GroupCheck.NotProcessed(_events, Offset(10))), StringComparison.Ordinal);
        Assert.Contains("at 10,", GroupCheck.NotProcessed([_events[0], Span(4, 10)], Offset(11)).Single(), StringComparison.Ordinal);
    }

    [Fact]
    public void An_event_comes_back_from_its_line_and_a_torn_line_does_not()
    {
        var happened = new GroupEvent(5, 7, "m", EventKind.Committed, 3, [new("t", 1, -1, 9), new("u", 0, 2, 4)], "note");
        var parsed = GroupEvent.Parse(happened.ToString());
        Assert.Equal(happened.ToString(), parsed.ToString());
        Assert.Equal(happened.Spans, parsed.Spans);
        Assert.Throws<FormatException>(() => GroupEvent.Parse(happened.ToString()[..^3]));
    }

    private static Dictionary<(string, int), long> Offset(long offset) => new() { [("t", 0)] = offset };

    private static GroupEvent Span(long from, long to) => new(99, 99, "a", EventKind.Processed, -1, [new("t", 0, from, to)]);

    /// <summary>Each event takes one tick, and the next begins after it.</summary>
    private void Happens(
        string member, EventKind kind, int generation = -1, long from = -1, long to = -1, string note = "-")
    {
        _time += 2;
        _events.Add(new GroupEvent(_time, _time + 1, member, kind, generation, [new("t", 0, from, to)], note));
    }
}
