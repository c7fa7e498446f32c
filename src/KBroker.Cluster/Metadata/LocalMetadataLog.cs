using System.Buffers;
using System.Collections.Immutable;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Crashing;
using KBroker.Storage.Files;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Cluster.Metadata;

/// <summary>What a <see cref="LocalMetadataLog"/> needs to know.</summary>
public sealed record MetadataLogOptions
{
    /// <summary>The log, opened by <see cref="LogManager.OpenMetadataLog"/>, which also closes it.</summary>
    public required PartitionLog Log { get; init; }

    /// <summary>This node: the only voter.</summary>
    public required int NodeId { get; init; }

    /// <summary>The cluster's id, from <c>meta.properties</c>.</summary>
    public required string ClusterId { get; init; }

    /// <summary>Feature levels of a new cluster (<c>kbroker.bootstrap.features</c>).</summary>
    public ImmutableSortedDictionary<string, short> BootstrapFeatures { get; init; } = SupportedFeatures.DefaultLevels;

    /// <summary><c>metadata.log.max.record.bytes.between.snapshots</c>.</summary>
    public long MaxBytesBetweenSnapshots { get; init; } = 20 * 1024 * 1024;

    /// <summary><c>metadata.log.max.snapshot.interval.ms</c>; 0 for no limit.</summary>
    public long MaxSnapshotIntervalMs { get; init; } = 3_600_000;

    /// <summary><c>metadata.max.retention.bytes</c>: log and snapshots together; -1 for no limit.</summary>
    public long MaxRetentionBytes { get; init; } = 100 * 1024 * 1024;

    /// <summary><c>metadata.max.retention.ms</c>: how old a snapshot may grow that is not the newest; -1 for no
    /// limit.</summary>
    public long MaxRetentionMs { get; init; } = 604_800_000;

    /// <summary>The file system.</summary>
    public IFileSystem Files { get; init; } = new PhysicalFileSystem();

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>The log.</summary>
    public ILogger? Logger { get; init; }

    /// <summary>Runs the writing of a snapshot; null for a task of its own. Tests run it at once.</summary>
    public Func<Action, Task>? RunInBackground { get; init; }
}

/// <summary>
/// The metadata log in the own directory, <c>__cluster_metadata-0</c>, in the format of Apache Kafka's raft client with
/// this node
/// as the only voter. A record is committed as soon as it is on this node's disk.
/// </summary>
/// <remarks>
/// Batches of records as in any log, framed by <see cref="MetadataRecordCodec"/>. One append is one batch, or several
/// between
/// a begin and an end record: after a crash all of it is there or nothing. Each start begins a new leader epoch: first
/// <c>quorum-state</c> says so, then a LeaderChange record. Snapshots (<c>*.checkpoint</c>) make the older part of the
/// log
/// unnecessary. Opening replays the newest snapshot and the log behind it.
/// <para>
/// Reading the image is free for any thread; <see cref="Append"/> and <see cref="CommitAsync"/> belong to one thread,
/// the controller's.
/// </para>
/// </remarks>
public sealed class LocalMetadataLog : IMetadataLog
{
    private const int MaxRecordsPerBatch = 10_000;
    private const int MaxBytesPerBatch = 4 * 1024 * 1024;

    private readonly MetadataLogOptions _options;
    private readonly PartitionLog _log;
    private readonly ILogger _logger;
    private readonly CompressionCodecs _codecs = new();
    private readonly MetadataPublisher _publisher;
    private readonly List<MetadataUpdate> _appended = [];
    private readonly QuorumVoters _voters;
    private readonly List<string> _damagedSnapshots;
    private bool _hasOpenTransaction;
    private long _bytesSinceSnapshot;
    private long _lastSnapshotMs;
    private ITimer? _snapshotTimer;
    private readonly Lock _snapshotLock = new();
    private bool _isClosed;
    private Task _snapshotTask = Task.CompletedTask;
    private volatile int _leaderEpoch = -1;

    private LocalMetadataLog(MetadataLogOptions options)
    {
        _options = options;
        _log = options.Log;
        _logger = options.Logger ?? NullLogger.Instance;
        _lastSnapshotMs = NowMs;
        var replay = MetadataReplay.Run(_log, options.Files, _codecs);
        _voters = replay.Voters;
        _hasOpenTransaction = replay.HasOpenTransaction;
        _bytesSinceSnapshot = replay.BytesBehindSnapshot;
        _damagedSnapshots = replay.DamagedSnapshots;
        foreach (var name in _damagedSnapshots)
            _logger.LogWarning("{File} cannot be read; an older one and the log took its place.", name);
        PendingImage = replay.Image with { ClusterId = options.ClusterId };
        _publisher = new MetadataPublisher(PendingImage, _logger);
    }

