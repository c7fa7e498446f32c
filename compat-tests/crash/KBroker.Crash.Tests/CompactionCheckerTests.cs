using KBroker.Crash.History;

namespace KBroker.Crash.Tests;

/// <summary>What compaction may take away, and what must not come back.</summary>
public sealed class CompactionCheckerTests
{
    private static readonly string[] Keys = ["a", "b", "a", "b", "c"];
    private readonly PartitionHistory _history = new("compacted-0", Losses.Compaction);

    public CompactionCheckerTests()
    {
        // Offsets: 0 a, 1 b, 2 a, 3 tombstone of b, 4 c.
        Acknowledge(0, "a");
        Acknowledge(1, "b");
        Acknowledge(2, "a");
        Acknowledge(3, "b", isTombstone: true);
        Acknowledge(4, "c");
    }

    [Fact]
    public void Everything_may_be_there() => Assert.Empty(_history.Check(Found(0, 1, 2, 3, 4)));

    [Fact]
    public void Earlier_records_of_a_key_may_be_gone() => Assert.Empty(_history.Check(Found(2, 3, 4)));

    [Fact]
    public void A_tombstone_may_be_gone_with_all_before_it() => Assert.Empty(_history.Check(Found(2, 4)));

    [Fact]
    public void The_latest_record_of_a_key_must_not_be_gone() => Assert.Contains(
        _history.Check(Found(3, 4)), p => p.StartsWith("lost: p1/2 (acknowledged)", StringComparison.Ordinal));

    [Fact]
    public void A_record_whose_tombstone_is_gone_is_resurrected() => Assert.Contains(
        _history.Check(Found(1, 2, 4)), p => p.StartsWith("resurrected: p1/1 of key b", StringComparison.Ordinal));

    [Fact]
    public void A_record_that_was_gone_is_resurrected()
    {
        Assert.Empty(_history.Check(Found(2, 3, 4)));
        Assert.Contains(
            _history.Check(Found(0, 2, 3, 4)),
            p => p.StartsWith("resurrected: offset 0 was gone", StringComparison.Ordinal));
    }

    [Fact]
    public void After_a_power_cut_a_compaction_may_be_undone_as_a_whole()
    {
        Assert.Empty(_history.Check(Found(2, 4)));
        _history.PowerCut();
        Assert.Empty(_history.Check(Found(0, 1, 2, 3, 4)));
        Assert.NotEmpty(_history.Check(Found(1, 2, 4)));
    }

    [Fact]
    public void A_record_with_another_key_is_found()
    {
        var found = Found(0, 1, 2, 3, 4);
        var records = found.Records.Select(r => r.Offset == 4 ? r with { Key = "d" } : r).ToList();
        Assert.Contains(
            _history.Check(found with { Records = records }),
            p => p.StartsWith("damaged: p1/4", StringComparison.Ordinal));
    }

    private void Acknowledge(int offset, string key, bool isTombstone = false) => Assert.Null(
        _history.Acked(_history.Sent(new RecordId(1, offset), acksAll: true, key, isTombstone), offset));

    private static Observation Found(params int[] offsets) => new(
        0, 0, 5, [.. offsets.Select(o => new FoundRecord(o, new RecordId(1, o), Keys[o], o == 3))]);
}
