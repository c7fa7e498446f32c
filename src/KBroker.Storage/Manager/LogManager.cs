using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Log;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Storage;

/// <summary>
/// The logs of a broker in its log directories: opens them at start, creates and deletes them, writes the checkpoints,
/// and closes everything so that the next start is instant.
/// </summary>
/// <remarks>
/// Order of a start: <see cref="Open"/> (directories are locked and identified), <see cref="OpenMetadataLog"/>
/// (from which the
/// caller learns which topics exist), <see cref="LoadLogs"/> (which opens the partitions that should be here).
/// </remarks>
public sealed class LogManager : IDisposable
{
    /// <summary>The partition of the metadata log, which is not among <see cref="Logs"/>.</summary>
    public static readonly TopicPartition MetadataPartition = new("__cluster_metadata", 0);

    private const string DeleteSuffix = "-delete";
    private const string StraySuffix = "-stray";

    private readonly ConcurrentDictionary<TopicPartition, PartitionLog> _logs = new();
    private readonly ConcurrentDictionary<TopicPartition, CorruptLogException> _damaged = new();
    private readonly ConcurrentDictionary<TopicPartition, DamagedLog> _damagedCheckpoints = new();
    private readonly Lock _createLock = new();
    private readonly LogManagerOptions _options;
    private readonly LogContext _context;
    private readonly LogOpener _opener;
    private readonly DelayedDeletion _deletion;
    private readonly CompressionCodecs? _ownCodecs;
    private readonly List<IDisposable> _locks;
    private readonly List<ITimer> _timers = [];
    private PartitionLog? _metadataLog;
    private bool _loaded;
    private bool _closed;

    private LogManager(LogManagerOptions options)
    {
        _options = options;
        _ownCodecs = options.Codecs is null ? new CompressionCodecs() : null;
        _context = new LogContext
        {
            Files = options.Files,
            Time = options.Time,
            Logger = options.Logger ?? NullLogger.Instance,
            Codecs = options.Codecs ?? _ownCodecs!,
            Random = options.Random,
            Metrics = new StorageMetrics(options.MeterFactory),
            MaxDecompressedBytes = options.MaxDecompressedBytes,
            ProducerIdExpirationMs = options.ProducerIdExpirationMs,
        };
        _deletion = new DelayedDeletion(_context);
        _opener = new LogOpener(_context, _deletion);
        var setup = new LogDirectorySetup(options, _context);
        _locks = setup.Locks;
        try
        {
            Directories = setup.Open();
        }
        catch
        {
            Release();
            throw;
        }

        ClusterId = setup.ClusterId;
        foreach (var directory in Directories)
        {
            directory.CheckpointRecoveryPoints =
                () => Guard(directory, "writing recovery points", CheckpointRecoveryPoints);
            directory.CheckpointLogStartOffsets =
                () => Guard(directory, "writing log start offsets", CheckpointLogStartOffsets);
        }
    }

    /// <summary>The log directories, in the order of the options; some may be offline.</summary>
    public IReadOnlyList<LogDirectory> Directories { get; }

    /// <summary>The cluster, from <c>meta.properties</c>.</summary>
    public string ClusterId { get; }

    /// <summary>All open logs but the metadata log, in no order.</summary>
    public ICollection<PartitionLog> Logs => _logs.Values;

    /// <summary>Partitions that are not served because their files are damaged, and how.</summary>
    public IReadOnlyDictionary<TopicPartition, CorruptLogException> DamagedLogs => _damaged;

    /// <summary>The high watermark of a log, below which retention may delete; set by who keeps it.</summary>
    public Func<PartitionLog, long> HighWatermarkOf { get; set; } = static log => log.LogEndOffset;

    /// <summary>Opens the log directories, and no log yet.</summary>
    /// <param name="options">Where and how.</param>
    /// <returns>The manager.</returns>
    /// <exception cref="LogDirectoryException">A directory is locked or another's, or none can be used.</exception>
    public static LogManager Open(LogManagerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return new LogManager(options);
    }