    /// <inheritdoc/>
    public MetadataImage Image => _publisher.Image;

    /// <summary>The image with everything appended, committed or not: what the next change builds on.</summary>
    public MetadataImage PendingImage { get; private set; }

    /// <summary>The epoch of this leader; -1 before <see cref="BecomeLeader"/>.</summary>
    public int LeaderEpoch => _leaderEpoch;

    /// <summary>The offset that the next record gets.</summary>
    public long NextOffset => _log.LogEndOffset;

    private long NowMs => _options.Time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Replays the directory. Nothing is written.</summary>
    /// <exception cref="InvalidMetadataException">Something in it cannot be read, or does not fit; the message says
    /// where.</exception>
    public static LocalMetadataLog Open(MetadataLogOptions options) => new(options);

    /// <summary>
    /// Begins a new leader epoch and, in a new directory, writes the bootstrap records. Everything is on stable storage
    /// when
    /// it returns.
    /// </summary>
    /// <exception cref="InvalidMetadataException">The directory belongs to a quorum with other voters.</exception>
    /// <exception cref="StorageException">Writing failed.</exception>
    public void BecomeLeader()
    {
        var state = QuorumStateFile.Read(_options.Files, _log.Path);
        CheckVoters(state);
        var epoch = Math.Max(
            state?.LeaderEpoch ?? 0, Math.Max(_log.LeaderEpochs.LatestEpoch,
                PendingImage.Provenance.LastContainedEpoch)) + 1;
        new QuorumStateFile(_options.NodeId, epoch, -1, Uuid.Zero, [_options.NodeId], _voters.KRaftVersion > 0
            ? (short)1 : (short)0)
            .Write(_options.Files, _log.Path);
        _leaderEpoch = epoch;
        CrashPoint.Reached("metadata.epoch-written");
        AppendLeaderChange(epoch);
        if (_hasOpenTransaction)
            Append([new(new AbortTransactionRecord { Reason = "leader change" }, 0)]);
        _hasOpenTransaction = false;
        if (PendingImage.Features.MetadataVersion == 0)
            AppendBootstrap();
        CrashPoint.Reached("metadata.leader-appended");
        _log.Flush();
        Publish();
        StartSnapshotTimer();
        _logger.LogInformation(
            "Metadata log: leader of epoch {Epoch}, {Topics} topics, metadata.version {Version}, next offset {Offset}.",
            epoch, Image.Topics.Count, SupportedFeatures.MetadataVersionName(Image.Features.MetadataVersion),
                _log.LogEndOffset);
    }

    /// <summary>Appends records, all or none of them, and builds <see cref="PendingImage"/>. Nothing is flushed or
    /// published.</summary>
    /// <returns>Offset of the last record.</returns>
    /// <exception cref="InvalidMetadataException">The records do not fit the image; nothing is appended.</exception>
    /// <exception cref="StorageException">Writing failed; the log is offline.</exception>
    public long Append(IReadOnlyList<MetadataRecord> records)
    {
        ArgumentNullException.ThrowIfNull(records);
        if (records.Count > 0)
            AppendChange(records);
        return NextOffset - 1;
    }

    /// <summary>As <see cref="Append"/>, and says what changes.</summary>
    internal MetadataDelta AppendChange(IReadOnlyList<MetadataRecord> records)
    {
        var delta = new MetadataDelta(PendingImage);
        foreach (var record in records)
            if (record.Message is not (BeginTransactionRecord or EndTransactionRecord or AbortTransactionRecord))
                delta.Replay(record.Message);
        var nowMs = NowMs;
        var last = Write(records, nowMs);
        PendingImage = delta.Apply(new MetadataProvenance(last, LeaderEpoch, nowMs));
        _appended.Add(new MetadataUpdate(delta.From, PendingImage, delta));
        return delta;
    }

    /// <summary>Puts everything appended on stable storage, then publishes it.</summary>
    /// <exception cref="StorageException">Flushing failed; nothing is published, the log is offline.</exception>
    public async ValueTask CommitAsync()
    {
        CrashPoint.Reached("metadata.appended");
        await _log.FlushUpToAsync(_log.LogEndOffset);
        CrashPoint.Reached("metadata.flushed");
        Publish();
        CrashPoint.Reached("metadata.published");
        SnapshotIfDue();
    }

    /// <summary><see cref="Append"/> and <see cref="CommitAsync"/>.</summary>
    /// <returns>Offset of the last record.</returns>
    public async ValueTask<long> AppendAsync(IReadOnlyList<MetadataRecord> records)
    {
        var last = Append(records);
        await CommitAsync();
        return last;
    }

    /// <inheritdoc/>
    public void Subscribe(IMetadataSubscriber subscriber) => _publisher.Subscribe(subscriber);

