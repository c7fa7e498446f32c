using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Tests;

public sealed class RecoveryTests
{
    private static readonly LogConfig Small = new() { SegmentBytes = 2000, IndexIntervalBytes = 200 };

    [Fact]
    public void A_clean_stop_reopens_without_reading_the_log()
    {
        using var storage = new TestStorage(Small);
        for (var i = 0; i < 40; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.CloseCleanly();
        Assert.True(File.Exists(Path.Combine(storage.Root, ".kafka_cleanshutdown")));
        // Damage in the middle of a closed segment is not looked at, so it cannot stop the start.
        Damage(Path.Combine(storage.LogPath, "00000000000000000000.log"), 100);
        storage.Reopen();
        Assert.False(File.Exists(Path.Combine(storage.Root, ".kafka_cleanshutdown")));
        Assert.Equal(120, storage.Log.LogEndOffset);
        Assert.Equal(120, storage.Log.RecoveryPoint);
        Assert.Equal(Enumerable.Range(60, 60).Select(i => (long)i), storage.ReadOffsets(60));
        Assert.Equal(120, storage.AppendOk(TestStorage.Batch(1)).FirstOffset);
    }

    [Fact]
    public void Every_log_file_has_an_offset_index_beside_it_also_after_a_crash()
    {
        using var storage = new TestStorage(Small);
        Check();
        for (var i = 0; i < 20; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.Crash();
        Check();

        void Check()
        {
            var logs = Directory.GetFiles(storage.LogPath, "*.log");
            Assert.NotEmpty(logs);
            Assert.All(logs, log => Assert.True(File.Exists(Path.ChangeExtension(log, ".index")), log));
        }
    }

    [Fact]
    public void A_torn_tail_is_cut_at_the_last_whole_batch_wherever_it_is_torn()
    {
        using var template = new TestStorage();
        for (var i = 0; i < 3; i++)
            template.AppendOk(TestStorage.Batch(2));
        template.Crash();
        var log = Path.Combine(template.LogPath, "00000000000000000000.log");
        var bytes = File.ReadAllBytes(log);
        var last = bytes.Length / 3 * 2;
        for (var length = last; length < bytes.Length; length++)
        {
            File.WriteAllBytes(log, bytes[..length]);
            template.Reopen();
            Assert.Equal(4, template.Log.LogEndOffset);
            Assert.Equal([0, 1, 2, 3], template.ReadOffsets(0));
            template.Crash();
            Assert.Equal(last, new FileInfo(log).Length);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0xff)]
    public void Rubbish_behind_the_last_batch_is_cut(byte filler)
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.Batch(2));
        storage.Crash();
        using (var file = File.OpenWrite(Path.Combine(storage.LogPath, "00000000000000000000.log")))
        {
            file.Seek(0, SeekOrigin.End);
            file.Write(Enumerable.Repeat(filler, 5000).ToArray());
        }

        storage.Reopen();
        Assert.Equal(2, storage.Log.LogEndOffset);
        Assert.Equal(2, storage.AppendOk(TestStorage.Batch(1)).FirstOffset);
        Assert.Equal([0, 1, 2], storage.ReadOffsets(0));
    }

    [Fact]
    public void After_a_crash_everything_not_flushed_is_checked_and_indexed_anew()
    {
        using var storage = new TestStorage(Small);
        for (var i = 0; i < 100; i++)
            storage.AppendOk(TestStorage.Batch(3, timestamp: 1_700_000_000_000 + (i * 10)), leaderEpoch: i / 30);
        var epochs = storage.Log.LeaderEpochs.Entries;
        var max = storage.Log.MaxTimestampOffset();
        storage.CrashAndReopen();
        Assert.Equal(Enumerable.Range(0, 300).Select(i => (long)i), storage.ReadOffsets(0, 500));
        Assert.Equal(epochs, storage.Log.LeaderEpochs.Entries);
        Assert.Equal(max, storage.Log.MaxTimestampOffset());
        for (var i = 0; i < 100; i++)
            Assert.Equal(i * 3, storage.Log.FindOffsetByTimestamp(1_700_000_000_000 + (i * 10))!.Value.Offset);
    }

