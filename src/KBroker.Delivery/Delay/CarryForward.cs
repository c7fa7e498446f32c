using KBroker.Cluster.Replication;
using KBroker.Delivery.CheckBack;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.Delay;

/// <summary>
/// Copies pending records to the end of the log before the segments that hold them are deleted. Not thread-safe.
/// </summary>
/// <remarks>
/// The copy is hidden and names its origin, so the record keeps its identity. A crash between the copy and the deletion
/// leaves both, and the later one counts. It is made on condition that no command came since the log was followed:
/// behind a cancel, or a decision, a copy would bring back what is done with.
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
    /// <param name="commandEnd">The commands that are known.</param>
    /// <param name="nowMs">The time, epoch ms.</param>
    /// <returns>None when all of it is on stable storage at the end of the log; OPERATION_NOT_ATTEMPTED when a command
    /// came meanwhile.</returns>
    public ErrorCode Run(
        Partition partition, PartitionLog log, long newStartOffset, long commandEnd, long nowMs)
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
                if (Append(partition, commandEnd) is not ErrorCode.None and var error)
                    return error;
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
                if (Append(partition, commandEnd) is not ErrorCode.None and var error)
                    return error;
                _writer.TryAdd(found, header.Compression, nowMs, added);
            }

            carried++;
        }

        if (_writer.Count > 0 && Append(partition, commandEnd) is not ErrorCode.None and var last)
            return last;
        // The deletion may begin when the copies, and deliveries of what is deleted, cannot be lost any more.
        log.Flush();
        if (carried == 0)
            return ErrorCode.None;
        parts.Metrics.Carried(partition.TopicPartition.Topic, carried);
        parts.Logger.LogInformation(
            "{Partition}: {Count} hidden records below offset {Start} were carried forward to {End} and behind.",
            partition.TopicPartition,
            carried,
            newStartOffset,
            end);
        return ErrorCode.None;
    }

    public void Dispose() => _writer.Dispose();

    private ErrorCode Append(Partition partition, long commandEnd)
    {
        var appended = _writer.Append(partition, commandEnd);
        if (appended.Error is not (ErrorCode.None or ErrorCode.OperationNotAttempted))
        {
            parts.Logger.LogWarning(
                "Hidden records of {Partition} cannot be carried forward, so old segments stay: {Error} {Message}",
                partition.TopicPartition,
                ErrorCodes.Name(appended.Error),
                appended.Message);
        }

        return appended.Error;
    }
}