    /// <inheritdoc/>
    public QuorumDescription DescribeQuorum()
    {
        var nowMs = NowMs;
        var end = _log.LogEndOffset;
        var directoryId = _voters.KRaftVersion > 0 ? _log.Directory.DirectoryId : Uuid.Zero;
        return new QuorumDescription(
            _options.NodeId, LeaderEpoch, end, [new QuorumReplica(_options.NodeId, directoryId, end, nowMs, nowMs)], [],
            _voters.KRaftVersion);
    }

    /// <summary>Writes a snapshot of the committed image, if it contains anything that the newest one does
    /// not.</summary>
    /// <exception cref="StorageException">Writing failed.</exception>
    public void WriteSnapshot()
    {
        var image = Image;
        var id = new SnapshotId(image.Provenance.LastContainedOffset + 1, image.Provenance.LastContainedEpoch);
        var directory = _log.Path;
        var existing = SnapshotFile.List(_options.Files, directory);
        if (image.Provenance.LastContainedOffset < 0 || (existing.Count > 0 && existing[^1].CompareTo(id) >= 0))
            return;
        var size = SnapshotFile.Write(
            _options.Files, Path.Combine(directory, id.FileName), MetadataImageWriter.Records(image), _voters, id.Epoch,
            image.Provenance.LastContainedTimestampMs, NowMs);
        _logger.LogInformation("Metadata snapshot {File} written, {Size} bytes.", id.FileName, size);
        existing.Add(id);
        RemoveOld(directory, existing);
    }

    /// <summary>Waits for a snapshot that is being written. The log itself is closed by the
    /// <see cref="LogManager"/>.</summary>
    public async ValueTask CloseAsync()
    {
        lock (_snapshotLock)
        {
            _isClosed = true;
            _snapshotTimer?.Dispose();
        }

        await _snapshotTask.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _codecs.Dispose();
    }

    private void CheckVoters(QuorumStateFile? state)
    {
        IReadOnlyList<int>? voters = _voters.KRaftVersion > 0
            ? _voters.Voters?.Voters.ConvertAll(v => v.VoterId) : state?.CurrentVoters;
        if (voters is { Count: > 0 } && (voters.Count != 1 || voters[0] != _options.NodeId))
            throw new InvalidMetadataException(
                $"{_log.Path} belongs to a quorum with the voters [{string.Join(", ", voters)}]; "
                + $"node {_options.NodeId} can only lead a quorum of its own.");
    }

    private void AppendLeaderChange(int epoch)
    {
        var message = new LeaderChangeMessage
        {
            LeaderId = _options.NodeId,
            Voters = [new() { VoterId = _options.NodeId }],
            GrantingVoters = [new() { VoterId = _options.NodeId }],
        };
        var nowMs = NowMs;
        var last = WriteBatch(MetadataBatches.Control([(ControlRecordType.LeaderChange, message)], 0, epoch, nowMs));
        var next = PendingImage with
        {
            ControllerId = _options.NodeId,
            ControllerEpoch = epoch,
            Provenance = new MetadataProvenance(last, epoch, nowMs),
        };
        _appended.Add(new MetadataUpdate(PendingImage, next, new MetadataDelta(PendingImage)));
        PendingImage = next;
    }

    /// <summary>The bootstrap records are those of bootstrap.checkpoint, which is written first where it is
    /// missing.</summary>
    private void AppendBootstrap()
    {
        var path = Path.Combine(Path.GetDirectoryName(_log.Path)!, SnapshotFile.BootstrapFileName);
        if (!_options.Files.FileExists(path))
        {
            var image = MetadataImage.Empty with { Features = new FeaturesImage(_options.BootstrapFeatures) };
            SnapshotFile.Write(_options.Files, path, MetadataImageWriter.Records(image), QuorumVoters.Static, 0, 0,
                NowMs);
        }

        var records = SnapshotFile.Read(_options.Files, path, _codecs).Records.Select(r =>
            new MetadataRecord(r, 0)).ToList();
        if (!records.Any(r => r.Message is FeatureLevelRecord { Name: SupportedFeatures.MetadataVersion }))
            throw new InvalidMetadataException($"{path} has no metadata.version.");
        // With ELR the cluster-wide minimum must be a stored value, or a change of the broker's file could lose data
        // unnoticed.
        if (records.Any(r =>
            r.Message is FeatureLevelRecord { Name: SupportedFeatures.EligibleLeaderReplicas, FeatureLevel: > 0 }))
            records.Add(new(new ConfigRecord
            {
                ResourceType = (sbyte)ConfigResourceType.Broker,
                ResourceName = "",
                Name = "min.insync.replicas",
                Value = "1",
            }, 0));
        Append([new(new BeginTransactionRecord { Name = "Bootstrap records" }, 0), .. records,
            new(new EndTransactionRecord(), 0)]);
    }

