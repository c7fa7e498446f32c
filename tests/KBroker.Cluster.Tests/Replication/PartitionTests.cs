using System.Buffers;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Cluster.Tests.Replication;

/// <summary>One partition on a real log, led and followed as the test says.</summary>
public sealed class PartitionTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kbroker-partition-").FullName;
    private readonly LogManager _logs;
    private readonly Listener _listener = new();
    private readonly Partition _partition;

    public PartitionTests()
    {
        _logs = LogManager.Open(new LogManagerOptions { LogDirectories = [_folder], NodeId = 1, RunInline = true });
        var name = new TopicPartition("t", 0);
        var id = Uuid.Random();
        _partition = new Partition(name, id, _logs.GetOrCreate(name, id, new LogConfig()), 1, _listener);
    }

    [Fact]
    public void Before_the_metadata_says_who_leads_nobody_is_served()
    {
        Assert.False(_partition.IsLeader);
        Assert.Equal(ErrorCode.NotLeaderOrFollower, Append());
        Assert.Equal(ErrorCode.NotLeaderOrFollower, Read(0).Error);
        Assert.Equal(ErrorCode.NotLeaderOrFollower, _partition.FindOffset(-1, ReadLimit.LogEnd, -1).Error);
        Assert.Equal(ErrorCode.NotLeaderOrFollower, _partition.DeleteRecords(0, out var lowWatermark));
        Assert.Equal(-1, lowWatermark);
    }

    [Fact]
    public void The_watermark_follows_the_log_while_this_broker_is_alone_in_the_isr()
    {
        Lead();
        Append(records: 2);
        Append();
        Assert.Equal((3, 3, 2), (_partition.HighWatermark, _partition.LastStableOffset, _listener.Advanced));

        // A second replica in the ISR holds it, because nothing is known of what that one has.
        Lead(isr: [1, 2]);
        Append();
        Assert.Equal((3, 4), (_partition.HighWatermark, _partition.Log.LogEndOffset));
        Assert.False(_partition.IsReplicated(4));
        Lead();
        Assert.Equal((4, 3), (_partition.HighWatermark, _listener.Advanced));
        Assert.True(_partition.IsReplicated(4));
    }

    [Fact]
    public void Epochs_are_checked_before_leadership_so_that_clients_learn_whose_view_is_old()
    {
        Lead(epoch: 5);
        Assert.Equal(
            [ErrorCode.FencedLeaderEpoch, ErrorCode.None, ErrorCode.UnknownLeaderEpoch, ErrorCode.None],
            new[] { 4, 5, 6, -1 }.Select(_partition.CheckLeader));
        _partition.Update(Image(leader: 2, epoch: 6, isr: [2]));
        Assert.Equal(
            [ErrorCode.FencedLeaderEpoch, ErrorCode.NotLeaderOrFollower, ErrorCode.UnknownLeaderEpoch],
            new[] { 5, 6, 7 }.Select(_partition.CheckLeader));
        Assert.Equal(1, _listener.Lost);
    }

    [Fact]
    public void Every_append_carries_the_leaders_epoch_and_an_epoch_ends_where_the_next_begins()
    {
        Lead(epoch: 1);
        Append(records: 2);
        Lead(epoch: 4);
        Append();
        using var read = Read(2).Records;
        Assert.True(RecordBatchHeader.TryParse(read.ToArray(), out var header));
        Assert.Equal(4, header.PartitionLeaderEpoch);
        Assert.Equal((ErrorCode.None, 1, 2L), EndOf(1));
        Assert.Equal((ErrorCode.None, 1, 2L), EndOf(3));
        Assert.Equal((ErrorCode.None, 4, 3L), EndOf(4));
        Assert.Equal((ErrorCode.None, -1, -1L), EndOf(9));
        Assert.Equal((ErrorCode.UnknownLeaderEpoch, -1, -1L), EndOf(1, current: 5));
    }

    [Fact]
    public void Epochs_without_records_end_where_the_log_does()
    {
        Lead(epoch: 3);
        Assert.Equal((ErrorCode.None, 3), Earliest());
        Assert.Equal((ErrorCode.None, 2, 0L), EndOf(2));
        Append(records: 2);
        Lead(epoch: 6);
        Assert.Equal((ErrorCode.None, 3), Earliest());
        Assert.Equal((ErrorCode.None, 3, 2L), EndOf(3));
        Assert.Equal((ErrorCode.None, 3, 2L), EndOf(5));
        Assert.Equal((ErrorCode.None, 6, 2L), EndOf(6));
        Assert.Equal((ErrorCode.None, -1, -1L), EndOf(7));

        // Deleted up to its end, the log has no record again.
        Assert.Equal(ErrorCode.None, _partition.DeleteRecords(-1, out _));
        Assert.Equal((ErrorCode.None, 6), Earliest());

        (ErrorCode, int) Earliest()
        {
            var found = _partition.FindOffset(SpecialTimestamps.Earliest, ReadLimit.HighWatermark, -1);
            return (found.Error, found.LeaderEpoch);
        }
    }

    [Fact]
    public void A_follower_that_is_ahead_or_on_another_history_is_told_where_it_parts()
    {
        Lead(epoch: 1);
        Append(records: 2);
        Lead(epoch: 4);
        Append();
        Assert.Null(Read(3, lastFetchedEpoch: 4).Diverging);
        var ahead = Read(7, lastFetchedEpoch: 4);
        Assert.Equal((ErrorCode.None, 4, 3L),
            (ahead.Error, ahead.Diverging!.Value.Epoch, ahead.Diverging.Value.EndOffset));
        var other = Read(3, lastFetchedEpoch: 2);
        Assert.Equal((1, 2L), (other.Diverging!.Value.Epoch, other.Diverging.Value.EndOffset));
    }

    [Fact]
    public void Reads_outside_the_log_tell_nothing_but_the_error()
    {
        Lead();
        Append(records: 3);
        Assert.Equal(ErrorCode.None, _partition.DeleteRecords(2, out var lowWatermark));
        Assert.Equal((2, 1), (lowWatermark, _listener.Trimmed));
        foreach (var offset in new long[] { -1, 1, 4 })
        {
            var read = Read(offset);
            Assert.Equal((ErrorCode.OffsetOutOfRange, -1L, -1L), (read.Error, read.HighWatermark, read.LogStartOffset));
        }

        var end = Read(3);
        Assert.Equal((ErrorCode.None, 3L, 2L, true),
            (end.Error, end.HighWatermark, end.LogStartOffset, end.Records.IsEmpty));
        Assert.Equal(ErrorCode.OffsetOutOfRange, _partition.DeleteRecords(4, out _));
        Assert.Equal(ErrorCode.OffsetOutOfRange, _partition.DeleteRecords(-2, out _));
    }

    [Fact]
    public void An_open_transaction_holds_the_last_stable_offset()
    {
        Lead();
        Append();
        var transactional = new RecordBatchOptions
        {
            IsTransactional = true,
            ProducerId = 9,
            ProducerEpoch = 0,
            BaseSequence = 0,
        };
        Append(options: transactional);
        Append();
        Assert.Equal((3, 1), (_partition.HighWatermark, _partition.LastStableOffset));
        Assert.Equal(1, _partition.FindOffset(SpecialTimestamps.Latest, ReadLimit.LastStableOffset, -1).Offset);
        var read = _partition.Read(1, 1000, ReadLimit.LastStableOffset, -1, -1, true);
        Assert.Equal((1L, true), (read.LastStableOffset, read.Records.IsEmpty));
    }

    [Fact]
    public void A_read_up_to_the_stable_offset_says_which_transactions_were_aborted()
    {
        Lead();
        Append();
        Append(options: new RecordBatchOptions
        {
            IsTransactional = true,
            ProducerId = 9,
            ProducerEpoch = 0,
            BaseSequence = 0,
        });
        using var marker = new RecordBatchBuilder(new RecordBatchOptions
        {
            IsControl = true,
            IsTransactional = true,
            ProducerId = 9,
            ProducerEpoch = 0,
        });
        marker.Append(1_000, ControlRecord.Key(ControlRecordType.Abort), ControlRecord.EndTransactionValue(0));
        var bytes = new ReadOnlySequence<byte>(marker.Build());
        Assert.Equal(ErrorCode.None, _partition.AppendAsLeader(bytes, 1, AppendOptions.Coordinator).Error);
        using var stable = _partition.Read(0, 1000, ReadLimit.LastStableOffset, -1, -1, true).Records;
        Assert.Equal(
            new AbortedTransaction(9, 1, 2, 3),
            Assert.Single(_partition.Read(0, 1000, ReadLimit.LastStableOffset, -1, -1, true).AbortedTransactions));
        Assert.Empty(_partition.Read(0, 1000, ReadLimit.HighWatermark, -1, -1, true).AbortedTransactions);
    }

    [Fact]
    public void A_partition_that_is_stopped_answers_that_it_does_not_lead()
    {
        Lead();
        Append();
        _partition.Stop();
        Assert.Equal(1, _listener.Lost);
        _logs.Delete(_partition.TopicPartition);
        Assert.Equal(ErrorCode.NotLeaderOrFollower, Append());
        Assert.Equal(ErrorCode.NotLeaderOrFollower, Read(0).Error);
        Lead(epoch: 3);
        Assert.False(_partition.IsLeader);
    }

    [Fact]
    public void A_refused_batch_moves_nothing()
    {
        Lead();
        var batch = Batch(1, new RecordBatchOptions());
        batch[^1] ^= 0xff;
        var refused = _partition.AppendAsLeader(new ReadOnlySequence<byte>(batch), 1, AppendOptions.Client);
        Assert.Equal((ErrorCode.CorruptMessage, -1L), (refused.Error, refused.Append.FirstOffset));
        Assert.Equal((0, 0), (_partition.HighWatermark, _listener.Advanced));
    }

    public void Dispose()
    {
        _logs.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static PartitionImage Image(int leader, int epoch, params int[] isr) => new()
    {
        PartitionId = 0,
        Replicas = [1, 2],
        Isr = [.. isr],
        Leader = leader,
        LeaderEpoch = epoch,
        PartitionEpoch = epoch,
    };

    private static byte[] Batch(int records, RecordBatchOptions options)
    {
        using var builder = new RecordBatchBuilder(options);
        for (var i = 0; i < records; i++)
            builder.Append(1_000, new byte[] { 1 }, new byte[] { 2 });
        return builder.Build().ToArray();
    }

    private void Lead(int epoch = 0, params int[] isr) =>
        _partition.Update(Image(1, epoch, isr.Length == 0 ? [1] : isr));

    private ErrorCode Append(int records = 1, RecordBatchOptions? options = null) => _partition.AppendAsLeader(
        new ReadOnlySequence<byte>(Batch(records, options ?? new RecordBatchOptions())), 1, AppendOptions.Client).Error;

    private PartitionRead Read(long offset, int lastFetchedEpoch = -1) =>
        _partition.Read(offset, 1000, ReadLimit.HighWatermark, -1, lastFetchedEpoch, minOneMessage: true);

    private (ErrorCode Error, int Epoch, long EndOffset) EndOf(int epoch, int current = -1)
    {
        var error = _partition.FindEpochEnd(epoch, current, out var end);
        return (error, end.Epoch, end.EndOffset);
    }

    private sealed class Listener : IPartitionListener
    {
        public int Advanced { get; private set; }

        public int Lost { get; private set; }

        public int Trimmed { get; private set; }

        public void OnHighWatermarkAdvanced(Partition partition) => Advanced++;

        public void OnLeadershipLost(Partition partition) => Lost++;

        public void OnLogStartOffsetAdvanced(Partition partition) => Trimmed++;
    }
}
