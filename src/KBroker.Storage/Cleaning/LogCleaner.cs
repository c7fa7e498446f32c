using KBroker.Storage.Cleaning;
using KBroker.Storage.Crashing;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>
/// Compacts the logs whose <c>cleanup.policy</c> says so: keeps the newest record of each key, on threads of its own,
/// the dirtiest log first.
/// </summary>
/// <remarks>
/// A log is compacted by one thread at a time (<see cref="CleaningGate"/>). One whose files are damaged is left alone
/// from then on, and said so once; a disk that fails takes its directory offline; the others go on.
/// </remarks>
public sealed class LogCleaner
{
    private readonly LogSet _set;
    private readonly Func<PartitionLog, long> _highWatermarkOf;
    private readonly CleaningThrottle _throttle;
    private readonly CleaningSchedule _schedule;
    private readonly KeyHash _hash;
    private readonly Lock _lock = new();
    private readonly List<CleanerThread> _threads = [];
    private CleanerSettings _settings;
    private bool _started;

    internal LogCleaner(LogSet set, Func<PartitionLog, long> highWatermarkOf)
    {
        _set = set;
        _settings = set.Options.Cleaner;
        _highWatermarkOf = highWatermarkOf;
        _throttle = new CleaningThrottle(set.Context.Time, _settings.MaxBytesPerSecond);
        _schedule = new CleaningSchedule(set, highWatermarkOf);
        _hash = KeyHash.Create(set.Context.Random);
        set.Context.Metrics.Cleaner.DeadThreads = () => CountThreads(static t => t.HasFailed);
    }

    /// <summary>The settings in force.</summary>
    public CleanerSettings Settings => Volatile.Read(ref _settings);

    /// <summary>The logs that are left alone because they are damaged.</summary>
    internal IReadOnlyList<TopicPartition> Uncleanable => _schedule.UncleanablePartitions;

    /// <summary>Threads that run.</summary>
    internal int ThreadCount => CountThreads(static _ => true);

    /// <summary>What the last cleaning did; null before the first.</summary>
    internal CleaningStats? LastStats { get; private set; }

    /// <summary>Starts the threads; high watermarks are known from now on.</summary>
    public void Start()
    {
        lock (_lock)
        {
            _started = true;
            StartThreads();
        }
    }

    /// <summary>
    /// Changes the settings. The rate and the rest hold at once; a changed number of threads or size of buffers stops
    /// the cleanings that run, and they begin again.
    /// </summary>
    /// <param name="settings">The new ones; whether compaction is enabled stays as it was at start.</param>
    public void Reconfigure(CleanerSettings settings)
    {
        ArgumentNullException.ThrowIfNull(settings);
        lock (_lock)
        {
            var old = _settings;
            settings = settings with { Enabled = old.Enabled };
            if (settings == old)
                return;
            _throttle.MaxBytesPerSecond = settings.MaxBytesPerSecond;
            Volatile.Write(ref _settings, settings);
            if (settings with { MaxBytesPerSecond = 0 } == old with { MaxBytesPerSecond = 0 })
                return;
            StopThreads();
            if (_started)
                StartThreads();
        }
    }

    /// <summary>Compacts the log that needs it most, in the caller's thread.</summary>
    /// <param name="stop">Cuts it short.</param>
    /// <returns>False when no log needs it.</returns>
    internal bool CleanNext(CancellationToken stop)
    {
        using var abort = CancellationTokenSource.CreateLinkedTokenSource(stop);
        if (_schedule.TakeNext(abort) is not { } next)
            return false;
        try
        {
            Clean(next, abort.Token);
        }
        finally
        {
            _schedule.Done(next.Log);
        }

        // What retention and DeleteRecords left alone meanwhile.
        if (!next.Log.Directory.IsOffline)
            _schedule.Guard(next.Log, log => log.DeleteOldSegments(_highWatermarkOf(log)));
        return true;
    }

    /// <summary>Stops the threads and waits for their end.</summary>
    internal void Stop()
    {
        lock (_lock)
        {
            _started = false;
            StopThreads();
        }
    }

    private void Clean(CleanableLog range, CancellationToken abort)
    {
        var log = range.Log;
        _schedule.Guard(log, _ =>
        {
            using var pass = new CleaningPass(range, Settings, _throttle, abort);
            var endOffset = pass.Run(_hash);
            if (!log.Config.IsCompacted)
                return;
            CrashPoint.Reached("compact.done");
            log.Directory.CleanerCheckpoint.Set(log.TopicPartition, endOffset);
            CrashPoint.Reached("compact.checkpointed");
            Report(log, range.FirstDirtyOffset, endOffset, pass.Stats);
        });
    }

    private void Report(PartitionLog log, long from, long to, CleaningStats stats)
    {
        LastStats = stats;
        _set.Context.Metrics.Cleaner.Cleaned(stats);
        if (stats.InvalidRecords > 0)
        {
            _set.Context.Logger.LogWarning(
                "{Partition}: {Count} records without a key were dropped; they were appended before it was compacted.",
                log.TopicPartition,
                stats.InvalidRecords);
        }

        _set.Context.Logger.LogInformation(
            "{Partition} compacted up to offset {To} (dirty from {From}): {Read} bytes became {Written}, {RecordsRead} "
                + "records {RecordsKept}; offset map {Full:P0} full; {Seconds:F3} s.",
            log.TopicPartition,
            to,
            from,
            stats.BytesRead,
            stats.BytesWritten,
            stats.RecordsRead,
            stats.RecordsKept,
            stats.MapUtilization,
            stats.Elapsed.TotalSeconds);
    }

    private void StartThreads()
    {
        if (!_settings.Enabled || _set.Options.RunInline)
            return;
        for (var i = 0; i < _settings.Threads; i++)
        {
            _threads.Add(new CleanerThread(
                $"log cleaner {i}", CleanNext, _settings.BackoffMs, _set.Context.Time, _set.Context.Logger));
        }
    }

    private void StopThreads()
    {
        foreach (var thread in _threads)
            thread.RequestStop();
        foreach (var thread in _threads)
            thread.Dispose();
        _threads.Clear();
    }

    private int CountThreads(Predicate<CleanerThread> predicate)
    {
        lock (_lock)
            return _threads.Count(t => predicate(t));
    }
}