    [Fact]
    public void Damage_behind_the_recovery_point_cuts_this_and_all_later_segments()
    {
        using var storage = new TestStorage(Small);
        for (var i = 0; i < 100; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.Crash();
        var logs = Directory.GetFiles(storage.LogPath, "*.log").Order().ToArray();
        Damage(logs[2], 300);
        storage.Reopen();
        var end = storage.Log.LogEndOffset;
        var bases = logs.Select(l => long.Parse(Path.GetFileNameWithoutExtension(l))).ToArray();
        Assert.InRange(end, bases[2] + 1, bases[3] - 1);
        Assert.Equal(Enumerable.Range(0, (int)end).Select(i => (long)i), storage.ReadOffsets(0));
        Assert.Equal(3, storage.Log.SegmentCount);
        Assert.Equal(end, storage.AppendOk(TestStorage.Batch(1)).FirstOffset);
    }

    [Fact]
    public void Damage_before_the_recovery_point_takes_the_partition_offline_and_cuts_nothing()
    {
        using var storage = new TestStorage();
        for (var i = 0; i < 10; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.Log.Flush();
        storage.Manager.CheckpointRecoveryPoints();
        storage.Crash();
        var log = Path.Combine(storage.LogPath, "00000000000000000000.log");
        var bytes = File.ReadAllBytes(log);
        var batch = bytes.Length / 10;
        bytes[(3 * batch) + RecordBatchLayout.BatchLength] = 0x7f;
        File.WriteAllBytes(log, bytes);
        Assert.Throws<StorageException>(storage.Reopen);
        var damage = storage.Manager.DamagedLogs[TestStorage.Partition];
        Assert.Equal((log, 3L * batch), (damage.File, damage.Position));
        Assert.Equal(bytes, File.ReadAllBytes(log));
        Assert.False(storage.Manager.Directories[0].IsOffline);

        // Neither a clean stop nor further starts make it good.
        for (var i = 0; i < 2; i++)
        {
            storage.CloseCleanly();
            Assert.Throws<StorageException>(storage.Reopen);
            Assert.Equal(bytes, File.ReadAllBytes(log));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_damaged_log_is_deleted_with_its_topic_and_a_disk_that_cannot_takes_the_directory_offline(bool fails)
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var storage = new TestStorage(files: files);
        storage.AppendOk(TestStorage.Batch(3));
        storage.Log.Flush();
        storage.Manager.CheckpointRecoveryPoints();
        storage.Crash();
        File.Delete(Path.Combine(storage.LogPath, "00000000000000000000.log"));
        Assert.Throws<StorageException>(storage.Reopen);

        files.Fault = (operation, path) =>
            fails && operation == FileOperation.Rename && path == storage.LogPath ? new IOException("injected") : null;
        Assert.True(storage.Manager.Delete(TestStorage.Partition));
        Assert.Empty(storage.Manager.DamagedLogs);
        Assert.Equal((fails, fails), (storage.Manager.Directories[0].IsOffline, Directory.Exists(storage.LogPath)));
    }

    [Fact]
    public void A_segment_behind_a_lost_tail_is_removed_so_that_no_gap_stays()
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 1000 });
        for (var i = 0; i < 30; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.Crash();
        var first = Path.Combine(storage.LogPath, "00000000000000000000.log");
        var bytes = File.ReadAllBytes(first);
        Assert.True(RecordBatchHeader.TryParse(bytes, out var header));
        File.WriteAllBytes(first, bytes[..^header.SizeInBytes]);
        storage.Reopen();
        Assert.Equal(1, storage.Log.SegmentCount);
        var end = storage.Log.LogEndOffset;
        Assert.Equal(Enumerable.Range(0, (int)end).Select(i => (long)i), storage.ReadOffsets(0));
        Assert.Equal(end, storage.AppendOk(TestStorage.Batch(1)).FirstOffset);
    }

    [Fact]
    public void A_log_that_lost_all_its_files_is_damaged()
    {
        using var storage = new TestStorage();
        storage.AppendOk(TestStorage.Batch(3));
        storage.Log.Flush();
        storage.Manager.CheckpointRecoveryPoints();
        storage.Crash();
        File.Delete(Path.Combine(storage.LogPath, "00000000000000000000.log"));
        Assert.Throws<StorageException>(storage.Reopen);
    }

    [Fact]
    public void A_damaged_checkpoint_makes_the_next_start_scan_everything()
    {
        using var storage = new TestStorage(Small);
        for (var i = 0; i < 30; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.Crash();
        File.WriteAllText(Path.Combine(storage.Root, "recovery-point-offset-checkpoint"), "rubbish");
        storage.Reopen();
        Assert.Equal(90, storage.ReadOffsets(0).Count);
    }

    [Theory]
    [InlineData("cleaned")]
    [InlineData("half-renamed")]
    [InlineData("swap")]
    [InlineData("swap-log-renamed")]
    public void A_replacement_that_was_interrupted_is_finished_or_undone(string state)
    {
        using var storage = new TestStorage(new LogConfig { SegmentBytes = 1000 });
        for (var i = 0; i < 20; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.CloseCleanly();
        var bases = Directory.GetFiles(storage.LogPath, "*.log")
            .Select(f => long.Parse(Path.GetFileNameWithoutExtension(f))).Order().ToArray();
        string Of(long offset, string suffix) => Path.Combine(storage.LogPath, $"{offset:D20}{suffix}");
        byte[] merged = [.. File.ReadAllBytes(Of(bases[0], ".log")), .. File.ReadAllBytes(Of(bases[1], ".log"))];
        File.WriteAllBytes(Of(0, state == "cleaned" ? ".log.cleaned" : ".log.swap"), merged);
        File.WriteAllBytes(Of(0, state is "cleaned" or "half-renamed" ? ".index.cleaned" : ".index.swap"), []);
        File.WriteAllBytes(Of(0, state is "cleaned" or "half-renamed" ? ".timeindex.cleaned" : ".timeindex.swap"), []);
        if (state == "swap-log-renamed")
        {
            File.Delete(Of(bases[1], ".log"));
            File.Move(Of(0, ".log.swap"), Of(0, ".log"), overwrite: true);
        }

        storage.Reopen();
        var isFinished = state.StartsWith("swap", StringComparison.Ordinal);
        Assert.Equal(bases.Length - (isFinished ? 1 : 0), storage.Log.SegmentCount);
        Assert.Equal(Enumerable.Range(0, 60).Select(i => (long)i), storage.ReadOffsets(0));
        Assert.Empty(Directory.GetFiles(storage.LogPath, "*.swap"));
        Assert.Empty(Directory.GetFiles(storage.LogPath, "*.cleaned"));
    }

    [Fact]
    public void A_log_shorter_than_its_recovery_point_is_damaged()
    {
        using var storage = new TestStorage();
        for (var i = 0; i < 10; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.Log.Flush();
        storage.Manager.CheckpointRecoveryPoints();
        storage.Crash();
        var log = Path.Combine(storage.LogPath, "00000000000000000000.log");
        File.WriteAllBytes(log, File.ReadAllBytes(log)[..(int)(new FileInfo(log).Length / 2)]);
        Assert.Throws<StorageException>(storage.Reopen);
        Assert.Contains("before the recovery point", storage.Manager.DamagedLogs[TestStorage.Partition].Message);
    }

    [Theory]
    [InlineData(".index", true)]
    [InlineData(".index", false)]
    [InlineData(".timeindex", true)]
    [InlineData(".timeindex", false)]
    public void A_missing_or_damaged_index_is_made_anew(string suffix, bool missing)
    {
        using var storage = new TestStorage(Small);
        for (var i = 0; i < 60; i++)
            storage.AppendOk(TestStorage.Batch(3, timestamp: 1_700_000_000_000 + i));
        storage.CloseCleanly();
        var before = Directory.GetFiles(storage.LogPath, "*" + suffix).ToDictionary(f => f, File.ReadAllBytes);
        foreach (var file in before.Keys)
        {
            if (missing)
                File.Delete(file);
            else
                File.WriteAllBytes(file, [1, 2, 3, 4, 5]);
        }

        storage.Reopen();
        Assert.Equal(180, storage.ReadOffsets(0, 300).Count);
        Assert.Equal(86, storage.Log.FindOffsetByTimestamp(1_700_000_000_030)!.Value.Offset);
        storage.CloseCleanly();
        foreach (var (file, bytes) in before)
            Assert.Equal(Convert.ToHexString(bytes), Convert.ToHexString(File.ReadAllBytes(file)));
    }

    [Fact]
    public void A_power_cut_keeps_everything_flushed()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var storage = new TestStorage(Small, files);
        long flushed = 0;
        for (var i = 0; i < 100; i++)
        {
            storage.AppendOk(TestStorage.Batch(3));
            if (i is not (10 or 11 or 57))
                continue;
            storage.Log.Flush();
            flushed = storage.Log.LogEndOffset;
            if (i == 57)
                storage.Manager.CheckpointRecoveryPoints();
        }

        storage.Crash();
        files.CutPower();
        storage.Reopen();
        Assert.InRange(storage.Log.LogEndOffset, flushed, 300);
        Assert.Equal(Enumerable.Range(0, (int)storage.Log.LogEndOffset).Select(i => (long)i), storage.ReadOffsets(0));
        Assert.Equal(TestStorage.TopicId, storage.Log.TopicId);
    }

    [Fact]
    public void The_log_start_does_not_move_back_after_a_crash()
    {
        using var storage = new TestStorage(Small);
        for (var i = 0; i < 30; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.Log.DeleteRecordsBefore(40);
        storage.CrashAndReopen();
        Assert.Equal(40, storage.Log.LogStartOffset);
        Assert.Throws<OffsetOutOfRangeException>(() => storage.Log.Read(39, 100, long.MaxValue, true));
        Assert.Equal(40, storage.ReadOffsets(40)[0]);
    }

    [Fact]
    public void A_log_that_ends_before_its_start_is_damaged_because_a_start_is_told_only_of_what_is_stable()
    {
        using var storage = new TestStorage();
        for (var i = 0; i < 10; i++)
            storage.AppendOk(TestStorage.Batch(3));
        storage.Log.DeleteRecordsBefore(25);
        Assert.Equal(30, storage.Log.RecoveryPoint);
        storage.Crash();
        File.WriteAllBytes(Path.Combine(storage.LogPath, "00000000000000000000.log"), []);
        Assert.Throws<StorageException>(storage.Reopen);
        Assert.Contains(
            "log-start-offset-checkpoint lets it start at 25",
            storage.Manager.DamagedLogs[TestStorage.Partition].Message);
    }

    private static void Damage(string path, long position)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        var one = new byte[1];
        RandomAccess.Read(file, one, position);
        one[0] ^= 0x40;
        RandomAccess.Write(file, one, position);
    }
}
