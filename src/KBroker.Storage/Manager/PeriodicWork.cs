using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>What is done for all logs again and again: checkpoints, flushes, retention, expired producers.</summary>
internal sealed class PeriodicWork(LogSet set, LogCheckpointing checkpointing) : IDisposable
{
    private readonly List<ITimer> _timers = [];
    private bool _stopped;

    /// <summary>See <see cref="LogManager.HighWatermarkOf"/>.</summary>
    public Func<PartitionLog, long> HighWatermarkOf { get; set; } = static log => log.LogEndOffset;

    /// <summary>Starts the timers.</summary>
    public void Start()
    {
        var options = set.Options;
        Start(options.RecoveryPointCheckpointIntervalMs, checkpointing.WriteRecoveryPoints);
        Start(options.LogStartCheckpointIntervalMs, checkpointing.WriteLogStartOffsets);
        Start(options.FlushCheckIntervalMs, FlushDueLogs);
        Start(options.RetentionCheckIntervalMs, RunRetention);
        Start(options.IdleFileCheckIntervalMs, set.Context.Files.CloseIdle);
        Start(options.ProducerIdExpirationCheckIntervalMs, RemoveExpiredProducers);
    }

    /// <summary>Flushes the logs whose <c>flush.ms</c> has passed.</summary>
    public void FlushDueLogs()
    {
        var nowMs = set.Context.NowMs;
        foreach (var (_, log) in set.Logs)
        {
            var isDue = nowMs - log.LastFlushMs >= log.Config.FlushMs && log.LogEndOffset > log.RecoveryPoint;
            if (isDue && !log.Directory.IsOffline)
                log.FlushSoon();
        }
    }

    /// <summary>Applies retention to all logs.</summary>
    public void RunRetention()
    {
        foreach (var (_, log) in set.Logs)
            Guard(log, "applying retention", l => l.DeleteOldSegments(HighWatermarkOf(l)));
    }

    /// <summary>Forgets producers that have not written for <c>producer.id.expiration.ms</c>.</summary>
    public void RemoveExpiredProducers()
    {
        foreach (var (_, log) in set.Logs)
            log.RemoveExpiredProducers();
    }

    /// <summary>Stops the timers.</summary>
    public void Dispose()
    {
        Volatile.Write(ref _stopped, true);
        foreach (var timer in _timers)
            timer.Dispose();
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
            set.Context.Logger.LogDebug(exception, "{Action} {Partition} failed.", action, log.TopicPartition);
        }
    }

    private void Start(long intervalMs, Action run)
    {
        var isRunning = 0;
        var interval = TimeSpan.FromMilliseconds(Math.Clamp(intervalMs, 1, int.MaxValue));
        _timers.Add(set.Options.Time.CreateTimer(
            _ =>
            {
                if (Volatile.Read(ref _stopped) || Interlocked.Exchange(ref isRunning, 1) != 0)
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
}