    /// <summary>
    /// Opens, or creates, the metadata log. It is scanned whole, because Kafka keeps no recovery point for it.
    /// </summary>
    /// <param name="config">Its configs.</param>
    /// <param name="directory">Where (<c>metadata.log.dir</c>); null for the first directory.</param>
    /// <returns>The log; the manager closes it.</returns>
    public PartitionLog OpenMetadataLog(LogConfig config, LogDirectory? directory = null)
    {
        directory ??= Directories[0];
        directory.ThrowIfOffline();
        try
        {
            var path = Path.Combine(directory.Path, MetadataPartition.ToString());
            _metadataLog = _context.Files.DirectoryExists(path)
                ? _opener.Open(directory, MetadataPartition, config, default, isClean: false)
                : _opener.Create(directory, MetadataPartition, new Uuid(0, 1), config);
            return _metadataLog;
        }
        catch (IOException exception) when (exception is not StorageException and not CorruptLogException)
        {
            throw directory.Fail("opening the metadata log", exception);
        }
    }

    /// <summary>Opens the logs in all directories, several at a time, and starts the background work.</summary>
    /// <param name="configOf">
    /// The configs of a partition, by its name and the topic id on disk (zero where there is none); null for one
    /// that should
    /// not be here: its directory is renamed to end with <c>-stray</c> and not looked at again.
    /// </param>
    public void LoadLogs(Func<TopicPartition, Uuid, LogConfig?> configOf)
    {
        ArgumentNullException.ThrowIfNull(configOf);
        foreach (var directory in Directories.Where(static d => !d.IsOffline))
        {
            try
            {
                LoadDirectory(directory, configOf);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                directory.Fail("opening its logs", exception);
            }
        }

        _loaded = true;
        if (!_options.RunInline)
            StartTimers();
    }

    /// <summary>Finds an open log.</summary>
    /// <param name="partition">Which.</param>
    /// <param name="log">The log.</param>
    /// <returns>False when there is none. One whose directory is offline is there, and throws.</returns>
    public bool TryGet(TopicPartition partition, [NotNullWhen(true)] out PartitionLog? log) =>
        _logs.TryGetValue(partition, out log);

    /// <summary>Finds a log, or creates it in the directory with the fewest.</summary>
    /// <param name="partition">Which.</param>
    /// <param name="topicId">Id of its topic.</param>
    /// <param name="config">The topic's configs.</param>
    /// <param name="directoryId">The directory to create it in; null or zero to choose.</param>
    /// <returns>The log.</returns>
    /// <exception cref="StorageException">Its directory is offline, or its files are damaged.</exception>
    public PartitionLog GetOrCreate(TopicPartition partition, Uuid topicId, LogConfig config, Uuid? directoryId = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (_logs.TryGetValue(partition, out var existing))
            return existing;
        lock (_createLock)
        {
            if (_logs.TryGetValue(partition, out existing))
                return existing;
            if (_damaged.TryGetValue(partition, out var damage))
                throw new StorageException($"{partition} is not served: {damage.Message}", damage);
            var directory = ChooseDirectory(directoryId);
            try
            {
                var log = _opener.Create(directory, partition, topicId, config);
                _logs[partition] = log;
                return log;
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw directory.Fail($"creating {partition}", exception);
            }
        }
    }

    /// <summary>
    /// Deletes a log: its directory is renamed at once, so that the name is free, and removed after
    /// <c>file.delete.delay.ms</c>. Answers being sent from it go on.
    /// </summary>
    /// <param name="partition">Which.</param>
    /// <returns>False when there is none.</returns>
    public bool Delete(TopicPartition partition)
    {
        PartitionLog? log;
        lock (_createLock)
        {
            if (!_logs.TryRemove(partition, out log))
                return DeleteDamaged(partition);
            try
            {
                // A recovery point left behind would not fit a new log of the same name.
                CheckpointRecoveryPoints(log.Directory);
                CheckpointLogStartOffsets(log.Directory);
                log.RenameDirectory(Path.Combine(log.Directory.Path, MarkedName(partition, DeleteSuffix)));
                log.Abandon();
                _context.Files.FlushDirectory(log.Directory.Path);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw log.Directory.Fail($"deleting {partition}", exception);
            }
        }

        _deletion.DeleteDirectory(log.Path, log.Config.FileDeleteDelayMs);
        return true;
    }

