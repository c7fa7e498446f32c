using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>Transactions, producers, policies and lags: what compaction may touch, and when.</summary>
public sealed class CompactionRulesTests
{
    [Fact]
    public void Records_of_an_aborted_transaction_go_and_its_marker_goes_last()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        storage.Put(("a", "1"));
        storage.Put(Transactional(7, 0), ("a", "aborted"), ("b", "aborted"));
        storage.PutMarker(7, ControlRecordType.Abort);
        storage.Put(Transactional(7, 2), ("c", "1"));
        storage.PutMarker(7, ControlRecordType.Commit);
        storage.Compact();
        Assert.Equal(["0 a=1", "4 c=1"], storage.ReadAll().Select(static r => $"{r.Offset} {r.Key}={r.Value}"));
        // A reader that began before sees the marker, and knows from the index what it means.
        Assert.Equal([3L, 5L], ControlOffsets(storage));
        Assert.Equal([new AbortedTransaction(7, 1, 3, 4)], storage.Log.GetAbortedTransactions(0, 6));

        storage.Put(("x", "1"));
        storage.Compact();
        // Nothing of the transaction was met any more: the marker means nothing, and gets a horizon.
        Assert.Empty(storage.Log.GetAbortedTransactions(0, 6));
        Assert.Empty(storage.FileNames(".txnindex"));
        var marker = storage.ReadBatches().Single(static b => b.Header.BaseOffset == 3).Header;
        Assert.Equal((true, storage.Clock.NowMs + 1000), (marker.HasDeleteHorizon, marker.BaseTimestamp));

