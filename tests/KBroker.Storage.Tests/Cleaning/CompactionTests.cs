using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>What compaction keeps and what it drops.</summary>
public sealed class CompactionTests
{
    [Fact]
    public void The_newest_record_of_each_key_stays_at_its_offset()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        storage.Put(("a", "1"), ("b", "1"), ("c", "1"));
        storage.Put(("b", "2"), ("d", "1"));
        storage.Log.RollSegment();
        storage.Put(("a", "2"), ("a", "3"));
        storage.Compact();
        Assert.Equal(
            ["2 c=1", "3 b=2", "4 d=1", "6 a=3"],
            storage.ReadAll().Select(static r => $"{r.Offset} {r.Key}={r.Value}"));
        Assert.Equal(7, storage.Log.LogEndOffset);
        Assert.Equal(0, storage.Log.LogStartOffset);
        Assert.Equal(2, storage.Log.SegmentCount);
        Assert.Equal("0\n1\norders 0 7\n", File.ReadAllText(Path.Combine(storage.Root, "cleaner-offset-checkpoint")));
    }

    [Fact]
    public void The_active_segment_is_left_alone()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        storage.Put(("a", "1"), ("a", "2"));
        Assert.False(storage.Manager.Cleaner.CleanNext(default));
        storage.Log.RollSegment();
        storage.Put(("a", "3"), ("a", "4"));
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.Equal([1, 2, 3], storage.ReadAll().Select(static r => r.Offset));
    }

    [Fact]
    public void Tombstones_stay_until_their_delete_horizon()
    {
        foreach (var type in Enum.GetValues<CompressionType>())
        {
            using var storage = new TestStorage(CleaningSample.Compacted);
            storage.Put(("a", "1"), ("b", "1"));
            storage.Put(new RecordBatchOptions { Compression = type }, ("a", null), ("c", "1"));
            var now = storage.Clock.NowMs;
            storage.Compact();
            var batch = storage.ReadBatches().Single(static b => b.Header.BaseOffset == 2);
            Assert.Equal((true, now + 1000, type),
                (batch.Header.HasDeleteHorizon, batch.Header.BaseTimestamp, batch.Header.Compression));
            Assert.Equal(
                [new SeenRecord(2, "a", null, now), new SeenRecord(3, "c", "1", now + 1)], batch.Records);

            storage.Clock.Advance(999);
            storage.Put(("x", "1"));
            storage.Compact();
            Assert.Contains(storage.ReadAll(), static r => r.Offset == 2);
            storage.Clock.Advance(1);
            storage.Put(("x", "2"));
            storage.Compact();
            Assert.Equal(["1 b", "3 c", "5 x"], storage.ReadAll().Select(static r => $"{r.Offset} {r.Key}"));
        }
    }
}
