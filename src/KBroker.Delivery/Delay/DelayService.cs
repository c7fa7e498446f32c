using System.Collections.Concurrent;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Delivery.CheckBack;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Files;
using KBroker.Timing;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.Delay;

/// <summary>What the delayed delivery of a broker is made from.</summary>
public sealed record DelayServiceOptions
{
    /// <summary>The metadata: which partitions there are, and which configs changed.</summary>
    public required IMetadataLog Metadata { get; init; }

    /// <summary>The partitions of this broker; subscribed to the metadata already.</summary>
    public required PartitionRegistry Partitions { get; init; }

    /// <summary>Creates the topics that check-back needs.</summary>
    public required IController Controller { get; init; }

    /// <summary>Where schedules keep their files.</summary>
    public required IFileSystem Files { get; init; }

    /// <summary>The timing wheel.</summary>
    public required ITaskTimer Timer { get; init; }

    /// <summary>The clock.</summary>
    public required TimeProvider Time { get; init; }

    /// <summary>Codecs of batches.</summary>
    public required CompressionCodecs Codecs { get; init; }

    /// <summary>Where it tells what it does.</summary>
    public required ILogger Logger { get; init; }

    /// <summary><c>kbroker.delay.memory.records</c>: records of a partition in memory, up to twice as many.</summary>
    public int MemoryRecords { get; init; } = 16_384;

    /// <summary><c>kbroker.delay.checkpoint.records</c>: after how many batches and deliveries files are brought up to
    /// date.</summary>
    public long CheckpointRecords { get; init; } = 50_000;

    /// <summary><c>kbroker.delay.checkpoint.interval.ms</c>: after which time they are, if anything has changed, ms.
    /// </summary>
    public long CheckpointIntervalMs { get; init; } = 30_000;
}

/// <summary>
/// Delivers delayed records: one schedule for each partition led here that allows delays, or has delayed records from a
/// time when it did.
/// </summary>
/// <remarks>
/// Due times are of the wall clock, the timer's of the monotonic one. When they part (somebody sets the clock, or the
/// machine slept), all schedules look again: forward means that more is due, backward that what waits waits longer.
/// What was delivered stays delivered.
/// </remarks>
public sealed class DelayService : IMetadataSubscriber, IAsyncDisposable
{
    private static readonly TimeSpan ClockCheckInterval = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan ClockJumpLeast = TimeSpan.FromMilliseconds(50);

    private readonly DelayServiceOptions _options;
    private readonly ConcurrentDictionary<Partition, DelaySchedule> _schedules = new();
    private readonly Lock _lock = new();
    private readonly DelayParts _parts;
    private readonly ITimer _clockCheck;
    private readonly long _startTimestamp;
    private readonly DateTimeOffset _startTime;
    private TimeSpan _drift;
    private bool _isRunning;

    /// <summary>Creates the service; nothing runs.</summary>
    /// <param name="options">Its parts.</param>
    public DelayService(DelayServiceOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _parts = new DelayParts
        {
            Files = options.Files,
            Timer = options.Timer,
            Time = options.Time,
            Codecs = options.Codecs,
            Logger = options.Logger,
            Targets = new TargetTopics(options.Metadata, options.Partitions, options.Controller, options.Logger),
            Metrics = new DelayMetrics(
                () => _schedules.Values,
                () => options.Time.GetUtcNow().ToUnixTimeMilliseconds(),
                () => _parts!.MonotonicMs),
            NearMax = options.MemoryRecords,
            FarMax = Math.Max(1, options.MemoryRecords / 2),
            CheckpointWork = options.CheckpointRecords,
            CheckpointIntervalMs = options.CheckpointIntervalMs,
        };
        _startTimestamp = options.Time.GetTimestamp();
        _startTime = options.Time.GetUtcNow();
        _clockCheck = options.Time.CreateTimer(
            static self => ((DelayService)self!).CheckClock(), this, Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan);
    }

    /// <summary>Begins; what was pending is found in the background.</summary>
    public void Start()
    {
        lock (_lock)
            _isRunning = true;
        _options.Metadata.Subscribe(this);
        _clockCheck.Change(ClockCheckInterval, ClockCheckInterval);
    }

    /// <inheritdoc/>
    public void OnMetadata(MetadataUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        lock (_lock)
        {
            if (!_isRunning)
                return;
            foreach (var (partition, schedule) in _schedules)
            {
                if (!partition.IsLeader && _schedules.TryRemove(partition, out _))
                    _ = schedule.StopAsync();
            }

            if (update.ChangedConfigs.Any())
            {
                foreach (var partition in _options.Partitions.All)
                    Follow(partition);
                return;
            }

            foreach (var topic in update.ChangedTopics)
            {
                foreach (var image in topic.Partitions)
                {
                    if (_options.Partitions.TryFind(topic.Id, image.PartitionId, out var partition))
                        Follow(partition);
                }
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        List<DelaySchedule> schedules;
        lock (_lock)
        {
            _isRunning = false;
            schedules = [.. _schedules.Values];
            _schedules.Clear();
        }

        await _clockCheck.DisposeAsync().ConfigureAwait(false);
        await Task.WhenAll(schedules.Select(static s => s.StopAsync())).ConfigureAwait(false);
        _parts.Metrics.Dispose();
    }

    /// <summary>The partitions that have a schedule: they allow delays, or have delayed records from a time when they
    /// did.</summary>
    public IEnumerable<Partition> Partitions => _schedules.Keys;

    /// <summary>What is pending in a partition. Where that is still being found out, the answer comes after.</summary>
    /// <param name="partition">The partition.</param>
    /// <param name="query">Which records.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <returns>Null when it cannot be told here: there is no schedule, or it is not the leader's, or it cannot read
    /// its log.</returns>
    public Task<PendingList?> ListAsync(Partition partition, PendingQuery query, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(query);
        return _schedules.TryGetValue(partition, out var schedule)
            ? schedule.ListAsync(query, cancellation)
            : Task.FromResult<PendingList?>(null);
    }

    /// <summary>Records pending in all partitions, as of the last look of each; for tests.</summary>
    internal long PendingCount => _schedules.Values.Sum(static s => s.PendingCount);

    private void Follow(Partition partition)
    {
        if (!partition.IsLeader || _schedules.ContainsKey(partition) || !IsWanted(partition.Log))
            return;
        var schedule = new DelaySchedule(partition, _parts);
        _schedules[partition] = schedule;
        schedule.Start();
    }

    /// <summary>Without a flagged batch nothing is pending, whatever a checkpoint says.</summary>
    private static bool IsWanted(PartitionLog log) => log.Config.HasRequests || log.Flagged.Any;

    private void CheckClock()
    {
        var drift = _options.Time.GetUtcNow() - _startTime - _options.Time.GetElapsedTime(_startTimestamp);
        if ((drift - _drift).Duration() < ClockJumpLeast)
            return;
        _options.Logger.LogWarning(
            "The clock was set by {Milliseconds:0} ms; delayed records are due by the new time.",
            (drift - _drift).TotalMilliseconds);
        _drift = drift;
        foreach (var schedule in _schedules.Values)
            schedule.Wake();
    }
}
