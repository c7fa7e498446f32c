namespace KBroker.Storage.Tests;

/// <summary>Apache Kafka's rules for what goes and when a segment ends, one by one.</summary>
public sealed class RetentionRulesTests
{
    private const long Now = 1_700_000_000_000;

    [Fact]
    public void The_largest_timestamp_of_a_segment_decides_and_not_the_last_one()
    {
        using var storage = Create(new LogConfig { SegmentBytes = 300, RetentionMs = 10_000 });
        storage.AppendOk(TestStorage.Batch(1, Now + 50_000));
        storage.AppendOk(TestStorage.Batch(1, Now));
        storage.Log.RollSegment();
        storage.AppendOk(TestStorage.Batch(1, Now));
        storage.Clock.Advance(59_000);
        Assert.Equal(0, storage.Log.DeleteOldSegments(long.MaxValue));
        storage.Clock.Advance(1_001);
        Assert.Equal(2, storage.Log.DeleteOldSegments(long.MaxValue));
        Assert.Equal((3, 3), (storage.Log.LogStartOffset, storage.Log.LogEndOffset));
    }

    [Fact]
    public void A_young_segment_protects_older_records_behind_it()
    {
        using var storage = Create(new LogConfig { RetentionMs = 10_000 });
        storage.AppendOk(TestStorage.Batch(1, Now + 100_000));
        storage.Log.RollSegment();
        storage.AppendOk(TestStorage.Batch(1, Now));
        storage.Log.RollSegment();
        storage.AppendOk(TestStorage.Batch(1, Now + 100_000));
        storage.Clock.Advance(60_000);
        Assert.Equal(0, storage.Log.DeleteOldSegments(long.MaxValue));
        Assert.Equal(3, storage.Log.SegmentCount);
    }

    [Fact]
    public void Records_of_the_future_stay_until_their_time_has_passed_and_more()
    {
        using var storage = Create(new LogConfig { RetentionMs = 0 });
        storage.AppendOk(TestStorage.Batch(1, Now + 1_000));
        storage.Clock.Advance(1_000);
        Assert.Equal(0, storage.Log.DeleteOldSegments(long.MaxValue));
        storage.Clock.Advance(1);
        Assert.Equal(1, storage.Log.DeleteOldSegments(long.MaxValue));
    }

    [Fact]
    public void Records_without_timestamp_age_from_the_last_write()
    {
        using var storage = Create(new LogConfig { RetentionMs = 10_000 });
        storage.AppendOk(TestStorage.Batch(1, -1, timestampStep: 0));
        storage.Clock.Advance(9_000);
        storage.AppendOk(TestStorage.Batch(1, -1, timestampStep: 0));
        storage.Clock.Advance(10_000);
        Assert.Equal(0, storage.Log.DeleteOldSegments(long.MaxValue));
        storage.Clock.Advance(1);
        Assert.Equal(1, storage.Log.DeleteOldSegments(long.MaxValue));
    }

    [Fact]
    public void Minus_one_keeps_everything_by_time_and_by_size()
    {
        using var storage = Create(new LogConfig { SegmentBytes = 300, RetentionMs = -1, RetentionBytes = -1 });
        for (var i = 0; i < 10; i++)
            storage.AppendOk(TestStorage.Batch(2, Now));
        storage.Clock.Advance(1_000_000_000_000);
        Assert.Equal(0, storage.Log.DeleteOldSegments(long.MaxValue));
    }

    [Fact]
    public void Size_removes_a_segment_only_if_what_stays_is_not_less_than_allowed()
    {
        using var storage = Create(new LogConfig { SegmentBytes = 1 << 20, RetentionMs = -1 });
        long size = 0;
        for (var i = 0; i < 4; i++)
        {
            storage.AppendOk(TestStorage.Batch(2, Now));
            size = storage.Log.SizeInBytes / (i + 1);
            storage.Log.RollSegment();
        }

        storage.Log.UpdateConfig(storage.Config with { RetentionBytes = (size * 3) + 1 });
        Assert.Equal(0, storage.Log.DeleteOldSegments(long.MaxValue));
        storage.Log.UpdateConfig(storage.Config with { RetentionBytes = size * 3 });
        Assert.Equal(1, storage.Log.DeleteOldSegments(long.MaxValue));
        Assert.Equal(2, storage.Log.LogStartOffset);
    }

    [Fact]
    public void What_lies_before_the_start_goes_whatever_the_policy_is()
    {
        using var storage = Create(new LogConfig { CleanupPolicy = CleanupPolicy.Compact, RetentionMs = 1 });
        for (var i = 0; i < 3; i++)
        {
            storage.AppendOk(TestStorage.Batch(2, Now));
            storage.Log.RollSegment();
        }

        storage.Clock.Advance(100_000);
        Assert.Equal(0, storage.Log.DeleteOldSegments(long.MaxValue));
        storage.Log.DeleteRecordsBefore(4);
        Assert.Equal(4, storage.Log.LogStartOffset);
        Assert.Equal(2, storage.Log.SegmentCount);
    }

    [Fact]
    public void Jitter_lets_segments_end_earlier_but_never_later()
    {
        var lengths = new HashSet<long>();
        using var storage = Create(new LogConfig { SegmentMs = 1_000, SegmentJitterMs = 400 });
        long first = Now;
        for (var time = Now; time < Now + 60_000; time += 10)
        {
            var segments = storage.Log.SegmentCount;
            storage.AppendOk(TestStorage.Batch(1, time));
            if (storage.Log.SegmentCount == segments)
                continue;
            Assert.InRange(time - first, 600, 1_010);
            lengths.Add(time - first);
            first = time;
        }

        Assert.True(lengths.Count > 5);
    }

    [Fact]
    public void Deleted_files_wait_for_their_delay_and_readers_go_on_meanwhile()
    {
        using var storage = Create(new LogConfig { FileDeleteDelayMs = 5_000 });
        storage.AppendOk(TestStorage.Batch(3, Now));
        storage.Log.RollSegment();
        storage.AppendOk(TestStorage.Batch(3, Now));
        using var records = storage.Log.Read(0, 1 << 20, long.MaxValue, true).Records;
        storage.Log.DeleteRecordsBefore(3);
        Assert.NotEmpty(Directory.GetFiles(storage.LogPath, "*.deleted"));
        storage.Clock.Advance(4_999);
        Assert.NotEmpty(Directory.GetFiles(storage.LogPath, "*.deleted"));
        storage.Clock.Advance(1);
        Assert.Empty(Directory.GetFiles(storage.LogPath, "*.deleted"));
        Assert.Equal(3, TestStorage.RecordsOf(records.ToArray()).Count);
    }

    private static TestStorage Create(LogConfig config) =>
        new(config with { MessageTimestampAfterMaxMs = long.MaxValue });
}
