using System.Buffers;
using KBroker.Storage.Files;

namespace KBroker.Storage.Tests.Moves;

/// <summary>
/// A move that is cut off after each of its file operations, by a crash, a power cut, or a disk that fails there: the
/// next start finds exactly one log with everything that was acknowledged, and a move can be made again.
/// </summary>
public sealed class MoveCrashTests
{
    private static readonly LogConfig Config = new()
    {
        SegmentBytes = 900,
        IndexIntervalBytes = 200,
        FileDeleteDelayMs = 0,
    };

    [Fact]
    public void A_crash_after_any_operation_leaves_one_log_with_everything() => AtEveryOperation(cutPower: false);

    [Fact]
    public void A_power_cut_after_any_operation_leaves_one_log_with_everything() => AtEveryOperation(cutPower: true);

    [Fact]
    public void A_disk_that_fails_at_any_operation_leaves_one_log_with_everything()
    {
        var operations = 0;
        for (var at = 1; ; at++)
        {
            var files = new FaultInjectingFileSystem(new PhysicalFileSystem()) { CanFlushAll = false };
            using var dirs = new TwoDirectories(files, Config);
            Fill(dirs);
            var expected = dirs.Records();
            var count = 0;
            files.Fault = (_, path) => ++count == at ? new IOException($"injected at {path}") : null;
            try
            {
                Move(dirs);
            }
            catch (IOException)
            {
                // The directory is offline; what becomes of the log is looked at below.
            }

            files.Fault = null;
            if (count < at)
            {
                operations = at;
                break;
            }

            // One directory has failed at most, and the log is served from the other unless it was its source.
            Assert.True(dirs.A.IsOffline || dirs.B.IsOffline || dirs.Log.Directory == dirs.B, $"operation {at}");
            if (!dirs.Log.Directory.IsOffline)
            {
                Assert.Equal(expected, dirs.Records());
                dirs.Append(1, leaderEpoch: 1);
                dirs.Log.Flush();
                expected = dirs.Records();
            }

            dirs.Manager.Close(-1);
            CheckReopened(dirs, expected, $"operation {at}", andBack: at % 8 == 0);
        }

        Assert.True(operations > 30, $"{operations} operations");
    }

    [Fact]
    public void A_source_that_comes_back_after_the_move_is_not_served_again()
    {
        using var dirs = MovedWithSourceLeft(out var expected);
        CheckReopened(dirs, expected, "the source is back");
        Assert.Single(dirs.Strays());
    }

    [Fact]
    public void A_source_that_is_back_without_the_target_is_left_alone()
    {
        using var dirs = MovedWithSourceLeft(out var expected);
        Directory.Move(dirs.PathOf("b"), dirs.PathOf("away"));
        File.WriteAllText(dirs.PathOf("b"), "");
        dirs.Open();
        Assert.False(dirs.Manager.TryGet(TwoDirectories.Partition, out _));
        Assert.Throws<StorageException>(() => dirs.Manager.GetOrCreate(
            TwoDirectories.Partition, TestStorage.TopicId, Config, dirs.Assigned));
        Assert.True(Directory.Exists(dirs.PathOf("a/orders-0")));
        dirs.Manager.Close(-1);

        File.Delete(dirs.PathOf("b"));
        Directory.Move(dirs.PathOf("away"), dirs.PathOf("b"));
        CheckReopened(dirs, expected, "both are back");
    }

    /// <summary>A log moved from a to b, and closed; the source could not be renamed, and is there still.</summary>
    private static TwoDirectories MovedWithSourceLeft(out List<(long, long)> expected)
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem()) { CanFlushAll = false };
        var dirs = new TwoDirectories(files, Config);
        Fill(dirs);
        files.Fault = (operation, path) =>
            operation == FileOperation.Rename && path == dirs.PathOf("a/orders-0") ? new IOException("injected") : null;
        dirs.Move(dirs.B);
        files.Fault = null;
        Assert.True(dirs.A.IsOffline);
        Assert.Equal(2, dirs.Currents().Count);
        dirs.Append(4, leaderEpoch: 1);
        expected = dirs.Records();
        dirs.Manager.Close(-1);
        return dirs;
    }

    private static void AtEveryOperation(bool cutPower)
    {
        var operations = 0;
        for (var at = 0; ; at++)
        {
            var files = new FaultInjectingFileSystem(new PhysicalFileSystem()) { CanFlushAll = false };
            using var dirs = new TwoDirectories(files, Config);
            Fill(dirs);
            var expected = dirs.Records();
            var count = 0;
            files.Fault = (_, path) => ++count > at ? new IOException($"dead at {path}") : null;
            var isDone = false;
            try
            {
                Move(dirs);
                isDone = count <= at;
            }
            catch (IOException)
            {
                // It is dead from there on.
            }

            dirs.Manager.Abandon();
            files.Fault = null;
            if (cutPower)
                files.CutPower(new Random(at));
            CheckReopened(dirs, expected, $"operation {at}", andBack: isDone || at % 8 == 0);
            if (isDone)
            {
                operations = at;
                break;
            }
        }

        Assert.True(operations > 30, $"{operations} operations");
    }

    /// <summary>Records, some deleted, on stable storage: what was acknowledged.</summary>
    private static void Fill(TwoDirectories dirs)
    {
        for (var i = 0; i < 12; i++)
            dirs.Append(TestStorage.ProducerBatch(7, 0, i * 3, 3));
        dirs.Log.DeleteRecordsBefore(7);
        dirs.Log.Flush();
        dirs.Manager.CheckpointRecoveryPoints();
    }

    /// <summary>A move, as the broker makes it; a target that fails is taken back at the metadata.</summary>
    private static void Move(TwoDirectories dirs)
    {
        var move = dirs.Begin(dirs.B);
        TwoDirectories.CatchUp(move);
        try
        {
            dirs.Finish(move);
        }
        catch (IOException) when (dirs.B.IsOffline && dirs.Log == move.Source)
        {
            dirs.Assigned = dirs.A.DirectoryId;
            throw;
        }
    }

    private static void CheckReopened(
        TwoDirectories dirs, List<(long, long)> expected, string when, bool andBack = true)
    {
        for (var round = 0; round < (andBack ? 2 : 1); round++)
        {
            dirs.Reopen();
            Assert.True(dirs.Currents().Count == 1, $"{when}: {string.Join(", ", dirs.Currents())}");
            Assert.True(dirs.Futures().Count <= 1, $"{when}: {string.Join(", ", dirs.Futures())}");
            Assert.False(dirs.A.IsOffline || dirs.B.IsOffline, when);
            Assert.Equal(expected, dirs.Records());
            Assert.Equal(expected[0].Item1, dirs.Log.LogStartOffset);
            var again = dirs.Log.AppendAsLeader(
                new ReadOnlySequence<byte>(TestStorage.ProducerBatch(7, 0, 33, 3)), 0, AppendOptions.Client);
            Assert.True(again.IsDuplicate, $"{when}: the producer is known");

            // What was begun goes on, and ends where the metadata has it.
            var target = round == 0 ? dirs.B : dirs.A;
            if (dirs.Log.Directory != target)
                dirs.Move(target);
            Assert.Equal(expected, dirs.Records());
            Assert.Empty(dirs.Futures());
            dirs.Manager.Close(-1);
        }

        dirs.Reopen();
        Assert.Equal(andBack ? dirs.A : dirs.B, dirs.Log.Directory);
        Assert.Equal(expected, dirs.Records());
    }
}