    /// <summary>A log that is not served for its damage is deleted like another: its topic is gone.</summary>
    private bool DeleteDamaged(TopicPartition partition)
    {
        if (!_damaged.TryRemove(partition, out var damage) || Path.GetDirectoryName(damage.File) is not { } path)
            return false;
        var doomed = Path.Combine(Path.GetDirectoryName(path)!, MarkedName(partition, DeleteSuffix));
        _context.Files.Rename(path, doomed);
        _deletion.DeleteDirectory(doomed, 0);
        return true;
    }

    /// <summary>Writes the recovery points of all directories.</summary>
    public void CheckpointRecoveryPoints() => ForEachDirectory("writing recovery points", CheckpointRecoveryPoints);

    /// <summary>Writes the log start offsets of all directories.</summary>
    public void CheckpointLogStartOffsets() => ForEachDirectory("writing log start offsets", CheckpointLogStartOffsets);

    /// <summary>Flushes the logs whose <c>flush.ms</c> has passed.</summary>
    public void FlushDueLogs()
    {
        var nowMs = _context.NowMs;
        foreach (var log in Logs)
        {
            var isDue = log.LogEndOffset > log.RecoveryPoint && nowMs - log.LastFlushMs >= log.Config.FlushMs;
            if (isDue && !log.Directory.IsOffline)
                Guard(log, "flushing", static l => l.Flush());
        }
    }

    /// <summary>Applies retention to all logs.</summary>
    public void RunRetention()
    {
        foreach (var log in Logs)
            Guard(log, "applying retention", l => l.DeleteOldSegments(HighWatermarkOf(l)));
    }

    /// <summary><c>producer.id.expiration.ms</c>, which may be changed at run time.</summary>
    public long ProducerIdExpirationMs
    {
        get => _context.ProducerIdExpirationMs;
        set => _context.ProducerIdExpirationMs = value;
    }

    /// <summary>Forgets producers that have not written for <c>producer.id.expiration.ms</c>.</summary>
    public void RemoveExpiredProducers()
    {
        foreach (var log in Logs)
            log.RemoveExpiredProducers();
    }

    /// <summary>Flushes and closes all logs, writes the checkpoints and <c>.kafka_cleanshutdown</c>.</summary>
    /// <param name="brokerEpoch">The broker's epoch, -1 when it has none.</param>
    public void Close(long brokerEpoch)
    {
        lock (_createLock)
        {
            if (_closed)
                return;
            _closed = true;
        }

        StopTimers();
        Parallel.ForEach(Logs, Degree(), static log => log.Close());
        _metadataLog?.Close();
        foreach (var directory in Directories)
            directory.Flusher.Dispose();
        if (_loaded)
        {
            ForEachDirectory("writing checkpoints", directory =>
            {
                CheckpointRecoveryPoints(directory);
                CheckpointLogStartOffsets(directory);
                // The next start must look at a damaged log as this one did.
                if (_damagedCheckpoints.Values.All(d => d.Directory != directory))
                    CleanShutdownFile.Write(_context.Files, directory.Path, brokerEpoch);
            });
        }

        Release();
    }

    /// <summary>As <see cref="Close"/>, without a broker epoch.</summary>
    public void Dispose() => Close(-1);

    /// <summary>Lets go of everything as a crash does: nothing is flushed, no checkpoint is written.</summary>
    internal void Abandon()
    {
        _closed = true;
        StopTimers();
        foreach (var log in Logs)
            log.Abandon();
        _metadataLog?.Abandon();
        foreach (var directory in Directories)
            directory.Flusher.Dispose();
        Release();
    }

