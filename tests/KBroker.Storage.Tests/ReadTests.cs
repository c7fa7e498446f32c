
namespace KBroker.Storage.Tests;

public sealed class ReadTests
{
    [Fact]
    public void A_read_starts_with_the_whole_batch_that_holds_the_offset()
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.Batch(10));
        storage.AppendOk(TestStorage.Batch(10));
        var result = storage.Log.Read(13, 1 << 20, long.MaxValue, true);
        using var records = result.Records;
        Assert.Equal(10, result.FirstBatchOffset);
        var offsets = TestStorage.RecordsOf(records.ToArray()).Select(r => r.Offset);
        Assert.Equal(Enumerable.Range(10, 10).Select(i => (long)i), offsets);
    }

    [Fact]
    public void The_byte_limit_cuts_anywhere_but_the_first_batch_comes_whole()
    {
        using var storage = new TestStorage();
        for (var i = 0; i < 5; i++)
            storage.AppendOk(TestStorage.Batch(1, valueBytes: 100));
        var size = (int)storage.Log.SizeInBytes / 5;
        Assert.Equal(size, Length(storage, 0, 1, true));
        Assert.Equal(size + 10, Length(storage, 0, size + 10, true));
        Assert.Equal(size, Length(storage, 0, size, false));
        var tooLarge = storage.Log.Read(0, size - 1, long.MaxValue, false);
        Assert.True(tooLarge.FirstBatchTooLarge);
        Assert.True(tooLarge.Records.IsEmpty);
    }

    [Fact]
    public void Nothing_at_or_behind_the_bound_is_given()
    {
        using var storage = new TestStorage(new LogConfig { IndexIntervalBytes = 200, SegmentBytes = 2000 });
        for (var i = 0; i < 60; i++)
            storage.AppendOk(TestStorage.Batch(2));
        for (long bound = 0; bound <= 120; bound++)
        {
            for (long from = 0; from < 120; from += 7)
            {
                using var records = storage.Log.Read(from, 1 << 20, bound, true).Records;
                var last = TestStorage.RecordsOf(records.ToArray()).Select(r => r.Offset).DefaultIfEmpty(-1).Max();
                Assert.True(last < bound, $"from {from} bound {bound}: {last}");
                Assert.Equal(from >= bound / 2 * 2 || bound == 0, records.IsEmpty);
            }
        }
    }

    [Fact]
    public void Offsets_outside_the_log_are_refused_and_the_end_is_empty()
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.Batch(3));
        Assert.Throws<OffsetOutOfRangeException>(() => storage.Log.Read(-1, 100, long.MaxValue, true));
        Assert.Throws<OffsetOutOfRangeException>(() => storage.Log.Read(4, 100, long.MaxValue, true));
        Assert.True(storage.Log.Read(3, 100, long.MaxValue, true).Records.IsEmpty);
    }

    [Fact]
    public void A_slice_outlives_the_deletion_of_its_segment()
    {
        using var storage = new TestStorage(new LogConfig { FileDeleteDelayMs = 0 });
        storage.AppendOk(TestStorage.Batch(3));
        storage.Log.RollSegment();
        storage.AppendOk(TestStorage.Batch(3));
        var records = storage.Log.Read(0, 1 << 20, long.MaxValue, true).Records;
        storage.Log.DeleteRecordsBefore(3);
        Assert.Equal(1, storage.Log.SegmentCount);
        Assert.False(File.Exists(Path.Combine(storage.LogPath, "00000000000000000000.log")));
        Assert.Equal(3, TestStorage.RecordsOf(records.ToArray()).Count);
        Assert.True(records.TryGetRegion(out var region));
        var slice = Assert.IsType<FileSlice>(region);
        Assert.True(slice.Stream.CanRead);
        var handle = slice.Handle;
        records.Dispose();
        Assert.True(handle.IsClosed);
    }

    [Fact]
    public void Readers_beside_a_writer_see_whole_prefixes_only()
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 20_000, IndexIntervalBytes = 500 });
        const int batches = 2000;
        var failure = default(Exception);
        var reader = new Thread(() =>
        {
            try
            {
                long next = 0;
                while (next < batches * 3)
                {
                    using var records = storage.Log.Read(next, 5000, long.MaxValue, true).Records;
                    foreach (var (offset, _) in TestStorage.RecordsOf(records.ToArray()))
                    {
                        if (offset < next)
                            continue;
                        Assert.Equal(next, offset);
                        next++;
                    }
                }
            }
            catch (Exception exception)
            {
                failure = exception;
            }
        });
        reader.Start();
        for (var i = 0; i < batches; i++)
            storage.AppendOk(TestStorage.Batch(3));
        Assert.True(reader.Join(TimeSpan.FromSeconds(60)));
        Assert.Null(failure);
    }

    private static int Length(TestStorage storage, long offset, int maxBytes, bool minOne)
    {
        using var records = storage.Log.Read(offset, maxBytes, long.MaxValue, minOne).Records;
        return records.SizeInBytes;
    }
}