        storage.Clock.Advance(1000);
        storage.Put(("x", "2"));
        storage.Compact();
        Assert.Equal([5L], ControlOffsets(storage));
    }

    [Fact]
    public void A_commit_marker_stays_while_records_of_its_transaction_do_and_then_until_the_horizon()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        storage.Put(Transactional(7, 0), ("a", "1"), ("b", "1"));
        storage.PutMarker(7, ControlRecordType.Commit);
        storage.Put(Transactional(7, 2), ("z", "1"));
        storage.PutMarker(7, ControlRecordType.Commit);
        storage.Compact();
        storage.Put(("a", "2"), ("b", "2"));
        storage.Compact();
        Assert.Equal([2L, 4L], ControlOffsets(storage));
        // Only now no record of the first transaction is met.
        storage.Put(("x", "1"));
        storage.Compact();
        Assert.True(storage.ReadBatches().Single(static b => b.Header.BaseOffset == 2).Header.HasDeleteHorizon);
        storage.Clock.Advance(1000);
        storage.Put(("x", "2"));
        storage.Compact();
        Assert.Equal([4L], ControlOffsets(storage));
        Assert.Equal("a b x z", string.Join(' ', storage.ReadTable().Keys));
    }

    [Fact]
    public void Nothing_at_or_behind_an_open_transaction_or_the_high_watermark_is_touched()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        storage.Put(("a", "1"), ("a", "2"));
        storage.Log.RollSegment();
        storage.Put(Transactional(7, 0), ("a", "3"));
        storage.Put(("a", "4"));
        storage.Log.RollSegment();
        storage.Put(("a", "5"), ("a", "6"));
        storage.Manager.HighWatermarkOf = static _ => 1;
        storage.Compact();
        Assert.Equal(6, storage.ReadAll().Count);
        storage.Manager.HighWatermarkOf = static log => log.LogEndOffset;
        storage.Compact();
        Assert.Equal([1L, 2, 3, 4, 5], storage.ReadAll().Select(static r => r.Offset));
        storage.PutMarker(7, ControlRecordType.Commit);
        storage.Compact();
        Assert.Equal([5L], storage.ReadAll().Select(static r => r.Offset));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_last_five_batches_of_a_producer_stay_empty_so_that_each_is_known_again(bool restart)
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        for (var i = 0; i < 7; i++)
            storage.Put(Idempotent(7, i), ("a", $"{i}"));
        storage.Put(("a", "8"));
        // What a start knows is the last one alone; the cleaner looks for the others.
        if (restart)
        {
            storage.Log.RollSegment();
            storage.CrashAndReopen();
        }

        storage.Compact();
        Assert.Equal(
            [(2L, 0), (3L, 0), (4L, 0), (5L, 0), (6L, 0)],
            storage.ReadBatches().Where(static b => b.Header.ProducerId == 7)
                .Select(static b => (b.Header.BaseOffset, b.Header.RecordsCount)));
        foreach (var again in (bool[])[false, true])
        {
            for (var i = 2; i < 7; i++)
            {
                var result = storage.AppendOk(
                    CleaningSample.Batch(Idempotent(7, i), storage.Clock.NowMs, ("a", $"{i}")));
                Assert.Equal((true, (long)i), (result.IsDuplicate, result.FirstOffset));
            }

            if (!again)
                storage.CrashAndReopen();
        }

        // No snapshot tells: the log alone does.
        storage.CloseCleanly();
        foreach (var snapshot in storage.FileNames(".snapshot"))
            File.Delete(Path.Combine(storage.LogPath, snapshot));
        storage.Reopen();
        Assert.True(storage.AppendOk(
            CleaningSample.Batch(Idempotent(7, 2), storage.Clock.NowMs, ("a", "2"))).IsDuplicate);
        Assert.Equal(AppendError.OutOfOrderSequenceNumber, storage.Append(
            CleaningSample.Batch(Idempotent(7, 9), storage.Clock.NowMs, ("a", "9"))).Error);
        storage.Put(Idempotent(7, 7), ("c", "1"));
        storage.Compact();
        Assert.DoesNotContain(storage.ReadBatches(), static b => b.Header.BaseOffset == 2);
    }

    [Fact]
    public void The_end_of_what_was_compacted_is_told_by_an_empty_batch()
    {
        using var storage = new TestStorage(new LogConfig());
        storage.Put(("a", "1"));
        storage.Put((null, "1"), (null, "2"));
        storage.Log.UpdateConfig(CleaningSample.Compacted);
        storage.Compact();
        Assert.Equal([0L], storage.ReadAll().Select(static r => r.Offset));
        var last = storage.ReadBatches()[^1].Header;
        Assert.Equal((storage.Log.LogEndOffset, 0), (last.NextOffset, last.RecordsCount));
    }

    [Fact]
    public void Records_without_key_that_came_before_the_policy_are_dropped()
    {
        using var storage = new TestStorage(new LogConfig());
        storage.Put((null, "1"), ("a", "1"), (null, "2"));
        storage.Put(("b", "1"));
        storage.Log.UpdateConfig(CleaningSample.Compacted);
        storage.Compact();
        Assert.Equal([1L, 3L], storage.ReadAll().Select(static r => r.Offset));
    }

    [Fact]
    public void The_dirtiest_log_comes_first_and_one_that_waited_too_long_before_it()
    {
        using var storage = new TestStorage(CleaningSample.Compacted with { MinCleanableDirtyRatio = 0.5 });
        var config = storage.Config;
        var half = storage.Manager.GetOrCreate(new TopicPartition("half", 0), TestStorage.TopicId, config);
        var full = storage.Manager.GetOrCreate(new TopicPartition("full", 0), TestStorage.TopicId, config);
        var clean = storage.Manager.GetOrCreate(new TopicPartition("clean", 0), TestStorage.TopicId, config);
        foreach (var log in new[] { half, clean })
        {
            Fill(storage, log, 10);
            Assert.True(storage.Manager.Cleaner.CleanNext(default));
        }

        Fill(storage, half, 11);
        Fill(storage, clean, 1);
        Fill(storage, full, 1);
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.Equal(["clean-0 10", "full-0 1", "half-0 10"], Checkpoint(storage));
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.Equal(["clean-0 10", "full-0 1", "half-0 21"], Checkpoint(storage));
        // Its share of dirty bytes is too small, but its records wait.
        Assert.False(storage.Manager.Cleaner.CleanNext(default));
        Fill(storage, full, 5);
        clean.UpdateConfig(config with { MaxCompactionLagMs = 5000 });
        storage.Clock.Advance(5000);
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.Equal(["clean-0 10", "full-0 6", "half-0 21"], Checkpoint(storage));
        storage.Clock.Advance(1);
        Fill(storage, full, 20);
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.Equal(["clean-0 11", "full-0 6", "half-0 21"], Checkpoint(storage));
    }

    [Fact]
    public void Records_younger_than_the_lag_are_left_alone()
    {
        using var storage = new TestStorage(CleaningSample.Compacted with { MinCompactionLagMs = 1000 });
        storage.Put(("a", "1"), ("a", "2"));
        storage.Log.RollSegment();
        storage.Clock.Advance(500);
        storage.Put(("a", "3"), ("a", "4"));
        storage.Compact();
        Assert.Equal(4, storage.ReadAll().Count);
        storage.Clock.Advance(501);
        storage.Compact();
        Assert.Equal([1L, 2, 3], storage.ReadAll().Select(static r => r.Offset));
        storage.Clock.Advance(500);
        storage.Compact();
        Assert.Equal([3L], storage.ReadAll().Select(static r => r.Offset));
    }

    [Fact]
    public void A_compacted_topic_rolls_when_its_records_may_wait_no_longer()
    {
        using var storage = new TestStorage(CleaningSample.Compacted with { MaxCompactionLagMs = 1000 });
        storage.Put(("a", "1"));
        storage.Clock.Advance(1001);
        storage.Put(("a", "2"));
        Assert.Equal(2, storage.Log.SegmentCount);
    }

    [Fact]
    public void With_both_policies_old_segments_are_deleted_too()
    {
        using var storage = new TestStorage(CleaningSample.Compacted with
        {
            CleanupPolicy = CleanupPolicy.Compact | CleanupPolicy.Delete,
            RetentionMs = 10_000,
            SegmentBytes = 120,
        });
        storage.Put(("a", "1"), ("b", "1"));
        storage.Compact();
        storage.Clock.Advance(9_000);
        storage.Put(("a", "2"));
        storage.Clock.Advance(2_000);
        // The cleaner applies retention when it is done with a log.
        storage.Compact();
        Assert.Equal([2L], storage.ReadAll().Select(static r => r.Offset));
        Assert.Equal(2, storage.Log.LogStartOffset);
        // The checkpoint lies before the start now, which is no error.
        storage.Put(("a", "3"));
        storage.Compact();
        Assert.Equal([3L], storage.ReadAll().Select(static r => r.Offset));
    }

    [Fact]
    public void A_small_map_takes_several_passes_and_loses_nothing()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        for (var i = 0; i < 300; i++)
            storage.Put(($"k{i % 100}", $"{i}"));
        storage.Manager.Cleaner.Reconfigure(new CleanerSettings { DedupeBufferBytes = 8 * 24, LoadFactor = 0.9 });
        storage.Log.RollSegment();
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.Equal(["orders-0 7"], Checkpoint(storage));
        storage.Compact();
        Assert.Equal(["orders-0 300"], Checkpoint(storage));
        Assert.Equal(Enumerable.Range(0, 100).ToDictionary(static i => $"k{i}", static i => $"{i + 200}"),
            storage.ReadTable());
        Assert.True(storage.ReadAll().Count < 300);
    }

    private static RecordBatchOptions Transactional(long id, int sequence) =>
        Idempotent(id, sequence) with { IsTransactional = true };

    private static RecordBatchOptions Idempotent(long id, int sequence) =>
        new() { ProducerId = id, ProducerEpoch = 0, BaseSequence = sequence };

    private static IEnumerable<long> ControlOffsets(TestStorage storage) =>
        storage.ReadBatches().Where(static b => b.Header is { IsControl: true, RecordsCount: > 0 })
            .Select(static b => b.Header.BaseOffset);

    private static void Fill(TestStorage storage, PartitionLog log, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var batch = CleaningSample.Batch(
                RecordBatchOptions.Default, storage.Clock.NowMs, ($"{log.LogEndOffset}", new string('v', 100)));
            Assert.True(log.AppendAsLeader(new(batch), 0, AppendOptions.Client).IsSuccess);
        }

        log.RollSegment();
    }

    private static string[] Checkpoint(TestStorage storage) =>
        [.. File.ReadAllLines(Path.Combine(storage.Root, "cleaner-offset-checkpoint")).Skip(2)
            .Select(static l => l.Split(' ')).Select(static f => $"{f[0]}-{f[1]} {f[2]}").Order()];
}
