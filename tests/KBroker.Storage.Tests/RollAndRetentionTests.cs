using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests;

public sealed class RollAndRetentionTests
{
    private const long Now = 1_700_000_000_000;

    [Fact]
    public void A_segment_never_grows_above_its_size()
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 1000 });
        for (var i = 0; i < 50; i++)
            storage.AppendOk(TestStorage.Batch(2));
        var files = Directory.GetFiles(storage.LogPath, "*.log");
        Assert.Equal(storage.Log.SegmentCount, files.Length);
        Assert.True(files.Length > 5);
        Assert.All(files, f => Assert.InRange(new FileInfo(f).Length, 1, 1000));
        Assert.Equal(100, storage.ReadOffsets(0).Count);
    }

    [Fact]
    public void A_segment_is_rolled_when_its_records_span_too_long()
    {
        using var storage = new TestStorage(new LogConfig
        {
            SegmentMs = 1000,
            MessageTimestampAfterMaxMs = long.MaxValue
        });
        storage.AppendOk(TestStorage.Batch(1, Now));
        storage.Clock.Advance(5000);
        storage.AppendOk(TestStorage.Batch(1, Now + 1000));
        Assert.Equal(1, storage.Log.SegmentCount);
        storage.AppendOk(TestStorage.Batch(1, Now + 1001));
        Assert.Equal(2, storage.Log.SegmentCount);
    }

    [Fact]
    public void Records_without_timestamps_roll_by_the_clock()
    {
        using var storage = new TestStorage(new LogConfig { SegmentMs = 1000 });
        storage.AppendOk(TestStorage.Batch(1, -1, timestampStep: 0));
        storage.Clock.Advance(1000);
        storage.AppendOk(TestStorage.Batch(1, -1, timestampStep: 0));
        Assert.Equal(1, storage.Log.SegmentCount);
        storage.Clock.Advance(1);
        storage.AppendOk(TestStorage.Batch(1, -1, timestampStep: 0));
        Assert.Equal(2, storage.Log.SegmentCount);
    }

    [Fact]
    public void A_full_index_rolls_the_segment()
    {
        using var storage = new TestStorage(new LogConfig { IndexIntervalBytes = 0, SegmentIndexBytes = 96 });
        for (var i = 0; i < 40; i++)
            storage.AppendOk(TestStorage.Batch(1, Now + i));
        Assert.All(Directory.GetFiles(storage.LogPath, "*index"), f => Assert.InRange(new FileInfo(f).Length, 0, 96));
        Assert.InRange(storage.Log.SegmentCount, 4, 8);
    }

    [Fact]
    public void Old_segments_go_by_time_and_the_active_one_too()
    {
        using var storage = new TestStorage(new LogConfig
        {
            SegmentBytes = 1000,
            RetentionMs = 10_000,
            FileDeleteDelayMs = 500
        });
        for (var i = 0; i < 20; i++)
            storage.AppendOk(TestStorage.Batch(2, Now + (i * 1000), timestampStep: 0));
        storage.Clock.Advance(20_000);
        Assert.True(storage.Log.DeleteOldSegments(long.MaxValue) > 0);
        Assert.InRange(storage.Log.LogStartOffset, 10, 20);
        Assert.Equal(storage.Log.LogStartOffset, storage.ReadOffsets(storage.Log.LogStartOffset)[0]);
        Assert.NotEmpty(Directory.GetFiles(storage.LogPath, "*.deleted"));
        storage.Clock.Advance(500);
        Assert.Empty(Directory.GetFiles(storage.LogPath, "*.deleted"));
        storage.Clock.Advance(20_000);
        storage.Log.DeleteOldSegments(long.MaxValue);
        Assert.Equal((40, 40, 0), (storage.Log.LogStartOffset, storage.Log.LogEndOffset, storage.Log.SizeInBytes));
    }

    [Fact]
    public void Old_segments_go_by_size_but_never_above_the_high_watermark()
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 1000, RetentionBytes = 2500 });
        for (var i = 0; i < 60; i++)
            storage.AppendOk(TestStorage.Batch(2));
        Assert.Equal(0, storage.Log.DeleteOldSegments(5));
        storage.Log.DeleteOldSegments(long.MaxValue);
        Assert.InRange(storage.Log.SizeInBytes, 2500, 3500);
        storage.Log.UpdateConfig(storage.Config with { CleanupPolicy = CleanupPolicy.Compact, RetentionBytes = 0 });
        Assert.Equal(0, storage.Log.DeleteOldSegments(long.MaxValue));
    }

    [Fact]
    public void Deleting_records_moves_the_start_and_drops_whole_segments()
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 1000 });
        for (var i = 0; i < 30; i++)
            storage.AppendOk(TestStorage.Batch(2), leaderEpoch: i / 10);
        var segments = storage.Log.SegmentCount;
        Assert.Throws<OffsetOutOfRangeException>(() => storage.Log.DeleteRecordsBefore(61));
        storage.Log.DeleteRecordsBefore(35);
        storage.Log.DeleteRecordsBefore(10);
        Assert.Equal(35, storage.Log.LogStartOffset);
        Assert.True(storage.Log.SegmentCount < segments);
        Assert.Equal([new EpochStart(1, 35), new EpochStart(2, 40)], storage.Log.LeaderEpochs.Entries);
        Assert.Contains("orders 0 35\n", File.ReadAllText(Path.Combine(storage.Root, "log-start-offset-checkpoint")));
        storage.Log.DeleteRecordsBefore(60);
        Assert.Equal((60, 60), (storage.Log.LogStartOffset, storage.Log.LogEndOffset));
        Assert.Equal(60, storage.AppendOk(TestStorage.Batch(1)).FirstOffset);
    }

    [Fact]
    public void Truncation_goes_back_to_a_batch_boundary_and_forgets_what_came_after()
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 1000, IndexIntervalBytes = 100 });
        for (var i = 0; i < 30; i++)
            storage.AppendOk(TestStorage.ProducerBatch(5, 0, i * 2, 2), leaderEpoch: i / 10);
        storage.Log.Flush();
        storage.Log.TruncateTo(25);
        Assert.Equal(24, storage.Log.LogEndOffset);
        Assert.Equal(24, storage.Log.RecoveryPoint);
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (long)i), storage.ReadOffsets(0));
        Assert.Equal([new EpochStart(0, 0), new EpochStart(1, 20)], storage.Log.LeaderEpochs.Entries);
        Assert.True(storage.AppendOk(TestStorage.ProducerBatch(5, 0, 22, 2)).IsDuplicate);
        Assert.Equal(24, storage.AppendOk(TestStorage.ProducerBatch(5, 0, 24, 2)).FirstOffset);
        storage.CrashAndReopen();
        Assert.Equal(26, storage.Log.LogEndOffset);
    }

    [Fact]
    public void Epochs_end_where_the_next_begins()
    {
        using var storage = new TestStorage();
        foreach (var epoch in new[] { 2, 2, 5, 9 })
            storage.AppendOk(TestStorage.Batch(5), epoch);
        var epochs = storage.Log.LeaderEpochs;
        var end = storage.Log.LogEndOffset;
        Assert.Equal(EpochEndOffset.Unknown, epochs.EndOffsetFor(-1, end));
        Assert.Equal(EpochEndOffset.Unknown, epochs.EndOffsetFor(10, end));
        Assert.Equal(new EpochEndOffset(1, 0), epochs.EndOffsetFor(1, end));
        Assert.Equal(new EpochEndOffset(2, 10), epochs.EndOffsetFor(2, end));
        Assert.Equal(new EpochEndOffset(2, 10), epochs.EndOffsetFor(4, end));
        Assert.Equal(new EpochEndOffset(5, 15), epochs.EndOffsetFor(5, end));
        Assert.Equal(new EpochEndOffset(9, 20), epochs.EndOffsetFor(9, end));
        Assert.Equal((2, 5, 9), (epochs.EpochOf(9), epochs.EpochOf(10), epochs.EpochOf(19)));
    }

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Gzip)]
    public void Timestamps_are_found_exactly_to_the_record(CompressionType compression)
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 3000, IndexIntervalBytes = 300 });
        var random = new Random(7);
        var model = new List<long>();
        for (var i = 0; i < 80; i++)
        {
            var timestamp = Now + random.Next(5000);
            var step = random.Next(-20, 20);
            storage.AppendOk(TestStorage.Batch(5, timestamp, compression, timestampStep: step));
            for (var j = 0; j < 5; j++)
                model.Add(timestamp + (j * step));
        }

        for (var round = 0; round < 2; round++)
        {
            for (var timestamp = Now - 200; timestamp < Now + 5200; timestamp += 13)
            {
                var expected = model.FindIndex(t => t >= timestamp);
                var found = storage.Log.FindOffsetByTimestamp(timestamp);
                Assert.Equal(expected, found?.Offset ?? -1);
                if (found is { } hit)
                    Assert.Equal(model[expected], hit.Timestamp);
            }

            Assert.Equal(model.IndexOf(model.Max()), storage.Log.MaxTimestampOffset()!.Value.Offset);
            storage.CloseCleanly();
            storage.Reopen();
        }
    }
}
