using System.Buffers;
using System.Text;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests;

public sealed class AppendTests
{
    private const long Now = 1_700_000_000_000;

    [Fact]
    public void Offsets_follow_one_another_and_come_back_as_written()
    {
        using var storage = new TestStorage();
        var first = storage.AppendOk(TestStorage.Batch(3), leaderEpoch: 5);
        var second = storage.AppendOk(TestStorage.Batch(2), leaderEpoch: 5);
        Assert.Equal((0, 2, 3), (first.FirstOffset, first.LastOffset, second.FirstOffset));
        Assert.Equal(-1, first.LogAppendTimeMs);
        Assert.Equal([0, 1, 2, 3, 4], storage.ReadOffsets(0));
        using var records = storage.Log.Read(0, 1000, long.MaxValue, true).Records;
        Assert.True(RecordBatchHeader.TryParse(records.ToArray(), out var header));
        Assert.Equal((5, 0L), (header.PartitionLeaderEpoch, header.BaseOffset));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(60)]
    [InlineData(100)]
    public void Fragmented_buffers_are_written_in_order(int pieceBytes)
    {
        using var storage = new TestStorage();
        var batch = TestStorage.Batch(20);
        var result = storage.Log.AppendAsLeader(TestStorage.Pieces(batch, pieceBytes), 1, AppendOptions.Client);
        Assert.True(result.IsSuccess, result.ErrorMessage);
        Assert.Equal(20, storage.ReadOffsets(0).Count);
    }

    [Fact]
    public void A_flipped_bit_anywhere_behind_the_crc_is_refused()
    {
        using var storage = new TestStorage();
        var batch = TestStorage.Batch(2);
        for (var i = RecordBatchLayout.Crc; i < batch.Length; i++)
        {
            var damaged = batch.ToArray();
            damaged[i] ^= 0x10;
            Assert.Equal(AppendError.CorruptMessage, storage.Append(damaged).Error);
        }

        Assert.Equal(0, storage.Log.LogEndOffset);
    }

    [Fact]
    public void A_truncated_batch_is_corrupt_and_an_empty_one_invalid()
    {
        using var storage = new TestStorage();
        var batch = TestStorage.Batch(2);
        for (var length = 1; length < batch.Length; length++)
            Assert.NotEqual(AppendError.None, storage.Append(batch[..length]).Error);
        Assert.Equal(AppendError.InvalidRecord, storage.Append([]).Error);
    }

    [Fact]
    public void A_client_sends_exactly_one_batch_but_a_coordinator_may_send_several()
    {
        using var storage = new TestStorage();
        byte[] two = [.. TestStorage.Batch(2), .. TestStorage.Batch(3)];
        Assert.Equal(AppendError.InvalidRecord, storage.Append(two).Error);
        var result = storage.Log.AppendAsLeader(new ReadOnlySequence<byte>(two), 0, AppendOptions.Coordinator);
        Assert.Equal((0, 4), (result.FirstOffset, result.LastOffset));
        Assert.Equal([0, 1, 2, 3, 4], storage.ReadOffsets(0));
    }

    [Fact]
    public void An_old_message_format_is_invalid()
    {
        using var storage = new TestStorage();
        var batch = TestStorage.Batch(1);
        batch[RecordBatchLayout.Magic] = 1;
        Assert.Equal(AppendError.InvalidRecord, storage.Append(batch).Error);
    }

    [Fact]
    public void A_base_offset_other_than_zero_is_refused()
    {
        using var storage = new TestStorage();
        var batch = TestStorage.Batch(1);
        batch[7] = 1;
        var result = storage.Append(batch);
        Assert.Equal(AppendError.InvalidRecord, result.Error);
        Assert.Contains("should be 0, but it is 1", result.ErrorMessage);
    }

    [Fact]
    public void Control_batches_come_from_coordinators_only()
    {
        using var storage = new TestStorage();
        var options = new RecordBatchOptions
        {
            IsControl = true,
            IsTransactional = true,
            ProducerId = 1,
            ProducerEpoch = 0
        };
        using var builder = new RecordBatchBuilder(options, TestStorage.Codecs);
        builder.Append(Now, ControlRecord.Key(ControlRecordType.Commit), ControlRecord.EndTransactionValue(0));
        var marker = builder.Build().ToArray();
        Assert.Equal(AppendError.InvalidRecord, storage.Append(marker).Error);
        Assert.True(storage.Log.AppendAsLeader(new(marker), 0, AppendOptions.Coordinator).IsSuccess);
    }

    [Fact]
    public void A_batch_above_max_message_bytes_is_too_large_and_one_above_a_segment_too()
    {
        using var storage = new TestStorage(new LogConfig { MaxMessageBytes = 500 });
        var batch = TestStorage.Batch(1, valueBytes: 600);
        Assert.Equal(AppendError.MessageTooLarge, storage.Append(batch).Error);
        storage.Log.UpdateConfig(new LogConfig { SegmentBytes = 500 });
        Assert.Equal(AppendError.RecordListTooLarge, storage.Append(batch).Error);
    }