    private void LoadDirectory(LogDirectory directory, Func<TopicPartition, Uuid, LogConfig?> configOf)
    {
        var recoveryPoints = ReadCheckpoint(directory.RecoveryPoints);
        var starts = ReadCheckpoint(directory.LogStartOffsets);
        var isClean = directory.WasCleanlyShutDown;
        CleanShutdownFile.Delete(_context.Files, directory.Path);
        var partitions = new List<TopicPartition>();
        foreach (var name in _context.Files.ListDirectories(directory.Path))
        {
            if (name.EndsWith(DeleteSuffix, StringComparison.Ordinal))
                _deletion.DeleteDirectory(Path.Combine(directory.Path, name), 0);
            else if (TopicPartition.TryParse(name, out var partition) && partition != MetadataPartition)
                partitions.Add(partition);
        }

        Parallel.ForEach(partitions, Degree(), partition =>
        {
            var checkpoints = new LogCheckpoints(
                recoveryPoints.GetValueOrDefault(partition), starts.GetValueOrDefault(partition));
            LoadLog(directory, partition, checkpoints, isClean, configOf);
        });
        if (partitions.Count > 0)
        {
            _context.Logger.LogInformation(
                "Log directory {Directory}: {Count} partitions opened after a{Clean} stop.",
                directory.Path,
                partitions.Count,
                isClean ? " clean" : "n unclean");
        }
    }

    private void LoadLog(
        LogDirectory directory,
        TopicPartition partition,
        LogCheckpoints checkpoints,
        bool isClean,
        Func<TopicPartition, Uuid, LogConfig?> configOf)
    {
        if (directory.IsOffline)
            return;
        try
        {
            var path = Path.Combine(directory.Path, partition.ToString());
            if (configOf(partition, _opener.ReadTopicId(path)) is not { } config)
                MakeStray(directory, partition, path);
            else if (!_logs.TryAdd(partition, _opener.Open(directory, partition, config, checkpoints, isClean)))
                _context.Logger.LogError("{Directory} is not served: another log directory has it, too.", path);
        }
        catch (CorruptLogException exception)
        {
            _context.Logger.LogError("{Partition} is not served: {Problem}", partition, exception.Message);
            _damaged[partition] = exception;
            _damagedCheckpoints[partition] = new DamagedLog(directory, checkpoints);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            directory.Fail($"opening {partition}", exception);
        }
    }

    private void MakeStray(LogDirectory directory, TopicPartition partition, string path)
    {
        var stray = Path.Combine(directory.Path, MarkedName(partition, StraySuffix));
        _context.Logger.LogWarning(
            "{Directory} belongs to no partition of this broker; it becomes {Stray}.", path, stray);
        _context.Files.Rename(path, stray);
    }

    /// <summary>A checkpoint that cannot be read only makes more work: everything is scanned.</summary>
    private Dictionary<TopicPartition, long> ReadCheckpoint(OffsetCheckpointFile file)
    {
        try
        {
            return file.Read();
        }
        catch (InvalidDataException exception)
        {
            _context.Logger.LogWarning("{Problem} It is taken as empty.", exception.Message);
            return [];
        }
    }

    private LogDirectory ChooseDirectory(Uuid? directoryId)
    {
        if (directoryId is { IsZero: false } id && Directories.FirstOrDefault(d => d.DirectoryId == id) is { } wanted)
        {
            wanted.ThrowIfOffline();
            return wanted;
        }

        var counts = Logs.CountBy(static l => l.Directory).ToDictionary();
        return Directories.Where(static d => !d.IsOffline).MinBy(d => counts.GetValueOrDefault(d))
            ?? throw new StorageException("All log directories are offline.");
    }

    private void CheckpointRecoveryPoints(LogDirectory directory) => directory.RecoveryPoints.Write(
        [.. LogsIn(directory).Select(static l => KeyValuePair.Create(l.TopicPartition, l.RecoveryPoint)),
            .. DamagedIn(directory, static c => c.RecoveryPoint)]);

