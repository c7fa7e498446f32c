using System.Buffers;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests.Moves;

/// <summary>Moving a log to another directory, while this and that happens to it.</summary>
public sealed class MoveTests : IDisposable
{
    private readonly TwoDirectories _dirs = new();

    public void Dispose() => _dirs.Dispose();

    [Fact]
    public void A_moved_log_is_the_same_in_the_other_directory_and_the_old_one_goes()
    {
        Fill(20);
        var records = _dirs.Records();
        var old = _dirs.Log;
        _dirs.Move(_dirs.B);

        Assert.Equal(records, _dirs.Records());
        Assert.Equal(_dirs.B, _dirs.Log.Directory);
        Assert.Equal([_dirs.PathOf("b/orders-0")], _dirs.Currents());
        Assert.Empty(_dirs.Futures());
        Assert.Same(_dirs.Log, Assert.Single(_dirs.Manager.Logs));
        Assert.Empty(_dirs.Manager.Moves.Futures);
        Assert.Equal(TestStorage.TopicId, _dirs.Log.TopicId);
        Assert.Throws<LogMovedException>(() => old.AppendAsLeader(
            new ReadOnlySequence<byte>(TestStorage.Batch(1)), 0, AppendOptions.Client));
        Assert.Throws<LogMovedException>(() => old.DeleteRecordsBefore(5));
        Assert.Single(Directory.GetDirectories(_dirs.PathOf("a"), "orders-0.*-delete"));
        _dirs.Clock.Advance(1_000);
        Assert.Empty(Directory.GetDirectories(_dirs.PathOf("a"), "orders-0.*"));
        Assert.Equal(100, _dirs.Append(3).FirstOffset);

        _dirs.Manager.Close(-1);
        _dirs.Reopen();
        Assert.Equal(103, _dirs.Log.LogEndOffset);
        Assert.Equal(records, _dirs.Records()[..100]);
        _dirs.Move(_dirs.A);
        Assert.Equal(103, _dirs.Records().Count);
        Assert.Equal([_dirs.PathOf("a/orders-0")], _dirs.Currents());
    }

    [Fact]
    public void A_reader_of_the_old_log_goes_on_until_it_is_retired_and_slices_in_flight_beyond()
    {
        Fill(20);
        var move = _dirs.Begin(_dirs.B);
        var old = _dirs.Log;
        move.Seal();
        move.Complete();
        Assert.True(_dirs.Manager.Moves.Switch(move));
        using var inFlight = old.Read(0, 10_000, long.MaxValue, true).Records;
        move.Unseal();
        _dirs.Manager.Moves.Retire(old);
        _dirs.Clock.Advance(1_000);
        Assert.NotEmpty(TestStorage.RecordsOf(inFlight.ToArray()));
        Assert.Throws<ObjectDisposedException>(() => old.Read(0, 10_000, long.MaxValue, true));
    }

    [Fact]
    public void Appends_during_the_copy_come_along()
    {
        Fill(20);
        var move = _dirs.Begin(_dirs.B);
        while (move.CopySome(300) > 0 && _dirs.Log.LogEndOffset < 300)
            _dirs.Append(7, leaderEpoch: 2);
        var records = _dirs.Records();
        Assert.True(_dirs.Finish(move));
        Assert.Equal(records, _dirs.Records());
        Assert.Equal([new EpochStart(0, 0), new EpochStart(2, 100)], _dirs.Log.LeaderEpochs.Entries);
    }

    [Fact]
    public async Task An_append_waits_while_the_move_is_finished_and_then_finds_the_new_log()
    {
        Fill(3);
        var move = _dirs.Begin(_dirs.B);
        move.Seal();
        var old = _dirs.Log;
        using var begun = new ManualResetEventSlim();
        var append = Task.Run(() =>
        {
            begun.Set();
            return Assert.Throws<LogMovedException>(() => old.AppendAsLeader(
                new ReadOnlySequence<byte>(TestStorage.Batch(1)), 0, AppendOptions.Client));
        }, TestContext.Current.CancellationToken);
        begun.Wait(TestContext.Current.CancellationToken);
        move.Complete();
        Assert.True(_dirs.Manager.Moves.Switch(move));
        Assert.False(append.IsCompleted);
        move.Unseal();
        await append.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        Assert.Equal(15, move.Future.LogEndOffset);
    }

