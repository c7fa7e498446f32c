using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Tests;

/// <summary>A machine that dies at each operation of the file system in turn, and what is there afterwards.</summary>
public sealed class PowerCutTests
{
    private static readonly TopicPartition Other = new("other", 0);

    private static readonly LogConfig Small = new()
    {
        SegmentBytes = 700,
        IndexIntervalBytes = 100,
        RetentionMs = -1,
        RetentionBytes = 1500,
        FileDeleteDelayMs = 0,
    };

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void At_no_operation_is_anything_lost_that_was_promised(int luck)
    {
        for (var operation = 1; ; operation++)
        {
            var root = Path.Combine(Path.GetTempPath(), $"kbroker-power-{Guid.NewGuid():N}");
            try
            {
                var promised = Run(root, operation, luck == 0 ? null : new Random((operation * 10) + luck));
                Check(root, promised, operation);
                if (promised.IsOver)
                {
                    Assert.True(operation > 40);
                    return;
                }
            }
            finally
            {
                Directory.Delete(root, recursive: true);
            }
        }
    }

    [Fact]
    public void Indexes_of_a_segment_that_ends_at_the_recovery_point_are_not_trusted()
    {
        var root = Path.Combine(Path.GetTempPath(), $"kbroker-power-{Guid.NewGuid():N}");
        try
        {
            var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
            using (var storage = new TestStorage(Small, files, root: root))
            {
                storage.AppendOk(TestStorage.ProducerBatch(7, 0, 0, 3, transactional: true));
                var marker = TestStorage.Marker(7, ControlRecordType.Abort);
                Assert.True(storage.Log.AppendAsLeader(new(marker), 0, AppendOptions.Coordinator).IsSuccess);
                storage.Log.Flush();
                storage.Manager.CheckpointRecoveryPoints();
                storage.Log.RollSegment();
                // As the flush of the epochs' file does it, or the journal at any time.
                var log = Directory.GetFiles(root, "*.log", SearchOption.AllDirectories)[0];
                files.FlushDirectory(Path.GetDirectoryName(log)!);
                storage.Crash();
                files.CutPower();
            }

            using (var storage = new TestStorage(Small, files, root: root))
            {
                Assert.Equal(4, storage.Log.LogEndOffset);
                Assert.Equal(0, Assert.Single(storage.Log.GetAbortedTransactions(0, 4)).FirstOffset);
            }
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    [Fact]
    public void Entries_of_a_transaction_index_that_a_power_cut_left_empty_do_not_survive_a_recovery()
    {
        using var storage = new TestStorage(Small);
        storage.AppendOk(TestStorage.Batch(3));
        storage.Log.RollSegment();
        storage.AppendOk(TestStorage.ProducerBatch(7, 0, 0, 3, transactional: true));
        var marker = TestStorage.Marker(7, ControlRecordType.Abort);
        Assert.True(storage.Log.AppendAsLeader(new(marker), 0, AppendOptions.Coordinator).IsSuccess);
        var index = Directory.GetFiles(storage.Root, "*.txnindex", SearchOption.AllDirectories).Single();
        storage.Crash();
        File.WriteAllBytes(index, new byte[new FileInfo(index).Length]);
        storage.Reopen();
        Assert.Equal(3, Assert.Single(storage.Log.GetAbortedTransactions(0, 7)).FirstOffset);
        Assert.Equal(34, new FileInfo(index).Length);
    }

    /// <summary>Writes, moves the start, rolls, applies retention, creates and deletes, until the power goes.</summary>
    private static Promised Run(string root, int operation, Random? luck)
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        var promised = new Promised();
        using var storage = new TestStorage(Small, files, root: root);
        storage.AppendOk(TestStorage.Batch(3));
        storage.Log.Flush();
        promised.End = 3;
        var left = operation;
        files.Fault = (_, _) => Interlocked.Decrement(ref left) <= 0 ? new IOException("The power is gone.") : null;
        try
        {
            for (var i = 0; i < 12; i++)
                storage.AppendOk(TestStorage.Batch(3), leaderEpoch: i / 5);
            storage.Log.Flush();
            promised.End = storage.Log.LogEndOffset;
            storage.Log.DeleteRecordsBefore(7);
            promised.Start = 7;
            storage.Manager.CheckpointRecoveryPoints();
            var other = storage.Manager.GetOrCreate(Other, TestStorage.TopicId, Small);
            Assert.True(other.AppendAsLeader(new(TestStorage.Batch(5)), 0, AppendOptions.Client).IsSuccess);
            other.Flush();
            promised.OtherEnd = 5;
            for (var i = 0; i < 3; i++)
                storage.AppendOk(TestStorage.Batch(3), leaderEpoch: 3);
            storage.Log.DeleteOldSegments(long.MaxValue);
            promised.Start = storage.Log.LogStartOffset;
            storage.Manager.CheckpointLogStartOffsets();
            storage.Manager.CheckpointRecoveryPoints();
            storage.Log.DeleteRecordsBefore(storage.Log.LogEndOffset);
            promised.Start = storage.Log.LogStartOffset;
            promised.End = storage.Log.LogEndOffset;
            promised.OtherEnd = null;
            storage.Manager.Delete(Other);
            // In a directory that has failed nothing is renamed; the metadata does not know the topic any more.
            promised.IsOtherDeleted = !storage.Manager.Directories[0].IsOffline;
            storage.CloseCleanly();
            promised.IsOver = Volatile.Read(ref left) > 0;
        }
        catch (IOException)
        {
            // The power is gone.
        }

        files.Fault = null;
        storage.Crash();
        files.CutPower(luck);
        return promised;
    }

    private static void Check(string root, Promised promised, int operation)
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var storage = new TestStorage(Small, files, root: root);
        var at = $"operation {operation}: {promised}";
        Assert.True(storage.Manager.DamagedLogs.Count == 0,
            at + string.Join(' ', storage.Manager.DamagedLogs.Values.Select(d => d.Message)));
        var log = storage.Log;
        Assert.True(log.LogStartOffset >= promised.Start, $"{at}: start {log.LogStartOffset}");
        Assert.True(log.LogEndOffset >= promised.End, $"{at}: end {log.LogEndOffset}");
        Assert.Equal(
            Enumerable.Range(0, 200).Select(i => (long)i)
                .Where(i => i >= log.LogStartOffset && i < log.LogEndOffset),
            storage.ReadOffsets(log.LogStartOffset));
        var isThere = storage.Manager.TryGet(Other, out var other);
        Assert.False(promised.IsOtherDeleted && isThere, at);
        if (promised.OtherEnd is { } end)
            Assert.True(isThere && other!.LogEndOffset >= end, at);
        Assert.True(storage.AppendOk(TestStorage.Batch(2), 5).FirstOffset >= promised.End, at);
    }

    private sealed record Promised
    {
        public long Start { get; set; }

        public long End { get; set; }

        public long? OtherEnd { get; set; }

        public bool IsOtherDeleted { get; set; }

        public bool IsOver { get; set; }
    }
}
