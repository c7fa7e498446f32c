using KBroker.Protocol.Records;
using KBroker.Storage.Producers;

namespace KBroker.Storage.Tests;

public sealed class ProducerTests
{
    [Fact]
    public void The_last_five_batches_are_recognised_and_answered_with_their_offsets()
    {
        using var storage = new TestStorage();
        for (var i = 0; i < 7; i++)
            storage.AppendOk(TestStorage.ProducerBatch(7, 0, i * 10, 10));
        for (var i = 2; i < 7; i++)
        {
            var again = storage.AppendOk(TestStorage.ProducerBatch(7, 0, i * 10, 10));
            Assert.True(again.IsDuplicate);
            Assert.Equal((i * 10, (i * 10) + 9), (again.FirstOffset, again.LastOffset));
        }

        AssertOutOfOrder(storage.Append(TestStorage.ProducerBatch(7, 0, 10, 10)));
        Assert.Equal(70, storage.Log.LogEndOffset);
    }

    [Fact]
    public void A_gap_is_out_of_order_and_part_of_a_batch_is_no_duplicate()
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.ProducerBatch(7, 0, 0, 10));
        AssertOutOfOrder(storage.Append(TestStorage.ProducerBatch(7, 0, 11, 1)));
        AssertOutOfOrder(storage.Append(TestStorage.ProducerBatch(7, 0, 0, 9)));
        Assert.True(storage.Append(TestStorage.ProducerBatch(7, 0, 10, 1)).IsSuccess);
        Assert.True(storage.Append(TestStorage.ProducerBatch(8, 0, 0, 1)).IsSuccess);
        Assert.True(storage.Append(TestStorage.Batch(1)).IsSuccess);
    }

    [Fact]
    public void A_new_epoch_starts_with_sequence_zero_and_fences_the_old_one()
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.ProducerBatch(7, 1, 0, 10));
        AssertOutOfOrder(storage.Append(TestStorage.ProducerBatch(7, 2, 5, 1)));
        Assert.True(storage.Append(TestStorage.ProducerBatch(7, 2, 0, 1)).IsSuccess);
        Assert.Equal(AppendError.InvalidProducerEpoch, storage.Append(TestStorage.ProducerBatch(7, 1, 10, 1)).Error);
    }

    [Fact]
    public void An_unknown_producer_may_start_anywhere()
    {
        using var storage = new TestStorage();
        Assert.True(storage.Append(TestStorage.ProducerBatch(7, 3, 500, 1)).IsSuccess);
    }

    [Fact]
    public void Sequences_wrap_to_zero()
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.ProducerBatch(7, 0, int.MaxValue - 4, 3));
        storage.AppendOk(TestStorage.ProducerBatch(7, 0, int.MaxValue - 1, 4));
        Assert.True(storage.AppendOk(TestStorage.ProducerBatch(7, 0, int.MaxValue - 1, 4)).IsDuplicate);
        Assert.False(storage.AppendOk(TestStorage.ProducerBatch(7, 0, 2, 1)).IsDuplicate);
        storage.AppendOk(TestStorage.ProducerBatch(9, 0, int.MaxValue, 1));
        Assert.False(storage.AppendOk(TestStorage.ProducerBatch(9, 0, 0, 1)).IsDuplicate);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void State_survives_a_restart(bool clean)
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 1500 });
        for (var i = 0; i < 12; i++)
            storage.AppendOk(TestStorage.ProducerBatch(7, 0, i * 3, 3));
        storage.Log.Flush();
        if (clean)
            storage.CloseCleanly();
        else
            storage.Crash();
        storage.Reopen();
        Assert.True(storage.Log.SegmentCount > 1);
        Assert.True(storage.AppendOk(TestStorage.ProducerBatch(7, 0, 33, 3)).IsDuplicate);
        AssertOutOfOrder(storage.Append(TestStorage.ProducerBatch(7, 0, 40, 1)));
        Assert.False(storage.AppendOk(TestStorage.ProducerBatch(7, 0, 36, 1)).IsDuplicate);
    }

    /// <summary>A snapshot knows the last batch alone; the client may not know of the four before.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_last_five_batches_are_recognised_after_a_restart_and_a_roll(bool clean)
    {
        // Some forty batches a segment, so that five of a producer lie in one, or across two.
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 4000 });
        const int batches = 90;
        for (var i = 0; i < batches; i++)
        {
            storage.AppendOk(TestStorage.ProducerBatch(7, 0, i * 2, 2));
            storage.AppendOk(TestStorage.ProducerBatch(8, 0, i, 1));
        }

        storage.Log.RollSegment();
        storage.AppendOk(TestStorage.ProducerBatch(8, 0, batches, 1));
        storage.Log.Flush();
        if (clean)
            storage.CloseCleanly();
        else
            storage.Crash();
        storage.Reopen();
        var end = storage.Log.LogEndOffset;
        for (var i = batches - 5; i < batches; i++)
        {
            var again = storage.AppendOk(TestStorage.ProducerBatch(7, 0, i * 2, 2));
            Assert.True(again.IsDuplicate, $"batch {i}");
            Assert.Equal((i * 3, (i * 3) + 1), (again.FirstOffset, again.LastOffset));
        }

        AssertOutOfOrder(storage.Append(TestStorage.ProducerBatch(7, 0, (batches - 6) * 2, 2)));
        AssertOutOfOrder(storage.Append(TestStorage.ProducerBatch(7, 0, (batches * 2) + 1, 2)));
        Assert.Equal(end, storage.Log.LogEndOffset);
        Assert.False(storage.AppendOk(TestStorage.ProducerBatch(7, 0, batches * 2, 2)).IsDuplicate);
    }

    [Fact]
    public void Clean_closes_leave_one_snapshot_beside_those_of_finished_segments()
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 1500 });
        for (var i = 0; i < 30; i++)
        {
            storage.AppendOk(TestStorage.ProducerBatch(7, 0, i, 1));
            storage.CloseCleanly();
            storage.Reopen();
        }

        string[] Names(string pattern) =>
            [.. Directory.GetFiles(storage.Log.Path, pattern).Select(Path.GetFileNameWithoutExtension).Order()!];
        var segments = Names("*.log");
        Assert.True(segments.Length > 1);
        Assert.Equal([.. segments.Skip(1), $"{30:D20}"], Names("*.snapshot"));
        Assert.True(storage.AppendOk(TestStorage.ProducerBatch(7, 0, 27, 1)).IsDuplicate);
        Assert.False(storage.AppendOk(TestStorage.ProducerBatch(7, 0, 30, 1)).IsDuplicate);
    }

    [Fact]
    public void What_is_taken_over_from_another_log_is_as_partial_as_it_was_there()
    {
        var told = new ProducerState(7);
        told.AddFromSnapshot(new ProducedBatch(5, 105, 1, 1));
        var taken = new ProducerStates();
        taken.Replace([told]);
        Assert.True(taken.All.Single().IsPartial);
    }

    [Fact]
    public void A_producer_that_is_silent_for_long_is_forgotten_unless_its_transaction_is_open()
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.ProducerBatch(7, 0, 0, 1));
        storage.AppendOk(TestStorage.ProducerBatch(8, 0, 0, 1, transactional: true));
        storage.Clock.Advance(86_400_001);
        storage.Manager.RemoveExpiredProducers();
        Assert.Equal(8, Assert.Single(storage.Log.GetActiveProducers()).ProducerId);
    }

    [Theory]
    [InlineData(ControlRecordType.Abort)]
    [InlineData(ControlRecordType.Commit)]
    public void An_open_transaction_bounds_what_is_stable_until_its_marker(ControlRecordType type)
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.Batch(2));
        storage.AppendOk(TestStorage.ProducerBatch(8, 0, 0, 3, transactional: true));
        storage.AppendOk(TestStorage.ProducerBatch(9, 0, 0, 1, transactional: true));
        storage.Log.Flush();
        storage.CrashAndReopen();
        Assert.Equal(2, storage.Log.FirstUnstableOffset);
        Assert.True(storage.Log.AppendAsLeader(new(Marker(8, type)), 0, AppendOptions.Coordinator).IsSuccess);
        Assert.Equal(5, storage.Log.FirstUnstableOffset);
        storage.Log.Flush();
        storage.CrashAndReopen();
        Assert.Equal(5, storage.Log.FirstUnstableOffset);
        AbortedTransaction[] aborted = type == ControlRecordType.Abort ? [new AbortedTransaction(8, 2, 6, 5)] : [];
        Assert.Equal(aborted, storage.Log.GetAbortedTransactions(0, 7));
        Assert.Empty(storage.Log.GetAbortedTransactions(0, 2));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_read_names_the_aborted_transactions_of_its_region_and_few_behind_it(bool reopened)
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 20_000, IndexIntervalBytes = 1000 });
        var begun = new List<long>();
        for (var i = 0; i < 300; i++)
        {
            begun.Add(storage.AppendOk(TestStorage.ProducerBatch(i, 0, 0, 3, transactional: true)).FirstOffset);
            var type = i % 10 == 0 ? ControlRecordType.Commit : ControlRecordType.Abort;
            Assert.True(storage.Log.AppendAsLeader(new(Marker(i, type)), 0, AppendOptions.Coordinator).IsSuccess);
        }

        Assert.True(storage.Log.SegmentCount > 2);
        if (reopened)
        {
            storage.CloseCleanly();
            storage.Reopen();
        }

        for (long offset = 0; offset < storage.Log.LogEndOffset; offset += 13)
        {
            var read = storage.Log.Read(offset, 1500, long.MaxValue, minOneMessage: true);
            using var records = read.Records;
            var last = TestStorage.RecordsOf(records.ToArray())[^1].Offset;
            var aborted = storage.Log.GetAbortedTransactions(offset, read);
            var touched = begun.Index().Where(t => t.Index % 10 != 0 && t.Item + 3 >= offset && t.Item <= last);
            Assert.Equal(touched.Select(static t => t.Item), aborted.Select(static a => a.FirstOffset)
                .TakeWhile(first => first <= last));
            Assert.InRange(aborted.Count, 0, touched.Count() + 20);
        }
    }

    private static byte[] Marker(long producerId, ControlRecordType type)
    {
        using var builder = new RecordBatchBuilder(
            new RecordBatchOptions
            {
                IsControl = true,
                IsTransactional = true,
                ProducerId = producerId,
                ProducerEpoch = 0
            },
            TestStorage.Codecs);
        builder.Append(1_700_000_000_000, ControlRecord.Key(type), ControlRecord.EndTransactionValue(1));
        return builder.Build().ToArray();
    }

    private static void AssertOutOfOrder(AppendResult result) =>
        Assert.Equal(AppendError.OutOfOrderSequenceNumber, result.Error);
}