    /// <summary>A start that the first segment's name tells is left out, as Kafka does.</summary>
    private void CheckpointLogStartOffsets(LogDirectory directory) => directory.LogStartOffsets.Write(
        [.. LogsIn(directory).Where(static l => l.LogStartOffset > l.FirstSegmentOffset)
            .Select(static l => KeyValuePair.Create(l.TopicPartition, l.LogStartOffset)),
            .. DamagedIn(directory, static c => c.LogStartOffset).Where(static p => p.Value > 0)]);

    /// <summary>What the checkpoints said of damaged logs, which must not be forgotten.</summary>
    private IEnumerable<KeyValuePair<TopicPartition, long>> DamagedIn(
        LogDirectory directory, Func<LogCheckpoints, long> offsetOf) =>
        _damagedCheckpoints.Where(d => d.Value.Directory == directory)
            .Select(d => KeyValuePair.Create(d.Key, offsetOf(d.Value.Checkpoints)));

    private IEnumerable<PartitionLog> LogsIn(LogDirectory directory) => Logs.Where(l => l.Directory == directory);

    private void ForEachDirectory(string action, Action<LogDirectory> run)
    {
        foreach (var directory in Directories.Where(static d => !d.IsOffline))
        {
            try
            {
                Guard(directory, action, run);
            }
            catch (StorageException)
            {
                // The directory is offline now, and it was logged; the others go on.
            }
        }
    }

    private static void Guard(LogDirectory directory, string action, Action<LogDirectory> run)
    {
        directory.ThrowIfOffline();
        try
        {
            run(directory);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw directory.Fail(action, exception);
        }
    }

    private void Guard(PartitionLog log, string action, Action<PartitionLog> run)
    {
        try
        {
            run(log);
        }
        catch (Exception exception) when (exception is IOException or ObjectDisposedException)
        {
            // A failure of the disk has taken the directory offline and is logged there.
            _context.Logger.LogDebug(exception, "{Action} {Partition} failed.", action, log.TopicPartition);
        }
    }

    private void StartTimers()
    {
        Start(_options.RecoveryPointCheckpointIntervalMs, CheckpointRecoveryPoints);
        Start(_options.LogStartCheckpointIntervalMs, CheckpointLogStartOffsets);
        Start(_options.FlushCheckIntervalMs, FlushDueLogs);
        Start(_options.RetentionCheckIntervalMs, RunRetention);
        Start(_options.ProducerIdExpirationCheckIntervalMs, RemoveExpiredProducers);
    }

    private void Start(long intervalMs, Action run)
    {
        var isRunning = 0;
        var interval = TimeSpan.FromMilliseconds(Math.Clamp(intervalMs, 1, int.MaxValue));
        _timers.Add(_options.Time.CreateTimer(
            _ =>
            {
                if (_closed || Interlocked.Exchange(ref isRunning, 1) != 0)
                    return;
                try
                {
                    run();
                }
                finally
                {
                    Volatile.Write(ref isRunning, 0);
                }
            },
            null,
            interval,
            interval));
    }

    private void StopTimers()
    {
        foreach (var timer in _timers)
            timer.Dispose();
        _deletion.Dispose();
    }

    private void Release()
    {
        foreach (var taken in _locks)
            taken.Dispose();
        _context.Metrics.Dispose();
        _ownCodecs?.Dispose();
    }

    private ParallelOptions Degree() =>
        new() { MaxDegreeOfParallelism = Math.Max(1, _options.RecoveryThreadsPerDirectory) };

    /// <summary><c>topic-partition.uuid-suffix</c>, the topic cut so that the name stays within 255 bytes.</summary>
    private string MarkedName(TopicPartition partition, string suffix)
    {
        const int maxBytes = 255;
        Span<byte> id = stackalloc byte[Uuid.SizeInBytes];
        _options.NewUuid().Write(id);
        var tail = $"-{partition.Partition}.{Convert.ToHexStringLower(id)}{suffix}";
        return partition.Topic[..Math.Min(partition.Topic.Length, maxBytes - tail.Length)] + tail;
    }

    private readonly record struct DamagedLog(LogDirectory Directory, LogCheckpoints Checkpoints);
}