    [Fact]
    public void Records_deleted_during_the_copy_stay_deleted()
    {
        Fill(40);
        var move = _dirs.Begin(_dirs.B);
        move.CopySome(1_000);
        Assert.InRange(move.Future.LogEndOffset, 1, 100);

        // First within what is copied and in the middle of a batch, then behind it.
        _dirs.Log.DeleteRecordsBefore(7);
        move.CopySome(1_000);
        Assert.Equal(7, move.Future.LogStartOffset);
        _dirs.Log.DeleteRecordsBefore(177);
        TwoDirectories.CatchUp(move);
        _dirs.Log.DeleteRecordsBefore(178);
        var records = _dirs.Records();
        Assert.True(_dirs.Finish(move));
        Assert.Equal((178, 200), (_dirs.Log.LogStartOffset, _dirs.Log.LogEndOffset));
        Assert.Equal(records, _dirs.Records());

        // A crash does not bring them back.
        _dirs.Manager.Abandon();
        _dirs.Reopen();
        Assert.Equal((178, 200), (_dirs.Log.LogStartOffset, _dirs.Log.LogEndOffset));
    }

    [Fact]
    public void Retention_during_the_copy_may_take_everything()
    {
        Fill(40);
        var move = _dirs.Begin(_dirs.B);
        move.CopySome(1_000);
        _dirs.Log.UpdateConfig(_dirs.Config with { RetentionMs = 1, SegmentMs = 1 });
        _dirs.Clock.Advance(100_000);
        Assert.True(_dirs.Log.DeleteOldSegments(200) > 3);
        Assert.Equal(_dirs.Log.LogEndOffset, _dirs.Log.LogStartOffset);
        Assert.True(_dirs.Finish(move));
        Assert.Equal((200, 200), (_dirs.Log.LogStartOffset, _dirs.Log.LogEndOffset));
        Assert.Equal(1, _dirs.Log.Config.RetentionMs);
        Assert.Equal(200, _dirs.Append(5, leaderEpoch: 1).FirstOffset);
    }

    [Fact]
    public void A_truncation_during_the_copy_is_followed()
    {
        Fill(20);
        var move = _dirs.Begin(_dirs.B);
        TwoDirectories.CatchUp(move);
        _dirs.Log.TruncateTo(50);
        _dirs.Append(3, leaderEpoch: 1);
        for (var i = 0; i < 20; i++)
            _dirs.Append(5, leaderEpoch: 2);
        TwoDirectories.CatchUp(move);
        _dirs.Log.TruncateTo(120);
        var records = _dirs.Records();
        Assert.True(_dirs.Finish(move));
        Assert.Equal(records, _dirs.Records());
        Assert.Equal(
            [new EpochStart(0, 0), new EpochStart(1, 50), new EpochStart(2, 53)], _dirs.Log.LeaderEpochs.Entries);
    }

    [Fact]
    public void Producers_are_known_in_the_new_directory_even_those_whose_records_are_gone()
    {
        _dirs.Append(TestStorage.ProducerBatch(9, 0, 0, 4));
        Fill(20);
        _dirs.Append(TestStorage.ProducerBatch(7, 3, 0, 5));
        _dirs.Append(TestStorage.ProducerBatch(8, 1, 0, 5, transactional: true));
        var start = _dirs.Log.LogEndOffset;
        Fill(3);
        _dirs.Log.DeleteRecordsBefore(60);
        var producers = Producers();
        Assert.Equal(3, producers.Count);
        var unstable = _dirs.Log.FirstUnstableOffset;
        _dirs.Move(_dirs.B);

        Assert.Equal(producers, Producers());
        Assert.Equal(unstable, _dirs.Log.FirstUnstableOffset);
        var again = _dirs.Append(TestStorage.ProducerBatch(7, 3, 0, 5));
        Assert.True(again.IsDuplicate);
        Assert.Equal(start - 10, again.FirstOffset);
        Assert.True(_dirs.Append(TestStorage.ProducerBatch(9, 0, 4, 1)).IsSuccess);

        // Also when the broker dies right after.
        _dirs.Manager.Abandon();
        _dirs.Reopen();
        Assert.Equal(3, Producers().Count);
        Assert.True(_dirs.Append(TestStorage.ProducerBatch(7, 3, 0, 5)).IsDuplicate);
        Assert.Equal(unstable, _dirs.Log.FirstUnstableOffset);
    }