    [Fact]
    public void A_compacted_topic_names_the_records_without_key()
    {
        using var storage = new TestStorage(new LogConfig { CleanupPolicy = CleanupPolicy.Compact });
        var result = storage.Append(TestStorage.Batch(4, key: i => i % 2 == 0 ? null : [1]));
        Assert.Equal(AppendError.InvalidRecord, result.Error);
        Assert.Equal([0, 2], result.RecordErrors.Select(e => e.BatchIndex));
        Assert.Contains("cannot accept message without key", result.RecordErrors[0].Message);
        Assert.Equal(0, storage.Log.LogEndOffset);
    }

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Gzip)]
    public void Timestamps_out_of_bounds_are_named(CompressionType compression)
    {
        using var storage = new TestStorage(new LogConfig { MessageTimestampBeforeMaxMs = 1000 });
        var result = storage.Append(TestStorage.Batch(4, Now - 1002, compression));
        Assert.Equal(AppendError.InvalidTimestamp, result.Error);
        Assert.Equal("One or more records have been rejected due to invalid timestamp", result.ErrorMessage);
        Assert.Equal([0, 1], result.RecordErrors.Select(e => e.BatchIndex));
        Assert.Equal(AppendError.InvalidTimestamp, storage.Append(TestStorage.Batch(1, Now + 3_600_001)).Error);
        Assert.True(storage.Append(TestStorage.Batch(1, Now + 3_600_000)).IsSuccess);
        Assert.True(storage.Append(TestStorage.Batch(1, -1)).IsSuccess);
    }

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Lz4)]
    public void Log_append_time_replaces_timestamps_and_keeps_the_checksum_valid(CompressionType compression)
    {
        using var storage = new TestStorage(new LogConfig { MessageTimestampType = TimestampType.LogAppendTime });
        storage.Clock.Advance(77);
        var result = storage.AppendOk(TestStorage.Batch(3, timestamp: 5, compression));
        Assert.Equal(Now + 77, result.LogAppendTimeMs);
        Assert.All(storage.ReadRecords(0), r => Assert.Equal(Now + 77, r.Timestamp));
    }

    [Fact]
    public void A_header_that_lies_about_its_max_timestamp_is_corrected()
    {
        using var storage = new TestStorage();
        var batch = TestStorage.Batch(3, Now);
        RecordBatchEditor.SetMaxTimestamp(new(batch), TimestampType.CreateTime, Now + 100_000);
        storage.AppendOk(batch);
        using var records = storage.Log.Read(0, 1000, long.MaxValue, true).Records;
        Assert.True(RecordBatchHeader.TryParse(records.ToArray(), out var header));
        Assert.Equal(Now + 2, header.MaxTimestamp);
        Assert.Equal(3, storage.ReadOffsets(0).Count);
    }

    [Theory]
    [InlineData(CompressionType.None, CompressionType.Gzip)]
    [InlineData(CompressionType.Gzip, CompressionType.None)]
    [InlineData(CompressionType.Zstd, CompressionType.Snappy)]
    public void The_topics_codec_replaces_the_producers(CompressionType sent, CompressionType stored)
    {
        using var storage = new TestStorage(new LogConfig { CompressionType = stored });
        storage.AppendOk(TestStorage.Batch(10, Now, sent, valueBytes: 300));
        using var records = storage.Log.Read(0, 1 << 20, long.MaxValue, true).Records;
        Assert.True(RecordBatchHeader.TryParse(records.ToArray(), out var header));
        Assert.Equal((stored, 9L), (header.Compression, header.LastOffset));
        Assert.Equal(10, storage.ReadOffsets(0).Count);
    }

    [Fact]
    public void A_count_that_is_not_that_of_the_records_is_invalid()
    {
        using var storage = new TestStorage();
        var batch = TestStorage.Batch(3);
        batch[RecordBatchLayout.RecordsCount + 3] = 4;
        batch[RecordBatchLayout.LastOffsetDelta + 3] = 3;
        RecordBatchEditor.WriteCrc(batch);
        Assert.Equal(AppendError.InvalidRecord, storage.Append(batch).Error);
    }

    [Fact]
    public void A_follower_keeps_offsets_and_epochs_and_leaves_a_torn_batch_out()
    {
        using var leader = new TestStorage();
        using var follower = new TestStorage();
        leader.AppendOk(TestStorage.Batch(3), leaderEpoch: 2);
        leader.AppendOk(TestStorage.Batch(3), leaderEpoch: 4);
        using var records = leader.Log.Read(0, 1 << 20, long.MaxValue, true).Records;
        var bytes = records.ToArray();
        var result = follower.Log.AppendAsFollower(new(bytes[..^1]));
        Assert.Equal((0, 2), (result.FirstOffset, result.LastOffset));
        Assert.Equal(AppendError.CorruptMessage, follower.Log.AppendAsFollower(new(bytes)).Error);
        follower.Log.TruncateTo(0);
        Assert.Equal(5, follower.Log.AppendAsFollower(new(bytes)).LastOffset);
        Assert.Equal([new EpochStart(2, 0), new EpochStart(4, 3)], follower.Log.LeaderEpochs.Entries);
        Assert.Equal(leader.ReadOffsets(0), follower.ReadOffsets(0));
    }

    [Fact]
    public void Steady_appends_allocate_next_to_nothing()
    {
        using var storage = new TestStorage();
        var sequence = new ReadOnlySequence<byte>(TestStorage.Batch(10, valueBytes: 100));
        for (var i = 0; i < 2000; i++)
            AppendAgain(storage.Log, sequence);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            AppendAgain(storage.Log, sequence);
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 1000, 0, 64);
    }

    private static void AppendAgain(PartitionLog log, in ReadOnlySequence<byte> sequence)
    {
        // The previous append wrote its offset into the buffer; a fresh request has 0 there.
        RecordBatchEditor.AssignOffsets(sequence, 0, -1);
        if (!log.AppendAsLeader(sequence, 0, AppendOptions.Client).IsSuccess)
            throw new InvalidOperationException(Encoding.UTF8.GetString("refused"u8));
    }
}