    private long Write(IReadOnlyList<MetadataRecord> records, long nowMs)
    {
        var values = new List<ReadOnlyMemory<byte>>(records.Count);
        long bytes = 0;
        foreach (var record in records)
        {
            var value = MetadataRecordCodec.Encode(record.Message, record.Version);
            values.Add(value);
            bytes += value.Length;
        }

        if (values.Count <= MaxRecordsPerBatch && bytes <= MaxBytesPerBatch)
            return WriteBatch(MetadataBatches.Data(values, 0, LeaderEpoch, nowMs));
        values.Insert(0, MetadataRecordCodec.Encode(new BeginTransactionRecord { Name = "Large change" }, 0));
        values.Add(MetadataRecordCodec.Encode(new EndTransactionRecord(), 0));
        long last = -1;
        for (var start = 0; start < values.Count;)
        {
            var count = 0;
            for (long size = 0; start + count < values.Count && count < MaxRecordsPerBatch && (count == 0
                || size < MaxBytesPerBatch);)
                size += values[start + count++].Length;
            last = WriteBatch(MetadataBatches.Data(values.GetRange(start, count), 0, LeaderEpoch, nowMs));
            start += count;
        }

        return last;
    }

    private long WriteBatch(byte[] batch)
    {
        var result = _log.AppendAsLeader(
            new ReadOnlySequence<byte>(batch), LeaderEpoch,
            new AppendOptions { Origin = AppendOrigin.MetadataLog, CrcIsChecked = true });
        if (!result.IsSuccess)
            throw new StorageException($"The metadata log refused a batch: {result.Error} {result.ErrorMessage}");
        Interlocked.Add(ref _bytesSinceSnapshot, batch.Length);
        return result.LastOffset;
    }

    private void Publish()
    {
        foreach (var update in _appended)
            _publisher.Publish(update);
        _appended.Clear();
    }

    /// <summary>Time passes without commits, too.</summary>
    private void StartSnapshotTimer()
    {
        if (_options.MaxSnapshotIntervalMs <= 0)
            return;
        var interval = TimeSpan.FromMilliseconds(Math.Min(_options.MaxSnapshotIntervalMs, int.MaxValue));
        _snapshotTimer = _options.Time.CreateTimer(_ => SnapshotIfDue(), null, interval, interval);
    }

    private void SnapshotIfDue()
    {
        lock (_snapshotLock)
            StartSnapshotIfDue();
    }

    private void StartSnapshotIfDue()
    {
        var nowMs = NowMs;
        var bytes = Interlocked.Read(ref _bytesSinceSnapshot);
        var due = bytes >= _options.MaxBytesBetweenSnapshots
            || (_options.MaxSnapshotIntervalMs > 0 && bytes > 0
                && nowMs - _lastSnapshotMs >= _options.MaxSnapshotIntervalMs);
        if (!due || _isClosed || !_snapshotTask.IsCompleted)
            return;
        Interlocked.Exchange(ref _bytesSinceSnapshot, 0);
        _lastSnapshotMs = nowMs;
        _snapshotTask = (_options.RunInBackground ?? Task.Run)(() =>
        {
            try
            {
                WriteSnapshot();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The log is still whole; the next snapshot will do.
                _logger.LogError(e, "Writing a metadata snapshot failed.");
            }
        });
    }

    /// <summary>Deletes snapshots, and the log before them, that are too old or too much; the newest always
    /// stays.</summary>
    private void RemoveOld(string directory, List<SnapshotId> snapshots)
    {
        var sizes = _options.Files.ListFiles(directory).ToDictionary(f => f.Name, StringComparer.Ordinal);
        var total = _log.SizeInBytes + snapshots.Sum(s => sizes.TryGetValue(s.FileName, out var f) ? f.Length : 0);
        while (snapshots.Count > 1 && sizes.TryGetValue(snapshots[0].FileName, out var oldest))
        {
            var tooMuch = _options.MaxRetentionBytes >= 0 && total > _options.MaxRetentionBytes;
            var tooOld = _options.MaxRetentionMs >= 0 && NowMs - oldest.LastWriteTimeMs > _options.MaxRetentionMs;
            if (!tooMuch && !tooOld)
                return;
            // First the start moves, so that no start of the log is ever without its snapshot.
            _log.DeleteRecordsBefore(snapshots[1].EndOffset);
            CrashPoint.Reached("snapshot.log-cut");
            _options.Files.DeleteFile(Path.Combine(directory, oldest.Name));
            CrashPoint.Reached("snapshot.old-deleted");
            total -= oldest.Length;
            snapshots.RemoveAt(0);
        }
    }
}
