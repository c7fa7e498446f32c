using System.Buffers;
using KBroker.Storage.Files;
using KBroker.Storage.Log;

namespace KBroker.Storage.Tests;

/// <summary>
/// A workload that does everything a broker does to its files, run again and again, each time with the next operation
/// failing; then a crash or power cut, and a look at what is left.
/// </summary>
public sealed class EveryFaultTests
{
    /// <summary>How the disk fails.</summary>
    public enum Disk
    {
        /// <summary>One operation finds no space, a write leaves its first bytes; then the power is cut.</summary>
        FullOnce,

        /// <summary>From one operation on, nothing finds space; then the process is killed.</summary>
        Full,

        /// <summary>One operation is an I/O error; then the power is cut.</summary>
        BrokenOnce,

        /// <summary>From one operation on all are I/O errors; then the power is cut, and part of it is there.</summary>
        Broken,
    }

    [Theory]
    [InlineData(Disk.FullOnce)]
    [InlineData(Disk.Full)]
    [InlineData(Disk.BrokenOnce)]
    [InlineData(Disk.Broken)]
    public void Whatever_operation_fails_nothing_acknowledged_is_lost(Disk disk)
    {
        var failing = 0;
        while (true)
        {
            using var workload = new Workload(disk, failing);
            workload.Run();
            workload.CheckWhatIsLeft();
            if (workload.Operations <= failing)
                break;
            failing++;
        }

        // The workload must go on doing what the table in its class comment says.
        Assert.InRange(failing, 150, 1000);
    }

    /// <summary>
    /// Creates, appends, rolls, flushes alone and together, checkpoints, deletes records, applies retention, deletes a
    /// log, truncates one, appends to the metadata log, closes.
    /// </summary>
    private sealed class Workload : IDisposable
    {
        private const int RecordsPerBatch = 2;
        private static readonly string Parent =
            Directory.Exists("/dev/shm") ? "/dev/shm" : System.IO.Path.GetTempPath();

        private readonly string _folder;
        private readonly string _root;
        private readonly FaultInjectingFileSystem _files;
        private readonly ManualClock _clock = new(1_700_000_000_000);
        private readonly Dictionary<TopicPartition, Promise> _promises = [];
        private readonly Disk _disk;
        private readonly int _failing;
        private readonly LogConfig _config = new()
        {
            SegmentBytes = 400,
            IndexIntervalBytes = 200,
            FileDeleteDelayMs = 0,
            RetentionMs = 100_000,
        };

        private LogManager? _manager;
        private PartitionLog? _metadata;
        private FileOperation? _failed;
        private bool _isFaultOver;

        public Workload(Disk disk, int failing)
        {
            (_disk, _failing) = (disk, failing);
            // What is deleted lies beside the log directory, and goes with it.
            _folder = System.IO.Path.Combine(Parent, $"kbroker-faults-{Guid.NewGuid():N}");
            _root = System.IO.Path.Combine(_folder, "data");
            Directory.CreateDirectory(_folder);
            _files = new FaultInjectingFileSystem(new PhysicalFileSystem(), _folder);
            _files.TornBytes = disk is Disk.FullOnce or Disk.Full ? 7 : 0;
            _files.FlushAllFailsForOwnFiles = true;
            _files.Fault = (operation, _) => Fails(operation);
        }

        public int Operations { get; private set; }

        public void Run()
        {
            Start();
            if (_manager is null)
                return;
            var (a, b, gone) = (Create("a"), Create("b"), Create("gone"));
            for (var i = 0; i < 6; i++)
            {
                Append(a, epoch: 0);
                Append(gone, epoch: 0);
                if (i % 2 == 0)
                    FlushAlone(a);
            }

            Append(b, epoch: 0);
            FlushTogether(a, b, gone);
            Try(() => _manager.CheckpointRecoveryPoints(), noted: true);
            AppendToMetadata();
            DeleteRecords(a, 5);
            for (var i = 0; i < 5; i++)
                Append(b, epoch: 1);
            FlushAlone(b);
            Delete(gone);
            ApplyRetention(b);
            Append(b, epoch: 2);
            Truncate(a);
            Append(a, epoch: 3);
            FlushTogether(a, b);
            Try(() => _manager.CheckpointLogStartOffsets(), noted: true);
            AppendToMetadata();
            Close();
        }

