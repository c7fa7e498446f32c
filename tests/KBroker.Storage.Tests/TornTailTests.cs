using KBroker.Protocol.Records;
using KBroker.Storage.Files;
using KBroker.Storage.Repair;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage.Tests;

public sealed class TornTailTests
{
    private const string First = "00000000000000000000.log";

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Gzip)]
    [InlineData(CompressionType.Lz4)]
    public void Cut_at_every_byte_the_log_ends_with_the_last_whole_batch(CompressionType compression)
    {
        using var storage = Create(compression);
        var log = Path.Combine(storage.LogPath, First);
        var bytes = File.ReadAllBytes(log);
        var ends = Ends(bytes);
        // The last two batches: one or both may be torn.
        for (var length = ends[^3].Position; length <= bytes.Length; length++)
        {
            File.WriteAllBytes(log, bytes[..length]);
            storage.Reopen();
            var (position, offset) = ends.Last(e => e.Position <= length);
            Assert.Equal(offset, storage.Log.LogEndOffset);
            Assert.Equal(Enumerable.Range(0, (int)offset).Select(i => (long)i), storage.ReadOffsets(0));
            Assert.Equal(position, new FileInfo(log).Length);
            Assert.Equal(offset, storage.AppendOk(TestStorage.Batch(1)).FirstOffset);
            storage.Crash();
        }
    }

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Gzip)]
    public void Zeros_or_rubbish_in_place_of_the_end_are_cut(CompressionType compression)
    {
        using var storage = Create(compression);
        var log = Path.Combine(storage.LogPath, First);
        var bytes = File.ReadAllBytes(log);
        var ends = Ends(bytes);
        var random = new Random(3);
        for (var length = ends[^2].Position; length < bytes.Length; length++)
        {
            foreach (var isRandom in new[] { false, true })
            {
                var torn = bytes.ToArray();
                torn.AsSpan(length).Clear();
                if (isRandom)
                    random.NextBytes(torn.AsSpan(length));
                File.WriteAllBytes(log, [.. torn, .. new byte[isRandom ? 7 : 500]]);
                storage.Reopen();
                // The record's last bytes may be zeros already.
                var isWhole = torn.AsSpan().SequenceEqual(bytes);
                Assert.Equal(isWhole ? ends[^1].Offset : ends[^2].Offset, storage.Log.LogEndOffset);
                Assert.Equal((int)storage.Log.LogEndOffset, storage.ReadOffsets(0).Count);
                storage.Crash();
            }
        }
    }

    [Fact]
    public void A_cut_is_told_in_one_line_with_file_position_and_bytes()
    {
        var lines = new List<string>();
        using var storage = Create(CompressionType.None);
        var log = Path.Combine(storage.LogPath, First);
        var bytes = File.ReadAllBytes(log);
        var end = Ends(bytes)[^2].Position;
        File.WriteAllBytes(log, bytes[..^5]);
        using var manager = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [storage.Root],
            NodeId = 1,
            Codecs = TestStorage.Codecs,
            RunInline = true,
            Logger = new ListLogger(lines),
        });
        manager.LoadLogs((_, _) => storage.Config);
        var line = Assert.Single(lines, l => l.Contains("cut", StringComparison.Ordinal));
        Assert.Contains($"{log}: cut at position {end}, behind offset ", line);
        Assert.Contains($"{bytes.Length - 5 - end} bytes are gone", line);
    }

    [Fact]
    public void The_progress_of_an_opening_is_told_once_a_second()
    {
        var lines = new List<string>();
        var clock = new ManualClock(0);
        using (var progress = new RecoveryProgress("/data", 10, clock, new ListLogger(lines)))
        {
            clock.Advance(999);
            Assert.Empty(lines);
            clock.Advance(1);
            Assert.Equal(
                "Log directory /data: 0 of 10 partitions opened, 0 MB scanned in 1 s; no estimate yet.", lines[0]);
            progress.Scanned(123_456_789);
            for (var i = 0; i < 4; i++)
                progress.PartitionDone();
            for (var second = 0; second < 3; second++)
                clock.Advance(1000);
            Assert.Equal(4, lines.Count);
            Assert.Equal(
                "Log directory /data: 4 of 10 partitions opened, 123 MB scanned in 4 s; about 6 s left.", lines[3]);
        }

        clock.Advance(5000);
        Assert.Equal(4, lines.Count);
    }

    [Fact]
    public void Damage_is_found_by_a_check_and_cut_by_who_accepts_the_loss()
    {
        using var storage = new TestStorage(
            new LogConfig { SegmentBytes = 2000, IndexIntervalBytes = 200 },
            new FaultInjectingFileSystem(new PhysicalFileSystem()));
        for (var i = 0; i < 60; i++)
            storage.AppendOk(TestStorage.ProducerBatch(7, 0, i * 3, 3), i / 20);
        storage.CloseCleanly();
        var check = new LogCheck(new PhysicalFileSystem(), storage.Root);
        Assert.Contains(TestStorage.Partition, check.Partitions());
        var good = check.Check(TestStorage.Partition);
        Assert.Equal((60L, null), (good.Batches, good.Problem));

        var files = Directory.GetFiles(storage.LogPath, "*.log").Order().ToArray();
        var bytes = File.ReadAllBytes(files[1]);
        var ends = Ends(bytes);
        bytes[ends[2].Position + RecordBatchLayout.BatchLength] = 0x7f;
        File.WriteAllBytes(files[1], bytes);
        File.Delete(Path.Combine(storage.Root, ".kafka_cleanshutdown"));
        File.WriteAllText(Path.Combine(storage.Root, "recovery-point-offset-checkpoint"), "0\n1\norders 0 180\n");
        File.Delete(Path.ChangeExtension(files[1], ".index"));
        Assert.Throws<StorageException>(storage.Reopen);
        storage.Crash();

        using (check.Lock())
        {
            var problem = check.Check(TestStorage.Partition).Problem!;
            Assert.Equal(
                (files[1], ends[2].Position, ends[2].Offset),
                (problem.File, (int)problem.Position, problem.Offset));
            check.Truncate(TestStorage.Partition, problem);
            Assert.Null(check.Check(TestStorage.Partition).Problem);
        }

        storage.Reopen();
        Assert.Equal(ends[2].Offset, storage.Log.LogEndOffset);
        Assert.Equal(Enumerable.Range(0, (int)ends[2].Offset).Select(i => (long)i), storage.ReadOffsets(0));
        var end = (int)ends[2].Offset;
        Assert.True(storage.AppendOk(TestStorage.ProducerBatch(7, 0, end - 3, 3)).IsDuplicate);
        Assert.Equal(end, storage.AppendOk(TestStorage.ProducerBatch(7, 0, end, 3)).FirstOffset);
    }

    private static TestStorage Create(CompressionType compression)
    {
        var storage = new TestStorage(files: new FaultInjectingFileSystem(new PhysicalFileSystem()));
        for (var i = 0; i < 4; i++)
            storage.AppendOk(TestStorage.Batch(2 + i, compression: compression));
        storage.Crash();
        return storage;
    }

    /// <summary>Where batches end: the start of the file, then behind each.</summary>
    private static List<(int Position, long Offset)> Ends(byte[] bytes)
    {
        var ends = new List<(int Position, long Offset)>();
        var position = 0;
        while (position < bytes.Length)
        {
            Assert.True(RecordBatchHeader.TryParse(bytes.AsSpan(position), out var header));
            if (ends.Count == 0)
                ends.Add((0, header.BaseOffset));
            position += header.SizeInBytes;
            ends.Add((position, header.NextOffset));
        }

        return ends;
    }

    private sealed class ListLogger(List<string> lines) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            lock (lines)
                lines.Add(formatter(state, exception));
        }
    }
}
