using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Crashing;
using KBroker.Storage.Files;
using KBroker.Storage.Log;
using KBroker.Storage.Moves;
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

    private readonly LogContext _context;
    private readonly LogSet _set;
    private readonly LogCheckpointing _checkpointing;
    private readonly LogDirectoryLoader _loader;
    private readonly LogCreation _creation;
    private readonly PeriodicWork _periodic;
    private readonly LogOpener _opener;
    private readonly DelayedDeletion _deletion;
    private readonly CompressionCodecs? _ownCodecs;
    private readonly List<IDisposable> _locks;
    private bool _loaded;
    private bool _closed;

    private LogManager(LogManagerOptions options)
    {
        _ownCodecs = options.Codecs is null ? new CompressionCodecs() : null;
        _context = new LogContext
        {
            Files = new PooledFileSystem(options.Files, options.MaxOpenFiles),
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
        _set = new LogSet(options, _context, Directories);
        _checkpointing = new LogCheckpointing(_set);
        Moves = new LogMoves(_set, _opener, _checkpointing, _deletion);
        _loader = new LogDirectoryLoader(_set, _opener, _checkpointing, _deletion);
        _creation = new LogCreation(_set, _opener, _checkpointing, _deletion, Moves);
        _periodic = new PeriodicWork(_set, _checkpointing);
        Cleaner = new LogCleaner(_set, log => HighWatermarkOf(log));
    }

    /// <summary>The log directories, in the order of the options; some may be offline.</summary>
    public IReadOnlyList<LogDirectory> Directories { get; }

    /// <summary>The cluster, from <c>meta.properties</c>.</summary>
    public string ClusterId { get; }

    /// <summary>All open logs but the metadata log, in no order.</summary>
    public ICollection<PartitionLog> Logs => _set.Logs.Values;

    /// <summary>The moves of logs between the directories.</summary>
    public LogMoves Moves { get; }

    /// <summary>Partitions that are not served because their files are damaged, and how.</summary>
    public IReadOnlyDictionary<TopicPartition, CorruptLogException> DamagedLogs => _set.Damaged;

    /// <summary>Compacts the logs; to be started when <see cref="HighWatermarkOf"/> is set.</summary>
    public LogCleaner Cleaner { get; }

    /// <summary>The high watermark of a log, below which retention may delete; set by who keeps it.</summary>
    public Func<PartitionLog, long> HighWatermarkOf
    {
        get => _periodic.HighWatermarkOf;
        set => _periodic.HighWatermarkOf = value;
    }

    /// <summary><c>producer.id.expiration.ms</c>, which may be changed at run time.</summary>
    public long ProducerIdExpirationMs
    {
        get => _context.ProducerIdExpirationMs;
        set => _context.ProducerIdExpirationMs = value;
    }

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
    /// Opens, or creates, the metadata log. What lies behind its recovery point is scanned; Kafka writes none for it,
    /// so after Kafka it is scanned whole.
    /// </summary>
    /// <param name="config">Its configs.</param>
    /// <param name="directory">Where (<c>metadata.log.dir</c>); null for the first directory.</param>
    /// <returns>The log; the manager closes it.</returns>
    /// <exception cref="CorruptLogException">It is damaged before its recovery point.</exception>
    public PartitionLog OpenMetadataLog(LogConfig config, LogDirectory? directory = null)
    {
        directory ??= Directories[0];
        directory.ThrowIfOffline();
        try
        {
            var path = Path.Combine(directory.Path, MetadataPartition.ToString());
            var checkpoints = _checkpointing.Read(directory).Of(MetadataPartition);
            var isClean = directory.WasCleanlyShutDown && checkpoints.IsRecoveryPointKnown;
            return _set.MetadataLog = _context.Files.DirectoryExists(path)
                ? _opener.Open(directory, MetadataPartition, config, checkpoints, isClean)
                : _opener.Create(directory, MetadataPartition, new Uuid(0, 1), config);
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
    /// <param name="topicIdOf">
    /// The topic id that a partition should have; zero for none. It takes the place of one on disk that cannot be read,
    /// and tells damage from a directory that belongs to another topic.
    /// </param>
    /// <param name="directoryOf">
    /// The id of the directory in which the metadata has a partition; zero, or null for all, when it does not say.
    /// </param>
    public void LoadLogs(
        Func<TopicPartition, Uuid, LogConfig?> configOf,
        Func<TopicPartition, Uuid>? topicIdOf = null,
        Func<TopicPartition, Uuid>? directoryOf = null)
    {
        ArgumentNullException.ThrowIfNull(configOf);
        var places = new MoveRecovery(_set, _opener, _deletion, configOf, directoryOf ?? (static _ => Uuid.Zero));
        places.Run();
        var online = Directories.Where(static d => !d.IsOffline).ToList();
        Parallel.ForEach(online, directory =>
        {
            try
            {
                _loader.Load(directory, configOf, topicIdOf ?? (static _ => Uuid.Zero), places);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                directory.Fail("opening its logs", exception);
            }
        });

        _loader.MarkMoves();
        _loaded = true;
        if (!_set.Options.RunInline)
            _periodic.Start();
    }

    /// <summary>Finds an open log.</summary>
    /// <param name="partition">Which.</param>
    /// <param name="log">The log.</param>
    /// <returns>False when there is none. One whose directory is offline is there, and throws.</returns>
    public bool TryGet(TopicPartition partition, [NotNullWhen(true)] out PartitionLog? log) =>
        _set.Logs.TryGetValue(partition, out log);

    /// <summary>Finds a log, or creates it in the directory with the fewest.</summary>
    /// <param name="partition">Which.</param>
    /// <param name="topicId">Id of its topic.</param>
    /// <param name="config">The topic's configs.</param>
    /// <param name="directoryId">
    /// The directory that it lies in as far as is known; null for a new log. A reserved id leaves the choice free only
    /// while no directory is offline; one that is not among them must be in
    /// <see cref="LogManagerOptions.LostDirectories"/>.
    /// </param>
    /// <returns>The log.</returns>
    /// <exception cref="StorageException">
    /// The directory that it lies in, or may lie in, is offline; or its files are damaged.
    /// </exception>
    public PartitionLog GetOrCreate(TopicPartition partition, Uuid topicId, LogConfig config, Uuid? directoryId = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        return _creation.GetOrCreate(partition, topicId, config, directoryId);
    }

    /// <summary>
    /// Deletes a log: its directory is renamed at once, so that the name is free, and removed after
    /// <c>file.delete.delay.ms</c>. Answers being sent from it go on.
    /// </summary>
    /// <param name="partition">Which.</param>
    /// <returns>False when there is none.</returns>
    public bool Delete(TopicPartition partition) => _creation.Delete([partition]) > 0;

    /// <summary>Deletes several logs as one, with the same few flushes however many they are.</summary>
    /// <param name="partitions">Which; those that are not there are left out.</param>
    /// <returns>How many there were.</returns>
    public int Delete(IReadOnlyCollection<TopicPartition> partitions)
    {
        ArgumentNullException.ThrowIfNull(partitions);
        return _creation.Delete(partitions);
    }

    /// <summary>Remembers where a log is to be created, when it is.</summary>
    /// <param name="partition">Which.</param>
    /// <param name="directory">Where; another one is chosen if that is offline by then.</param>
    public void Prefer(TopicPartition partition, LogDirectory directory) => _creation.Prefer(partition, directory);

    /// <summary>Writes the recovery points of all directories.</summary>
    public void CheckpointRecoveryPoints() => _checkpointing.WriteRecoveryPoints();

    /// <summary>Writes the log start offsets of all directories.</summary>
    public void CheckpointLogStartOffsets() => _checkpointing.WriteLogStartOffsets();

    /// <summary>Flushes the logs whose <c>flush.ms</c> has passed.</summary>
    public void FlushDueLogs() => _periodic.FlushDueLogs();

    /// <summary>Applies retention to all logs.</summary>
    public void RunRetention() => _periodic.RunRetention();

    /// <summary>Forgets producers that have not written for <c>producer.id.expiration.ms</c>.</summary>
    public void RemoveExpiredProducers() => _periodic.RemoveExpiredProducers();

    /// <summary>Flushes and closes all logs, writes the checkpoints and <c>.kafka_cleanshutdown</c>.</summary>
    /// <param name="brokerEpoch">The broker's epoch, -1 when it has none.</param>
    public void Close(long brokerEpoch)
    {
        lock (_set.ChangeLock)
        {
            if (_closed)
                return;
            _closed = true;
        }

        StopTimers();
        CrashPoint.Reached("close.begin");
        CloseLogs();
        CrashPoint.Reached("close.logs-closed");
        _set.MetadataLog?.Close();
        foreach (var directory in Directories)
            directory.EndUse();
        if (_loaded)
        {
            _set.ForEachDirectory("writing checkpoints", directory =>
            {
                _checkpointing.WriteRecoveryPoints(directory);
                _checkpointing.WriteLogStartOffsets(directory);
                CrashPoint.Reached("close.checkpointed");
                // The next start must look at a damaged log as this one did.
                if (_set.DamagedCheckpoints.Values.All(d => d.Directory != directory))
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
        foreach (var log in Logs.Concat(_set.Futures.Values))
            log.Abandon();
        _set.MetadataLog?.Abandon();
        foreach (var directory in Directories)
            directory.EndUse();
        Release();
    }

    /// <summary>Closes all logs; those of a directory that were written to share one flush.</summary>
    private void CloseLogs()
    {
        foreach (var directory in Directories)
        {
            var written = new ConcurrentBag<PartitionLog>();
            Parallel.ForEach(_set.LogsIn(directory), _set.Degree(), log =>
            {
                if (log.PrepareClose())
                    written.Add(log);
            });
            if (directory.WholeFlush is not null && written.Count > 1)
                JointFlush.Run(directory, [.. written]);
            Parallel.ForEach(_set.LogsIn(directory), _set.Degree(), static log => log.FinishClose());
        }
    }

    private void StopTimers()
    {
        Cleaner.Stop();
        _periodic.Dispose();
        _deletion.Dispose();
    }

    private void Release()
    {
        foreach (var taken in _locks)
            taken.Dispose();
        _context.Metrics.Dispose();
        _ownCodecs?.Dispose();
    }
}