        /// <summary>Opens what is left after the crash, and compares it with what was promised.</summary>
        public void CheckWhatIsLeft()
        {
            var wasOffline = _manager?.Directories[0].IsOffline;
            // Old files that could not be deleted harm nobody: they are logged, and deleted at the next start. And when
            // the file system as a whole reports a failure, the files tell whether it was theirs.
            Assert.True(
                _failed is null or FileOperation.Delete or FileOperation.FlushAll || wasOffline is null or true,
                $"{Where} failed, and the directory is online.");
            _manager?.Abandon();
            _isFaultOver = true;
            if (_disk != Disk.Full)
                _files.CutPower(_disk == Disk.Broken ? new Random(_failing) : null);
            using var manager = OpenManager();
            var metadata = manager.OpenMetadataLog(new LogConfig());
            manager.LoadLogs((partition, _) =>
                _promises.GetValueOrDefault(partition) is { IsDeleted: true } ? null : _config);
            Assert.False(manager.Directories[0].IsOffline, $"{Where}: {manager.Directories[0].Failure}");
            Assert.Empty(manager.DamagedLogs);
            Check(metadata);
            foreach (var partition in _promises.Keys.Where(static p => p != LogManager.MetadataPartition))
            {
                if (_promises[partition].IsDeleted)
                    Assert.False(Directory.Exists(System.IO.Path.Combine(_root, partition.ToString())), Where);
                else if (manager.TryGet(partition, out var log))
                    Check(log);
                else
                    Assert.True(_promises[partition].Acknowledged == 0, $"{Where}: {partition} is not there.");
            }
        }

        public void Dispose()
        {
            _manager?.Abandon();
            _files.Fault = null;
            Directory.Delete(_folder, recursive: true);
        }

        private string Where => $"{_disk}, operation {_failing} ({_failed})";

        private IOException? Fails(FileOperation operation)
        {
            var number = Operations;
            if (_isFaultOver)
                return null;
            Operations++;
            var isOnce = _disk is Disk.FullOnce or Disk.BrokenOnce;
            if (isOnce ? number != _failing : number < _failing)
                return null;
            var needsSpace = operation is FileOperation.Write or FileOperation.Create or FileOperation.CreateDirectory;
            if (_disk == Disk.Full && !needsSpace)
                return null;
            _failed ??= operation;
            return new IOException(_disk is Disk.Full or Disk.FullOnce ? "No space left on device" : "I/O error");
        }

