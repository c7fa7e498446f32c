using KBroker.Storage.Files;

namespace KBroker.Storage.Tests;

public sealed class FlushTests
{
    [Fact]
    public async Task One_flush_serves_everybody_who_waits()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var gate = new SemaphoreSlim(0);
        using var storage = new TestStorage(files: files, inline: false);
        storage.AppendOk(TestStorage.Batch(1));
        storage.Log.Flush();
        var before = files.Counts[FileOperation.Flush];
        files.Fault = (operation, path) =>
        {
            if (operation == FileOperation.Flush && path.EndsWith(".log", StringComparison.Ordinal))
                gate.Wait();
            return null;
        };
        var first = storage.Log.FlushUpToAsync(storage.AppendOk(TestStorage.Batch(1)).NextOffset).AsTask();
        var waiters = new List<Task>();
        Assert.True(SpinWait.SpinUntil(() => files.Counts[FileOperation.Flush] > before, TimeSpan.FromSeconds(60)));
        for (var i = 0; i < 50; i++)
            waiters.Add(storage.Log.FlushUpToAsync(storage.AppendOk(TestStorage.Batch(1)).NextOffset).AsTask());
        Assert.All(waiters, w => Assert.False(w.IsCompleted));
        gate.Release(2);
        await first;
        await Task.WhenAll(waiters);
        Assert.Equal(52, storage.Log.RecoveryPoint);
        Assert.Equal(before + 2, files.Counts[FileOperation.Flush]);
        Assert.True(storage.Log.FlushUpToAsync(52).IsCompletedSuccessfully);
        files.Fault = null;
    }

    [Fact]
    public void Flush_messages_flushes_within_the_append()
    {
        using var storage = new TestStorage(new LogConfig { FlushMessages = 10 });
        storage.AppendOk(TestStorage.Batch(9));
        Assert.Equal(0, storage.Log.RecoveryPoint);
        storage.AppendOk(TestStorage.Batch(1));
        Assert.Equal(10, storage.Log.RecoveryPoint);
    }

    [Fact]
    public void Flush_ms_flushes_when_the_time_has_passed()
    {
        using var storage = new TestStorage(new LogConfig { FlushMs = 1000 });
        storage.AppendOk(TestStorage.Batch(9));
        storage.Manager.FlushDueLogs();
        Assert.Equal(0, storage.Log.RecoveryPoint);
        storage.Clock.Advance(1000);
        storage.Manager.FlushDueLogs();
        Assert.Equal(9, storage.Log.RecoveryPoint);
    }

    [Fact]
    public async Task A_failed_flush_takes_the_directory_offline_for_good()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var storage = new TestStorage(files: files, inline: false);
        storage.AppendOk(TestStorage.Batch(1));
        var failures = 0;
        storage.Manager.Directories[0].Failed += (_, _) => failures++;
        files.Fault = (operation, _) => operation == FileOperation.Flush ? new IOException("EIO") : null;
        await Assert.ThrowsAsync<StorageException>(async () => await storage.Log.FlushUpToAsync(1));
        files.Fault = null;
        await Assert.ThrowsAsync<StorageException>(async () => await storage.Log.FlushUpToAsync(1));
        Assert.Throws<StorageException>(() => storage.Append(TestStorage.Batch(1)));
        Assert.Throws<StorageException>(() => storage.Log.Read(0, 100, long.MaxValue, true));
        Assert.Equal(0, storage.Log.RecoveryPoint);
        Assert.Equal(1, failures);
        Assert.True(storage.Manager.Directories[0].IsOffline);
        storage.CloseCleanly();
        Assert.False(File.Exists(Path.Combine(storage.Root, ".kafka_cleanshutdown")));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(100)]
    public void A_torn_write_is_never_acknowledged_and_cut_at_the_next_start(int tornBytes)
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem()) { TornBytes = tornBytes };
        using var storage = new TestStorage(files: files);
        storage.AppendOk(TestStorage.Batch(3));
        files.Fault = (operation, path) =>
            operation == FileOperation.Write && path.EndsWith(".log", StringComparison.Ordinal)
                ? new IOException("ENOSPC") : null;
        Assert.Throws<StorageException>(() => storage.Append(TestStorage.Batch(3)));
        Assert.Equal(3, storage.Log.LogEndOffset);
        files.Fault = null;
        storage.CrashAndReopen();
        Assert.Equal([0, 1, 2], storage.ReadOffsets(0));
        Assert.Equal(3, storage.AppendOk(TestStorage.Batch(1)).FirstOffset);
    }

    [Fact]
    public void Whatever_fails_once_what_was_flushed_before_is_there_after_a_restart()
    {
        for (var failing = 0; ; failing++)
        {
            var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
            using var storage = new TestStorage(new LogConfig { SegmentBytes = 600, FileDeleteDelayMs = 0 }, files);
            var operation = 0;
            var failed = false;
            files.Fault = (_, _) => operation++ == failing ? new IOException($"operation {failing}") : null;
            long flushed = 0;
            try
            {
                for (var i = 0; i < 12; i++)
                {
                    storage.AppendOk(TestStorage.Batch(2), leaderEpoch: i / 5);
                    storage.Log.Flush();
                    flushed = storage.Log.LogEndOffset;
                    if (i == 8)
                        storage.Log.DeleteRecordsBefore(10);
                }

                storage.Manager.CheckpointRecoveryPoints();
            }
            catch (StorageException)
            {
                failed = true;
            }

            files.Fault = null;
            storage.Crash();
            files.CutPower();
            storage.Reopen();
            Assert.True(storage.Log.LogEndOffset >= flushed,
                $"operation {failing}: {storage.Log.LogEndOffset} < {flushed}");
            Assert.Equal(
                Enumerable.Range((int)storage.Log.LogStartOffset,
                    (int)(storage.Log.LogEndOffset - storage.Log.LogStartOffset)).Select(i => (long)i),
                storage.ReadOffsets(storage.Log.LogStartOffset));
            if (!failed && operation < failing)
                break;
        }
    }
}
