using KBroker.Cluster.Replication;
using KBroker.Delivery.CheckBack;
using KBroker.Protocol;
using KBroker.Storage;
using KBroker.Storage.Crashing;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.Delay;

/// <summary>
/// Copies pending records to the end of the log before the segments that hold them are deleted. Not thread-safe.
/// </summary>
/// <remarks>
/// The copy is hidden and names its origin, so the record keeps its identity. A crash between the copy and the deletion
/// leaves both, and the later one counts.
/// </remarks>
/// <param name="parts">Clock and log.</param>
/// <param name="pending">The schedule.</param>
/// <param name="halves">Half messages, which are carried, too.</param>
/// <param name="origins">Reads the records.</param>
internal sealed class CarryForward(
    DelayParts parts, PendingSchedule pending, OpenHalves halves, OriginReader origins) : IDisposable
{
    private readonly CopyWriter _writer = new(parts.Codecs, CopyKind.Hidden);

    /// <summary>Carries everything that lies below an offset.</summary>
    /// <param name="partition">The partition.</param>
    /// <param name="log">Its log.</param>
    /// <param name="newStartOffset">Where the log is going to start.</param>
    /// <param name="commandEnd">The commands that the schedule knows of: a copy behind a cancel, or a decision, that
    /// it does not know would bring the record back.</param>
    /// <param name="nowMs">The time, epoch ms.</param>
    /// <returns>Whether all of it is on stable storage at the end of the log; null when the log must be followed first,
    /// and then asked again.</returns>
    public bool? Run(Partition partition, PartitionLog log, long newStartOffset, long commandEnd, long nowMs)
    {
        var carried = 0;
        var end = log.LogEndOffset;
        _writer.Clear();
        foreach (var record in pending.ReadAll())
        {
            if (record.Location >= newStartOffset
                || !origins.TryRead(log, record.Location, out var found, out var header))
                continue;
            if (!_writer.TryAdd(record, found, header.Compression, nowMs))
            {
                if (Append(partition, commandEnd) is var done and not true)
                    return done;
                _writer.TryAdd(record, found, header.Compression, nowMs);
            }

            carried++;
        }

        foreach (var half in halves.All)
        {
            if (half.Location >= newStartOffset
                || !origins.TryRead(log, half.Location, out var found, out var header))
                continue;
            var added = HalfHeaders.Carried(half, found);
            if (!_writer.TryAdd(found, header.Compression, nowMs, added))
            {
                if (Append(partition, commandEnd) is var done and not true)
                    return done;
                _writer.TryAdd(found, header.Compression, nowMs, added);
            }

            carried++;
        }

        if (_writer.Count > 0 && Append(partition, commandEnd) is var last and not true)
            return last;
        // The deletion may begin when the copies, and deliveries of what is deleted, cannot be lost any more.
        log.Flush();
        if (carried == 0)
            return true;
        CrashPoint.Reached("delays.carry-flushed");
        parts.Metrics.Carried(partition.TopicPartition.Topic, carried);
        parts.Logger.LogInformation(
            "{Partition}: {Count} hidden records below offset {Start} were carried forward to {End} and behind.",
            partition.TopicPartition,
            carried,
            newStartOffset,
            end);
        return true;
    }

    public void Dispose() => _writer.Dispose();

    private bool? Append(Partition partition, long commandEnd)
    {
        CrashPoint.Reached("delays.carry-ready");
        var appended = _writer.Append(partition, commandEnd);
        if (appended.Error == ErrorCode.OperationNotAttempted)
            return null;
        if (appended.Error == ErrorCode.None)
        {
            CrashPoint.Reached("delays.carry-appended");
            return true;
        }

        parts.Logger.LogWarning(
            "Hidden records of {Partition} cannot be carried forward, so old segments stay: {Error} {Message}",
            partition.TopicPartition,
            ErrorCodes.Name(appended.Error),
            appended.Message);
        return false;
    }
}
