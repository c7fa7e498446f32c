using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Crashing;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.Delay;

/// <summary>Appends the records of a partition that are due, batch by batch. Not thread-safe.</summary>
/// <param name="parts">Clock, metrics and the like.</param>
/// <param name="pending">The schedule.</param>
/// <param name="origins">Reads the records.</param>
internal sealed class DueDelivery(DelayParts parts, PendingSchedule pending, OriginReader origins) : IDisposable
{
    private const int TakenLeast = 64;
    private readonly CopyWriter _writer = new(parts.Codecs, CopyKind.Delivered);
    private readonly List<PendingRecord> _taken = [];
    private int _lastCount = CopyWriter.RecordsMax;
    private long _gatherUntilMs = long.MinValue;

    /// <summary>Records delivered so far.</summary>
    public long Delivered { get; private set; }

    /// <summary>Delivers what is due.</summary>
    /// <param name="partition">Where.</param>
    /// <param name="commandEnd">The commands that the schedule knows of.</param>
    /// <param name="nowMs">The time, epoch ms.</param>
    /// <returns>0 when there is more to do at once, after the log was followed again; else how long until the next
    /// record is due, ms; null when none is pending.</returns>
    /// <exception cref="IOException">The log cannot be read.</exception>
    /// <exception cref="RecordException">It is damaged.</exception>
    public long? Run(Partition partition, long commandEnd, long nowMs)
    {
        if (pending.NextDueMs is not { } due)
            return null;
        var beginMs = Math.Max(due, Math.Min(_gatherUntilMs, nowMs + parts.GatherMs));
        if (beginMs > nowMs)
            return beginMs - nowMs;
        _taken.Clear();
        _writer.Clear();
        // As many as fit into a batch, going by the last one.
        pending.TakeDue(nowMs, Math.Clamp(2 * _lastCount, TakenLeast, CopyWriter.RecordsMax), _taken);
        var written = Fill(partition.Log, nowMs);
        if (written < _taken.Count)
        {
            pending.PutBack(_taken[written..]);
            _taken.RemoveRange(written, _taken.Count - written);
        }

        _lastCount = _writer.Count;
        if (_writer.Count == 0)
            return 0;
        CrashPoint.Reached("delays.delivery-ready");
        var appended = _writer.Append(partition, commandEnd);
        if (appended.Error == ErrorCode.None)
        {
            CrashPoint.Reached("delays.delivery-appended");
            Delivered += _taken.Count;
            _gatherUntilMs = pending.NextDueMs <= nowMs ? long.MinValue : nowMs + parts.GatherMs;
            parts.Metrics.Delivered(partition.TopicPartition.Topic, _taken, parts.NowMs);
            return 0;
        }

        pending.PutBack(_taken);
        if (appended.Error == ErrorCode.OperationNotAttempted)
            return 0;
        parts.Logger.LogDebug(
            "{Count} delayed records of {Partition} wait: {Error} {Message}",
            _taken.Count,
            partition.TopicPartition,
            ErrorCodes.Name(appended.Error),
            appended.Message);
        return parts.RetryMs;
    }

    public void Dispose() => _writer.Dispose();

    /// <summary>Puts records into the batch until it is full.</summary>
    /// <returns>How many of those that were taken are done with.</returns>
    private int Fill(PartitionLog log, long nowMs)
    {
        for (var i = 0; i < _taken.Count; i++)
        {
            if (origins.TryRead(log, _taken[i].Location, out var record, out var header))
            {
                if (!_writer.TryAdd(_taken[i], record, header.Compression, nowMs))
                    return i;
                continue;
            }

            // Deleted by other means than ours; there is nothing left to deliver.
            parts.Logger.LogError(
                "The delayed record with offset {Offset} of {Partition}, due at {Due}, is not in the log.",
                _taken[i].Origin,
                log.TopicPartition,
                _taken[i].DueMs);
            _taken.RemoveAt(i--);
        }

        return _taken.Count;
    }
}
