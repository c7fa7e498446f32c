using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>What happens to a log while it is being compacted, and what damage and a failing disk do to it.</summary>
public sealed class CompactionInterruptionTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public void Appends_rolls_and_reads_go_on_at_every_step()
    {
        var operations = 1;
        for (var step = 0; step < operations; step++)
        {
            using var storage = Dirty(out var files);
            operations = DuringCompaction(storage, files, (_, _, number) => number == step, () =>
            {
                storage.Put(("k1", "new"), ("k9", "new"));
                storage.Log.RollSegment();
                storage.Put(("k2", "new"));
                Assert.Equal("new", storage.ReadTable()["k1"]);
            });
            Assert.Equal("k0=20 k1=new k2=new k9=new", Table(storage));
            storage.Compact();
            Assert.Equal("k0=20 k1=new k2=new k9=new", Table(storage));
            Assert.Equal(4, storage.ReadAll().Count);
            storage.CrashAndReopen();
            Assert.Equal("k0=20 k1=new k2=new k9=new", Table(storage));
        }

        Assert.InRange(operations, 15, 500);
    }

    [Fact]
    public async Task A_log_that_is_deleted_meanwhile_leaves_nothing_behind()
    {
        using var storage = Dirty(out var files);
        Task? deletion = null;
        DuringCompaction(storage, files, IsWrite, () =>
        {
            deletion = Task.Run(() => storage.Manager.Delete(TestStorage.Partition));
            Assert.True(SpinWait.SpinUntil(() => !storage.Manager.TryGet(TestStorage.Partition, out _), Patience));
        });
        await deletion!.WaitAsync(Patience);
        Assert.False(Directory.Exists(storage.LogPath));
        var checkpoint = Path.Combine(storage.Root, "cleaner-offset-checkpoint");
        Assert.DoesNotContain("orders", File.Exists(checkpoint) ? File.ReadAllText(checkpoint) : "");
        // Another log of the same name begins dirty from its start.
        var again = storage.Manager.GetOrCreate(TestStorage.Partition, TestStorage.TopicId, storage.Config);
        Assert.Equal(0, again.LogEndOffset);
        Assert.False(storage.Manager.Cleaner.CleanNext(default));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_log_that_is_cut_meanwhile_is_what_was_left(bool whileExchanging)
    {
        using var storage = Dirty(out var files);
        Task? cut = null;
        DuringCompaction(
            storage,
            files,
            whileExchanging ? IsExchange : IsWrite,
            () => cut = Task.Run(() => storage.Log.TruncateTo(10)));
        await cut!.WaitAsync(Patience);
        Assert.True(storage.Log.LogEndOffset <= 10);
        var end = storage.Log.LogEndOffset;
        storage.Compact();
        storage.Put(("k0", "after"));
        storage.Compact();
        Assert.Equal("after", storage.ReadTable()["k0"]);
        Assert.All(storage.ReadAll(), r => Assert.True(r.Offset >= end || int.Parse(r.Value!) == r.Offset));
        Assert.Empty(storage.FileNames(".cleaned").Concat(storage.FileNames(".swap")));
    }

    [Fact]
    public async Task A_broker_that_stops_meanwhile_finds_everything_again()
    {
        using var storage = Dirty(out var files);
        Task? stop = null;
        DuringCompaction(storage, files, IsWrite, () => stop = Task.Run(() => storage.CloseCleanly()));
        await stop!.WaitAsync(Patience);
        storage.Reopen();
        Assert.Equal("k0=20 k1=19 k2=18", Table(storage));
        Assert.Empty(storage.FileNames(".cleaned").Concat(storage.FileNames(".swap")));
    }

    [Fact]
    public void DeleteRecords_moves_the_start_at_once_and_the_cleaner_removes_the_segments()
    {
        using var storage = Dirty(out var files);
        DuringCompaction(storage, files, IsWrite, () =>
            Assert.True(Task.Run(() => storage.Log.DeleteRecordsBefore(15)).Wait(Patience)));
        Assert.Equal(15, storage.Log.LogStartOffset);
        Assert.All(storage.ReadAll(), static r => Assert.True(r.Offset >= 15));
        storage.Put(("k0", "x"));
        storage.Compact();
        Assert.Equal(15, storage.Log.LogStartOffset);
        Assert.Equal("k0=x k1=19 k2=18", Table(storage));
    }

    [Fact]
    public void A_topic_that_is_compacted_no_more_keeps_what_there_is()
    {
        using var storage = Dirty(out var files);
        DuringCompaction(storage, files, IsWrite, () =>
            Task.Run(() => storage.Log.UpdateConfig(new LogConfig { FileDeleteDelayMs = 0 })).Wait(50));
        Assert.True(SpinWait.SpinUntil(() => !storage.Log.Config.IsCompacted, Patience));
        Assert.False(storage.Manager.Cleaner.CleanNext(default));
        Assert.Equal("k0=20 k1=19 k2=18", Table(storage));
    }

    [Fact]
    public void Answers_in_flight_keep_the_bytes_of_replaced_segments()
    {
        using var storage = Dirty(out _);
        var reads = new List<ReadResult>();
        var before = new List<byte[]>();
        for (var offset = 0L; offset < 18; offset += 3)
        {
            reads.Add(storage.Log.Read(offset, 1 << 20, long.MaxValue, minOneMessage: true));
            before.Add(reads[^1].Records.ToArray());
        }

        storage.Compact();
        Assert.Empty(storage.FileNames(".deleted"));
        for (var i = 0; i < reads.Count; i++)
        {
            Assert.Equal(before[i], reads[i].Records.ToArray());
            reads[i].Records.Dispose();
        }
    }

    [Fact]
    public void A_read_bounded_by_an_offset_that_compaction_has_passed_shows_nothing_behind_it()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        storage.Put(("a", "1"));
        storage.Put(("b", "1"));
        storage.Put(("c", "1"));
        storage.Compact();
        using var records = storage.Log.Read(0, 1 << 20, 2, minOneMessage: true).Records;
        Assert.Equal([0L, 1], TestStorage.RecordsOf(records.ToArray()).Select(static r => r.Offset));
    }

    [Fact]
    public void A_damaged_log_is_left_alone_and_others_go_on()
    {
        using var storage = Dirty(out _);
        var other = storage.Manager.GetOrCreate(
            new TopicPartition("zebra", 0), TestStorage.TopicId, storage.Config with { MinCleanableDirtyRatio = 0.9 });
        for (var i = 0; i < 3; i++)
        {
            var batch = CleaningSample.Batch(RecordBatchOptions.Default, storage.Clock.NowMs, ("k", $"{i}"));
            other.AppendAsLeader(new ReadOnlySequence<byte>(batch), 0, AppendOptions.Client);
        }

        other.RollSegment();
        var file = Path.Combine(storage.LogPath, storage.FileNames(".log")[2]);
        var size = storage.Log.SizeInBytes;
        Flip(file, 80);
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.False(storage.Manager.Cleaner.CleanNext(default));
        Assert.Equal([TestStorage.Partition], storage.Manager.Cleaner.Uncleanable);
        Assert.Equal((size, 3), (storage.Log.SizeInBytes, (int)other.LogEndOffset));
        Assert.True(other.SizeInBytes < 100);
        Assert.False(storage.Log.Directory.IsOffline);
        storage.Put(("k0", "goes on"));
        Assert.Empty(storage.FileNames(".cleaned").Concat(storage.FileNames(".swap")));
    }

    [Fact]
    public void A_disk_that_fails_takes_the_directory_offline()
    {
        using var storage = Dirty(out var files);
        files.Fault = static (operation, path) =>
            operation == FileOperation.Write && path.EndsWith(".cleaned", StringComparison.Ordinal)
                ? new IOException("No space left on device")
                : null;
        Assert.True(storage.Manager.Cleaner.CleanNext(default));
        Assert.True(storage.Log.Directory.IsOffline);
        Assert.Empty(storage.Manager.Cleaner.Uncleanable);
        Assert.Throws<StorageException>(() => storage.Put(("k", "v")));
        Assert.False(storage.Manager.Cleaner.CleanNext(default));
        files.Fault = null;
        storage.Crash();
        storage.Reopen();
        Assert.Equal("k0=20 k1=19 k2=18", Table(storage));
    }

    [Fact]
    public void A_checkpoint_behind_the_end_of_the_log_is_not_believed()
    {
        using var storage = Dirty(out _);
        storage.CloseCleanly();
        File.WriteAllText(
            Path.Combine(storage.Root, "cleaner-offset-checkpoint"), "0\n2\norders 0 5000\nother 3 7\n");
        storage.Reopen();
        storage.Compact();
        Assert.Equal("0\n2\norders 0 21\nother 3 7\n",
            File.ReadAllText(Path.Combine(storage.Root, "cleaner-offset-checkpoint")));
        Assert.Equal(3, storage.ReadAll().Count);
    }

    [Fact]
    public async Task Threads_compact_by_themselves_and_their_settings_change_while_they_run()
    {
        using var storage = new TestStorage(CleaningSample.Compacted, inline: false);
        storage.Put(("a", "1"), ("a", "2"));
        storage.Log.RollSegment();
        storage.Manager.Cleaner.Start();
        await Until(storage, () => storage.ReadAll().Count == 1);
        storage.Manager.Cleaner.Reconfigure(new CleanerSettings { Threads = 3, MaxBytesPerSecond = 1 });
        storage.Put(("a", "3"), ("a", "4"));
        storage.Log.RollSegment();
        // One byte a second: the clock must move for a while, and a change lets it go at once.
        await Until(storage, () => storage.Log.State.Cleaning.IsRunning);
        storage.Manager.Cleaner.Reconfigure(new CleanerSettings { Threads = 2 });
        await Until(storage, () => storage.ReadAll() is [{ Value: "4" }]);
        storage.Manager.Cleaner.Stop();
    }

    private static async Task Until(TestStorage storage, Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(Patience);
        while (!condition())
        {
            storage.Clock.Advance(1000);
            await Task.Delay(1, deadline.Token);
        }
    }

    /// <summary>21 records of three keys, the value is the offset, in seven finished segments.</summary>
    private static TestStorage Dirty(out FaultInjectingFileSystem files)
    {
        files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        var storage = new TestStorage(CleaningSample.Compacted with { SegmentBytes = 10_000 }, files);
        for (var i = 0; i < 21; i++)
        {
            storage.Put(($"k{(20 - i) % 3}", $"{i}"));
            if (i % 3 == 2)
                storage.Log.RollSegment();
        }

        return storage;
    }

    private static string Table(TestStorage storage) =>
        string.Join(' ', storage.ReadTable().Select(static p => $"{p.Key}={p.Value}"));

    /// <summary>Compacts, and does something before the first file operation of a kind.</summary>
    /// <returns>The number of operations.</returns>
    private static int DuringCompaction(
        TestStorage storage,
        FaultInjectingFileSystem files,
        Func<FileOperation, string, int, bool> at,
        Action intervene)
    {
        var count = 0;
        var isDone = false;
        var isWithin = false;
        var thread = Environment.CurrentManagedThreadId;
        files.Fault = (operation, path) =>
        {
            if (Environment.CurrentManagedThreadId != thread || isWithin)
                return null;
            isWithin = true;
            if (!isDone && at(operation, path, count))
            {
                isDone = true;
                intervene();
            }

            isWithin = false;
            count++;
            return null;
        };
        storage.Manager.Cleaner.CleanNext(default);
        files.Fault = null;
        Assert.True(isDone, "the compaction has no such operation");
        Assert.Empty(storage.Manager.Cleaner.Uncleanable);
        return count;
    }

    private static bool IsWrite(FileOperation operation, string path, int number) =>
        operation == FileOperation.Write && path.EndsWith(".log.cleaned", StringComparison.Ordinal);

    private static bool IsExchange(FileOperation operation, string path, int number) =>
        operation == FileOperation.Rename && path.EndsWith(".log.cleaned", StringComparison.Ordinal);

    private static void Flip(string file, long position)
    {
        using var handle = File.OpenHandle(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        var bytes = new byte[1];
        RandomAccess.Read(handle, bytes, position);
        bytes[0] ^= 1;
        RandomAccess.Write(handle, bytes, position);
    }
}
