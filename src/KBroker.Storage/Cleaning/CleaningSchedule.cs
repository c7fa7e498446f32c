using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// Chooses which log is compacted next, and remembers which ones cannot be. Logs whose records wait for longer than
/// <c>max.compaction.lag.ms</c> come first, then the one with the largest share of dirty bytes.
/// </summary>
internal sealed class CleaningSchedule
{
    private readonly LogSet _set;
    private readonly Func<PartitionLog, long> _highWatermarkOf;
    private readonly ConcurrentDictionary<PartitionLog, long> _uncleanable = [];
    private readonly Lock _lock = new();
    private long _lastRun;

    public CleaningSchedule(LogSet set, Func<PartitionLog, long> highWatermarkOf)
    {
        _set = set;
        _highWatermarkOf = highWatermarkOf;
        _lastRun = set.Context.Time.GetTimestamp();
        var metrics = set.Context.Metrics.Cleaner;
        metrics.UncleanableLogs = () => Uncleanable().GroupBy(static u => u.Key.Directory.Path)
            .Select(static g => (g.Key, g.Count(), g.Sum(static u => u.Value)));
        metrics.TimeSinceLastRunMs =
            () => set.Context.Time.GetElapsedTime(Volatile.Read(ref _lastRun)).TotalMilliseconds;
    }

    /// <summary>The logs that are left alone.</summary>
    public IReadOnlyList<TopicPartition> UncleanablePartitions =>
        [.. Uncleanable().Select(static u => u.Key.TopicPartition)];

    /// <summary>Takes the log that needs it most; <see cref="Done"/> gives it back.</summary>
    /// <param name="abort">Cancelled when its cleaning must stop.</param>
    /// <returns>What to clean; null when nothing needs it.</returns>
    public CleanableLog? TakeNext(CancellationTokenSource abort)
    {
        Volatile.Write(ref _lastRun, _set.Context.Time.GetTimestamp());
        lock (_lock)
        {
            var candidates = new List<CleanableLog>();
            double dirtiest = 0;
            long overdue = 0;
            foreach (var log in _set.Logs.Values)
            {
                if (Look(log) is not { } found)
                    continue;
                dirtiest = Math.Max(dirtiest, found.DirtyRatio);
                overdue = Math.Max(overdue, found.OverdueMs);
                if (found.IsDue)
                    candidates.Add(found);
            }

            _set.Context.Metrics.Cleaner.Looked(dirtiest, overdue);
            foreach (var candidate in candidates.OrderByDescending(static c => c.OverdueMs > 0)
                .ThenByDescending(static c => c.DirtyRatio))
            {
                if (!candidate.Log.State.Cleaning.TryEnter(abort))
                    continue;
                // Looked at again now that nobody else can clean, cut or delete it.
                if (Look(candidate.Log, isMine: true) is { IsDue: true } range)
                    return range;
                candidate.Log.State.Cleaning.Exit();
            }

            return null;
        }
    }

    /// <summary>Gives a log back.</summary>
    public void Done(PartitionLog log) => log.State.Cleaning.Exit();

    /// <summary>Does something for a log; a failure is told, and the log left alone when it is damaged.</summary>
    public void Guard(PartitionLog log, Action<PartitionLog> run)
    {
        try
        {
            run(log);
        }
        catch (OperationCanceledException exception)
        {
            _set.Context.Logger.LogDebug(exception, "Compacting {Partition} was cut short.", log.TopicPartition);
        }
        catch (CorruptLogException exception)
        {
            SetUncleanable(log, exception);
        }
        catch (StorageException)
        {
            // The directory is offline, which was told; or the log was closed.
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            log.Directory.Fail($"compacting {log.Path}", exception);
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            SetUncleanable(log, exception);
        }
    }

    private CleanableLog? Look(PartitionLog log, bool isMine = false)
    {
        if (!log.Config.IsCompacted || log.Directory.IsOffline || log.State.IsClosed || _uncleanable.ContainsKey(log)
            || (!isMine && log.State.Cleaning.IsRunning))
        {
            return null;
        }

        CleanableLog? found = null;
        Guard(log, l =>
        {
            var checkpoint = l.Directory.CleanerCheckpoint;
            found = CleanableLog.Of(
                l, checkpoint.Get(l.TopicPartition), _highWatermarkOf(l), _set.Context.NowMs);
            if (found.CheckpointWasInvalid)
                checkpoint.Set(l.TopicPartition, found.FirstDirtyOffset);
        });
        return found;
    }

    private void SetUncleanable(PartitionLog log, Exception exception)
    {
        if (!_uncleanable.TryAdd(log, log.SizeInBytes))
            return;
        _set.Context.Logger.LogError(
            exception,
            "{Partition} cannot be compacted and is left alone until the broker starts again; it is served as it is.",
            log.TopicPartition);
    }

    /// <summary>The logs that are left alone and still there.</summary>
    private IEnumerable<KeyValuePair<PartitionLog, long>> Uncleanable()
    {
        foreach (var (log, _) in _uncleanable.Where(static u => u.Key.State.IsClosed))
            _uncleanable.TryRemove(log, out _);
        return _uncleanable;
    }
}