        private LogManager OpenManager() => LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [_root],
            NodeId = 1,
            ClusterId = "4L6g3nShT-eMCtK--X86sw",
            Files = _files,
            Time = _clock,
            Codecs = TestStorage.Codecs,
            Random = new Random(1),
            RunInline = true,
        });

        private void Start()
        {
            try
            {
                _manager = OpenManager();
                _metadata = _manager.OpenMetadataLog(new LogConfig());
                Promise(_metadata);
                _manager.LoadLogs((_, _) => _config);
            }
            catch (Exception refused) when (refused is LogDirectoryException or StorageException)
            {
                Assert.NotNull(_failed);
                _manager?.Abandon();
                _manager = null;
            }
        }

        private PartitionLog? Create(string topic)
        {
            PartitionLog? log = null;
            Try(() => log = _manager!.GetOrCreate(new TopicPartition(topic, 0), TestStorage.TopicId, _config));
            if (log is not null)
                Promise(log);
            return log;
        }

        private Promise Promise(PartitionLog log) => _promises[log.TopicPartition] = new Promise();

        private void Append(PartitionLog? log, int epoch, AppendOptions? options = null)
        {
            if (log is null)
                return;
            var promise = _promises[log.TopicPartition];
            var batch = TestStorage.Batch(RecordsPerBatch, _clock.NowMs, valueBytes: 40);
            var isAppended = Try(() =>
            {
                var result = log.AppendAsLeader(
                    new ReadOnlySequence<byte>(batch), epoch, options ?? AppendOptions.Client);
                Assert.True(result.IsSuccess, result.ErrorMessage);
            });
            if (isAppended)
                promise.Appended = log.LogEndOffset;
        }

        private void FlushAlone(PartitionLog? log)
        {
            if (log is null)
                return;
            var end = log.LogEndOffset;
            if (end > log.RecoveryPoint && Try(() => log.FlushUpToAsync(end).AsTask().GetAwaiter().GetResult()))
                _promises[log.TopicPartition].Acknowledged = end;
        }

        private void FlushTogether(params PartitionLog?[] logs)
        {
            List<PartitionLog> all = [.. logs.OfType<PartitionLog>()];
            var ends = all.ConvertAll(static l => l.LogEndOffset);
            var failures = JointFlush.Run(_manager!.Directories[0], all);
            for (var i = 0; i < all.Count; i++)
            {
                if (failures?[i] is null)
                    _promises[all[i].TopicPartition].Acknowledged = ends[i];
                else
                    Assert.True(_manager.Directories[0].IsOffline);
            }
        }

        private void AppendToMetadata()
        {
            Append(_metadata, epoch: 1, new AppendOptions { Origin = AppendOrigin.MetadataLog });
            FlushAlone(_metadata);
        }

        private void DeleteRecords(PartitionLog? log, long offset)
        {
            if (log is null || offset > log.LogEndOffset)
                return;
            _promises[log.TopicPartition].HighestStart = offset;
            if (Try(() => log.DeleteRecordsBefore(offset)))
                _promises[log.TopicPartition].Start = offset;
        }

        private void ApplyRetention(PartitionLog? log)
        {
            if (log is null)
                return;
            _clock.Advance(_config.RetentionMs + 1);
            // It may take what is not deleted by then, and no more.
            var promise = _promises[log.TopicPartition];
            promise.HighestStart = promise.Appended;
            foreach (var other in _promises.Values)
                other.HighestStart = Math.Max(other.HighestStart, other.Appended);
            _manager!.RunRetention();
            if (!_manager.Directories[0].IsOffline)
                promise.Start = log.LogStartOffset;
        }

        private void Truncate(PartitionLog? log)
        {
            if (log is null)
                return;
            var promise = _promises[log.TopicPartition];
            var target = Math.Max(log.LogStartOffset, log.LogEndOffset - RecordsPerBatch);
            promise.Acknowledged = Math.Min(promise.Acknowledged, target);
            promise.Start = Math.Min(promise.Start, target);
            if (Try(() => log.TruncateTo(target)))
                promise.Appended = target;
        }

        private void Delete(PartitionLog? log)
        {
            if (log is null)
                return;
            var promise = _promises[log.TopicPartition];
            promise.Acknowledged = 0;
            promise.Start = 0;
            promise.HighestStart = long.MaxValue;
            // In a directory that is offline nothing is renamed: its next start does not know the topic.
            promise.IsDeleted = Try(() => Assert.True(_manager!.Delete(log.TopicPartition)), noted: true);
        }

        private void Close()
        {
            _manager!.Close(-1);
            if (!_manager.Directories[0].IsOffline)
            {
                foreach (var promise in _promises.Values.Where(static p => !p.IsDeleted))
                    promise.Acknowledged = promise.Appended;
            }
        }

        /// <summary>Runs a step that may fail in one way only.</summary>
        /// <param name="step">The step.</param>
        /// <param name="noted">It does not throw, but takes the directory offline.</param>
        /// <returns>Whether it succeeded.</returns>
        private bool Try(Action step, bool noted = false)
        {
            var wasOffline = _manager!.Directories[0].IsOffline;
            try
            {
                step();
                Assert.True(noted || !wasOffline, $"{Where}: a step succeeded although the directory is offline.");
                return !_manager.Directories[0].IsOffline;
            }
            catch (StorageException)
            {
                Assert.True(_manager.Directories[0].IsOffline, $"{Where}: a failed step left the directory online.");
                return false;
            }
        }

        private void Check(PartitionLog log)
        {
            var promise = _promises.GetValueOrDefault(log.TopicPartition) ?? new Promise();
            Assert.True(log.LogEndOffset >= promise.Acknowledged,
                $"{Where}: {log.TopicPartition} ends at {log.LogEndOffset}, acknowledged {promise.Acknowledged}.");
            Assert.True(log.LogStartOffset >= promise.Start && log.LogStartOffset <= promise.HighestStart,
                $"{Where}: {log.TopicPartition} starts at {log.LogStartOffset}, not {promise.Start} "
                    + $"to {promise.HighestStart}.");
            var next = log.LogStartOffset;
            while (next < log.LogEndOffset)
            {
                using var records = log.Read(next, 1 << 20, long.MaxValue, minOneMessage: true).Records;
                foreach (var (offset, _) in TestStorage.RecordsOf(records.ToArray()).Where(r => r.Offset >= next))
                    Assert.Equal(next++, offset);
            }

            Append(log);
        }

        private static void Append(PartitionLog log)
        {
            var batch = new ReadOnlySequence<byte>(TestStorage.Batch(1));
            var options = log.TopicPartition == LogManager.MetadataPartition
                ? new AppendOptions { Origin = AppendOrigin.MetadataLog }
                : AppendOptions.Client;
            Assert.True(log.AppendAsLeader(batch, 9, options).IsSuccess);
            log.Flush();
        }
    }

    /// <summary>What a client was told of a partition.</summary>
    private sealed class Promise
    {
        public long Acknowledged { get; set; }

        public long Appended { get; set; }

        public long Start { get; set; }

        public long HighestStart { get; set; }

        public bool IsDeleted { get; set; }
    }
}
