using System.Buffers;
using KBroker.Storage.Files;
using KBroker.Storage.Log;

namespace KBroker.Storage.Tests;

public sealed class GroupFlushTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Many_waiting_logs_share_one_flush_of_the_file_system()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var gate = new Gate(files, FileOperation.FlushAll);
        using var storage = new TestStorage(files: files, inline: false);
        var logs = Logs(storage, 105);
        using var singles = new Gate(files, FileOperation.Flush);
        var waiters = logs[..2].Select(l => AppendAndWait(l)).ToList();
        singles.WaitFor(2);
        waiters.AddRange(logs[2..5].Select(l => AppendAndWait(l)));
        gate.WaitFor(1);
        // The clock stands still, so nobody loses patience while the first three are flushed together.
        waiters.AddRange(logs[5..].Select(l => AppendAndWait(l)));
        Assert.All(waiters, w => Assert.False(w.IsCompleted));
        gate.Open();
        singles.Open();
        await Task.WhenAll(waiters).WaitAsync(Deadline, TestContext.Current.CancellationToken);
        Assert.All(logs, l => Assert.Equal(1, l.RecoveryPoint));
        // Two rounds of two flushes: contents and names, then the names of the new epoch files.
        Assert.Equal(4, files.Counts[FileOperation.FlushAll]);
        Assert.Equal(2, singles.Arrived);
        storage.Crash();
        files.CutPower();
        storage.Reopen();
        Assert.All(Logs(storage, 105), l => Assert.Equal(1, l.LogEndOffset));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_failed_flush_of_the_file_system_acknowledges_only_what_the_files_confirm(bool isOurs)
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem()) { FlushAllFailsForOwnFiles = isOurs };
        using var storage = new TestStorage(files: files);
        var logs = Logs(storage, 5);
        logs.ForEach(Append);
        files.Fault = (operation, _) => operation == FileOperation.FlushAll ? new IOException("EIO") : null;
        var directory = storage.Manager.Directories[0];
        var failures = JointFlush.Run(directory, logs);
        files.Fault = null;
        Assert.Null(directory.WholeFlush);
        Assert.Equal(isOurs, directory.IsOffline);
        Assert.Equal(isOurs ? 5 : 0, failures?.Count(f => f is not null) ?? 0);
        Assert.All(logs, l => Assert.Equal(isOurs ? 0 : 1, l.RecoveryPoint));
        storage.Crash();
        files.CutPower();
        storage.Reopen();
        Assert.All(Logs(storage, 5), l => Assert.InRange(l.LogEndOffset, isOurs ? 0 : 1, 1));
    }

    [Fact]
    public void A_failure_reported_to_others_first_is_still_found_where_it_happened()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem()) { FlushAllFailsForOwnFiles = true };
        using var storage = new TestStorage(files: files);
        var logs = Logs(storage, 6);
        logs.ForEach(Append);
        logs[..5].ForEach(static l => l.Flush());
        // The last log's pages are lost, and the others are told first.
        files.Fault = (operation, _) => operation == FileOperation.FlushAll ? new IOException("EIO") : null;
        var directory = storage.Manager.Directories[0];
        logs[..3].ForEach(static l => l.State.Flush.NamesChanged());
        Assert.Null(JointFlush.Run(directory, logs[..3]));
        files.Fault = null;
        Assert.All(JointFlush.Run(directory, logs[3..])!, f => Assert.NotNull(f));
        Assert.True(directory.IsOffline);
        Assert.Equal(0, logs[5].RecoveryPoint);
    }

    [Fact]
    public async Task Without_a_flush_of_the_file_system_each_log_is_flushed()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem()) { CanFlushAll = false };
        using var storage = new TestStorage(files: files, inline: false);
        var logs = Logs(storage, 40);
        await Task.WhenAll(logs.Select(l => AppendAndWait(l)))
            .WaitAsync(Deadline, TestContext.Current.CancellationToken);
        Assert.All(logs, l => Assert.Equal(1, l.RecoveryPoint));
        Assert.False(files.Counts.ContainsKey(FileOperation.FlushAll));
        storage.Crash();
        files.CutPower();
        storage.Reopen();
        Assert.All(Logs(storage, 40), l => Assert.Equal(1, l.LogEndOffset));
    }

    [Fact]
    public async Task A_flush_of_the_file_system_that_hangs_does_not_hold_up_newcomers()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var singles = new Gate(files, FileOperation.Flush);
        using var storage = new TestStorage(files: files, inline: false);
        var logs = Logs(storage, 8);
        // Their epoch files are written now, so that the joint flush below is a single one.
        logs.ForEach(Append);
        singles.Open();
        logs.ForEach(static l => l.Flush());
        singles.Close();
        using var joint = new Gate(files, FileOperation.FlushAll);
        var busy = logs[..2].Select(l => AppendAndWait(l)).ToList();
        singles.WaitFor(2);
        var together = logs[2..5].Select(l => AppendAndWait(l)).ToList();
        joint.WaitFor(1);
        storage.Clock.Advance(1000);
        singles.Open();
        var newcomers = logs[5..].Select(l => AppendAndWait(l)).ToList();
        await Task.WhenAll(newcomers.Concat(busy)).WaitAsync(Deadline, TestContext.Current.CancellationToken);
        Assert.All(together, t => Assert.False(t.IsCompleted));
        joint.Open();
        await Task.WhenAll(together).WaitAsync(Deadline, TestContext.Current.CancellationToken);
    }

    [Fact]
    public void Closing_many_written_logs_takes_one_flush()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var storage = new TestStorage(files: files);
        var logs = Logs(storage, 50);
        logs.ForEach(Append);
        files.Counts.Clear();
        storage.CloseCleanly();
        Assert.Null(storage.Manager.Directories[0].Failure);
        // The second one is for the names of the epoch files.
        Assert.Equal(2, files.Counts[FileOperation.FlushAll]);
        // Checkpoints and the mark of the clean stop.
        Assert.InRange(files.Counts[FileOperation.Flush], 1, 5);
        files.CutPower();
        storage.Reopen();
        Assert.True(storage.Manager.Directories[0].WasCleanlyShutDown);
        Assert.All(Logs(storage, 50), l => Assert.Equal((1, 1), (l.LogEndOffset, l.RecoveryPoint)));
    }

    [Fact]
    public async Task Deleting_a_log_whose_flush_waits_leaves_the_directory_online()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var gate = new Gate(files, FileOperation.Flush);
        using var storage = new TestStorage(new LogConfig { FileDeleteDelayMs = 0 }, files, inline: false);
        var logs = Logs(storage, 6);
        var busy = logs[..2].Select(l => AppendAndWait(l)).ToList();
        gate.WaitFor(2);
        var waiting = AppendAndWait(logs[2]);
        storage.Manager.Delete(logs[2].TopicPartition);
        gate.Open();
        var failure = await Assert.ThrowsAsync<StorageException>(() => waiting.WaitAsync(Deadline));
        Assert.Contains("deleted", failure.Message, StringComparison.Ordinal);
        await Task.WhenAll(busy).WaitAsync(Deadline, TestContext.Current.CancellationToken);
        Assert.False(storage.Manager.Directories[0].IsOffline);
        await AppendAndWait(logs[3]).WaitAsync(Deadline, TestContext.Current.CancellationToken);
    }

    [Fact]
    public void The_name_of_a_new_segment_is_stable_with_its_first_flush_although_one_ran_while_it_was_created()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var storage = new TestStorage(files: files);
        storage.AppendOk(TestStorage.Batch(3));
        storage.Log.Flush();
        files.Fault = (operation, path) =>
        {
            if (operation == FileOperation.Create && path.EndsWith("3.log", StringComparison.Ordinal))
                storage.Log.Flush();
            return null;
        };
        storage.Log.RollSegment();
        files.Fault = null;
        storage.AppendOk(TestStorage.Batch(2));
        storage.Log.Flush();
        storage.Crash();
        files.CutPower();
        storage.Reopen();
        Assert.Equal(5, storage.Log.LogEndOffset);
    }

    [Fact]
    public void The_recovery_point_stays_within_a_log_that_is_cut_while_it_is_flushed()
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        using var storage = new TestStorage(files: files);
        storage.AppendOk(TestStorage.Batch(3));
        storage.AppendOk(TestStorage.Batch(2));
        var cut = new Thread(() => storage.Log.TruncateTo(3));
        files.Fault = (operation, path) =>
        {
            if (operation == FileOperation.Flush && path.EndsWith(".log", StringComparison.Ordinal)
                && cut.ThreadState == ThreadState.Unstarted)
            {
                cut.Start();
                // It must wait for this flush; one that does not is done by then.
                cut.Join(TimeSpan.FromMilliseconds(300));
            }

            return null;
        };
        storage.Log.Flush();
        cut.Join();
        Assert.Equal((3, 3), (storage.Log.LogEndOffset, storage.Log.RecoveryPoint));
    }

    [Fact]
    public void A_joint_flush_that_costs_too_much_is_not_tried_again_for_a_while()
    {
        var clock = new ManualClock(0);
        var choice = new FlushChoice(clock);
        for (var i = 0; i < 50; i++)
            choice.TookSingle(TimeSpan.FromMilliseconds(2));
        choice.TookTogether(TimeSpan.FromMilliseconds(15), 16);
        Assert.True(choice.IsTogetherAllowed);
        choice.TookTogether(TimeSpan.FromMilliseconds(30), 16);
        Assert.False(choice.IsTogetherAllowed);
        clock.Advance(599);
        Assert.False(choice.IsTogetherAllowed);
        clock.Advance(1);
        Assert.True(choice.IsTogetherAllowed);
        choice.TookTogether(TimeSpan.FromMilliseconds(30), 1000);
        Assert.True(choice.IsTogetherAllowed);
    }

    [Fact]
    public void The_file_system_of_the_temporary_folder_can_be_flushed_where_it_is_one_of_the_known_ones()
    {
        using var flush = new PhysicalFileSystem().OpenFlushAll(Path.GetTempPath());
        string[] known = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"];
        var isKnown = OperatingSystem.IsLinux() && known.Contains(new DriveInfo(Path.GetTempPath()).DriveFormat);
        Assert.Equal(isKnown && Environment.OSVersion.Version >= new Version(5, 8), flush is not null);
        flush?.Flush();
    }

    private static List<PartitionLog> Logs(TestStorage storage, int count) =>
        [.. Enumerable.Range(0, count).Select(i => storage.Manager.GetOrCreate(
            new TopicPartition("many", i), TestStorage.TopicId, storage.Config))];

    private static void Append(PartitionLog log)
    {
        var batch = new ReadOnlySequence<byte>(TestStorage.Batch(1));
        Assert.True(log.AppendAsLeader(batch, 0, AppendOptions.Client).IsSuccess);
    }

    private static Task AppendAndWait(PartitionLog log)
    {
        Append(log);
        return log.FlushUpToAsync(log.LogEndOffset).AsTask();
    }

    /// <summary>Holds every operation of a kind until it is opened.</summary>
    private sealed class Gate : IDisposable
    {
        private readonly ManualResetEventSlim _open = new();
        private int _arrived;

        public int Arrived => Volatile.Read(ref _arrived);

        public Gate(FaultInjectingFileSystem files, FileOperation kind)
        {
            var others = files.Fault;
            files.Fault = (operation, path) =>
            {
                if (operation != kind || (kind == FileOperation.Flush && !IsLog(path)))
                    return others?.Invoke(operation, path);
                Interlocked.Increment(ref _arrived);
                _open.Wait(Deadline);
                return null;
            };
        }

        public void WaitFor(int count) =>
            Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref _arrived) >= count, Deadline));

        public void Open() => _open.Set();

        public void Close()
        {
            _open.Reset();
            Volatile.Write(ref _arrived, 0);
        }

        public void Dispose() => _open.Set();

        private static bool IsLog(string path) =>
            path.Contains("many", StringComparison.Ordinal) && path.EndsWith(".log", StringComparison.Ordinal);
    }
}
