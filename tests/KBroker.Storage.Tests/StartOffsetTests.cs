using KBroker.Storage.Files;

namespace KBroker.Storage.Tests;

/// <summary>The start of a log, once a reader was told of it, never moves back, wherever the machine dies.</summary>
public sealed class StartOffsetTests
{
    private static readonly LogConfig Config = new()
    {
        SegmentBytes = 400,
        IndexIntervalBytes = 200,
        FileDeleteDelayMs = 0,
        RetentionMs = 1000,
    };

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void A_start_that_was_seen_is_there_after_a_crash_at_any_operation(bool byRetention, bool cutPower)
    {
        var operations = 0;
        for (var at = 0; operations == 0; at++)
        {
            var files = new FaultInjectingFileSystem(new PhysicalFileSystem()) { CanFlushAll = at % 2 == 0 };
            using var storage = new TestStorage(Config, files);
            for (var i = 0; i < 12; i++)
                storage.AppendOk(TestStorage.Batch(3, storage.Clock.NowMs));
            storage.Manager.CheckpointRecoveryPoints();
            storage.Manager.HighWatermarkOf = static log => log.LogEndOffset;
            storage.Clock.Advance(Config.RetentionMs + 100);
            storage.AppendOk(TestStorage.Batch(3, storage.Clock.NowMs));
            long seen = 0;
            var count = 0;
            // A reader looks whenever something is done to the disk, and the machine dies at one of those moments.
            files.Fault = (_, path) =>
            {
                if (count < at)
                    seen = Math.Max(seen, storage.Log.LogStartOffset);
                return ++count > at ? new IOException($"dead at {path}") : null;
            };
            try
            {
                if (byRetention)
                    storage.Manager.RunRetention();
                else
                    storage.Log.DeleteRecordsBefore(20);
                seen = Math.Max(seen, storage.Log.LogStartOffset);
            }
            catch (StorageException)
            {
                seen = Math.Max(seen, storage.Log.LogStartOffset);
            }

            if (count <= at)
                operations = at;
            storage.Crash();
            files.Fault = null;
            if (cutPower)
                files.CutPower(at % 3 == 0 ? new Random(at) : null);
            storage.Reopen();
            Assert.True(storage.Log.LogStartOffset >= seen,
                $"operation {at}: {seen} was seen, now the log starts at {storage.Log.LogStartOffset}");
            Assert.True(operations == 0 || seen >= 20, $"the start moved to {seen}");
        }

        Assert.True(operations > 8, $"{operations} operations");
    }

    [Fact]
    public void A_start_is_told_to_readers_only_when_the_checkpoint_knows_it()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var storage = new TestStorage(Config, files);
        for (var i = 0; i < 12; i++)
            storage.AppendOk(TestStorage.Batch(3, storage.Clock.NowMs));
        storage.Log.Flush();
        long whileWritten = -1;
        files.Fault = (operation, path) =>
        {
            if (operation == FileOperation.Rename && path.Contains("log-start-offset", StringComparison.Ordinal))
                whileWritten = storage.Log.LogStartOffset;
            return null;
        };
        storage.Log.DeleteRecordsBefore(20);
        Assert.Equal((0, 20), (whileWritten, storage.Log.LogStartOffset));
        storage.CrashAndReopen();
        Assert.Equal(20, storage.Log.LogStartOffset);
    }

    [Fact]
    public void A_truncation_takes_an_announced_start_back()
    {
        using var storage = new TestStorage(Config);
        for (var i = 0; i < 12; i++)
            storage.AppendOk(TestStorage.Batch(3, storage.Clock.NowMs));
        storage.Log.DeleteRecordsBefore(35);
        storage.Log.TruncateTo(34);
        Assert.Equal((33, 33), (storage.Log.LogStartOffset, storage.Log.LogEndOffset));
        storage.AppendOk(TestStorage.Batch(1, storage.Clock.NowMs));
        storage.Log.Flush();
        storage.CrashAndReopen();
        Assert.Equal((33, 34), (storage.Log.LogStartOffset, storage.Log.LogEndOffset));
    }
}