    [Fact]
    public void A_compacted_log_with_gaps_keeps_its_offsets()
    {
        // Batches whose offsets have gaps, as a compaction leaves them; the end lies behind a gap, too.
        foreach (var offset in new[] { 10L, 40, 41, 900 })
        {
            var batch = TestStorage.Batch(3);
            RecordBatchEditor.AssignOffsets(new ReadOnlySequence<byte>(batch), offset * 10, 0);
            Assert.True(_dirs.Log.AppendAsFollower(new ReadOnlySequence<byte>(batch)).IsSuccess);
        }

        var records = _dirs.Records();
        using (_dirs.Log.State.EnterForChange())
            _dirs.Log.Writer.SkipTo(12_000);
        _dirs.Move(_dirs.B);
        Assert.Equal(12_000, _dirs.Log.LogEndOffset);
        Assert.Equal(12_000, _dirs.Append(1).FirstOffset);
        using var rest = _dirs.Log.Read(9_003, 1_000, long.MaxValue, true).Records;
        Assert.Equal(12_000, TestStorage.RecordsOf(rest.ToArray())[0].Offset);
        using var all = _dirs.Log.Read(0, 100_000, 9_003, true).Records;
        Assert.Equal(records, TestStorage.RecordsOf(all.ToArray()));
    }

    [Fact]
    public void A_second_request_replaces_the_first_and_one_to_the_current_directory_finds_nothing_to_do()
    {
        Fill(20);
        var first = _dirs.Begin(_dirs.B);
        first.CopySome(100);
        Assert.True(_dirs.Log.IsBeingMoved);
        Assert.Same(first.Future, _dirs.Begin(_dirs.B).Future);
        Assert.Null(_dirs.Manager.Moves.Begin(TwoDirectories.Partition, _dirs.A));
        _dirs.Manager.Moves.Cancel(TwoDirectories.Partition);
        Assert.Empty(_dirs.Futures());
        Assert.False(_dirs.Log.IsBeingMoved);
        Assert.Throws<StorageException>(() => first.CopySome(100));
        _dirs.Move(_dirs.B);
        Assert.Equal(100, _dirs.Records().Count);
    }

    [Fact]
    public void A_log_deleted_during_the_move_takes_its_copy_along()
    {
        Fill(20);
        var move = _dirs.Begin(_dirs.B);
        move.CopySome(1_000);
        move.Seal();
        Assert.True(_dirs.Manager.Delete(TwoDirectories.Partition));
        Assert.Throws<StorageException>(() => move.Complete());
        Assert.False(_dirs.Manager.Moves.Switch(move));
        move.Unseal();
        Assert.Empty(_dirs.Futures());
        Assert.Empty(_dirs.Currents());
        Assert.Equal(0, _dirs.Manager.GetOrCreate(
            TwoDirectories.Partition, TestStorage.TopicId, _dirs.Config).LogEndOffset);
    }

    [Fact]
    public async Task Who_waits_for_a_flush_of_the_old_log_is_told_when_the_new_one_has_everything()
    {
        using var dirs = new TwoDirectories(inline: false);
        for (var i = 0; i < 10; i++)
        {
            dirs.Append(5);
            var old = dirs.Log;
            var move = dirs.Begin(dirs.Log.Directory == dirs.A ? dirs.B : dirs.A);
            TwoDirectories.CatchUp(move);
            move.Seal();
            move.Complete();
            var waiting = old.FlushUpToAsync(old.LogEndOffset).AsTask();
            Assert.True(dirs.Manager.Moves.Switch(move));
            move.Unseal();
            var late = old.FlushUpToAsync(old.LogEndOffset).AsTask();
            dirs.Manager.Moves.Retire(old);
            await waiting.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            await late.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            dirs.Log = move.Future;
            Assert.Equal(dirs.Log.LogEndOffset, dirs.Log.RecoveryPoint);
        }

        Assert.Equal(50, dirs.Records().Count);
    }

    private void Fill(int batches)
    {
        for (var i = 0; i < batches; i++)
            _dirs.Append(5);
    }

    private List<ActiveProducer> Producers() => [.. _dirs.Log.GetActiveProducers().OrderBy(static p => p.ProducerId)];
}
