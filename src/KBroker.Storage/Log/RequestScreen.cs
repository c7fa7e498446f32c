using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;

namespace KBroker.Storage.Log;

/// <summary>What <see cref="RequestScreen"/> made of a batch.</summary>
/// <param name="Bytes">The batch to store.</param>
/// <param name="Flags">The private attribute bits that it is to have.</param>
/// <param name="Errors">The records at fault; null when there are none.</param>
internal readonly record struct ScreenedBatch(
    ReadOnlySequence<byte> Bytes, RecordBatchAttributes Flags, List<RecordError>? Errors);

/// <summary>
/// Reads what the headers of a producer's records ask for, refuses what cannot be meant, takes out headers that only
/// the broker writes, and says which private bits the batch gets.
/// </summary>
/// <param name="partition">For messages.</param>
/// <param name="codecs">For compressed batches.</param>
/// <param name="halves">Knows what decisions refer to.</param>
internal sealed class RequestScreen(TopicPartition partition, CompressionCodecs codecs, HalfLookup halves)
{
    private const int MaxRecordErrors = 100;

    /// <summary>Screens a batch whose records were validated.</summary>
    /// <param name="work">Owns what is made anew.</param>
    /// <param name="batch">Exactly one whole batch.</param>
    /// <param name="config">The topic's configs.</param>
    /// <param name="maxDecompressedBytes">The bound on the records of a compressed batch.</param>
    /// <param name="nowMs">The time.</param>
    /// <returns>What is to be stored.</returns>
    public ScreenedBatch Run(
        AppendWork work, in ReadOnlySequence<byte> batch, LogConfig config, int maxDecompressedBytes, long nowMs)
    {
        using var reader = new RecordBatchReader(batch, codecs, maxDecompressedBytes);
        List<RecordError>? errors = null;
        var (hidden, commands, isLate, hasBrokerHeaders) = (0, 0, false, false);
        for (var index = 0; reader.TryRead(out var record); index++)
        {
            var request = DeliveryRequest.Parse(record.Headers);
            hasBrokerHeaders |= request.HasBrokerHeaders;
            var timestamp = config.MessageTimestampType == TimestampType.LogAppendTime ? nowMs : record.Timestamp;
            var problem = Judge(request, timestamp, config, nowMs)
                ?? JudgeHalf(request, record.Headers, reader.Header.IsTransactional, config, maxDecompressedBytes);
            if (problem is not null)
            {
                errors ??= [];
                if (errors.Count < MaxRecordErrors)
                    errors.Add(new RecordError(index, $"{problem} (topic partition {partition})"));
                continue;
            }

            if (!request.Hides(timestamp))
                continue;
            hidden++;
            if (request.Kind == DeliveryRequestKind.Cancel
                || request.Half is HalfRequest.Commit or HalfRequest.Rollback)
                commands++;
            else if (request.Half == HalfRequest.Prepare)
                isLate = true;
            else
                isLate |= request.DueMs(timestamp, config.DelayLevelsMs) > nowMs;
        }

        var bytes = hasBrokerHeaders && errors is null ? Strip(work, batch, maxDecompressedBytes) : batch;
        // A batch of which everything is due already stays an ordinary one.
        var flags = RecordBatchAttributes.None;
        if (commands > 0 || isLate)
        {
            flags = RecordBatchAttributes.Hiding
                | (commands > 0 ? RecordBatchAttributes.Commanding : 0)
                | (hidden == reader.Header.RecordsCount ? RecordBatchAttributes.AllHidden : 0);
        }

        return new ScreenedBatch(bytes, flags, errors);
    }

    private static string? Judge(in DeliveryRequest request, long timestamp, LogConfig config, long nowMs)
    {
        if (request.Problem is { } problem)
            return problem;
        if (request.Kind != DeliveryRequestKind.None && !config.DelayEnable)
            return "delays are not enabled for this topic (kbroker.delay.enable)";
        if (request.Kind is DeliveryRequestKind.None or DeliveryRequestKind.Cancel)
            return null;
        if (timestamp < 0 && request.Kind != DeliveryRequestKind.At && request.Value > 0)
            return $"a delay counts from the record's timestamp, but this record has none ({timestamp})";
        var due = request.DueMs(timestamp, config.DelayLevelsMs);
        return due > nowMs && due - nowMs > config.DelayMaxMs
            ? $"the delivery would be {due - nowMs} ms from now, but kbroker.delay.max.ms is {config.DelayMaxMs}"
            : null;
    }

    private string? JudgeHalf(
        in DeliveryRequest request, RecordHeaders headers, bool isTransactional, LogConfig config,
        int maxDecompressedBytes)
    {
        if (request.Half == HalfRequest.None)
            return null;
        if (!config.CheckBackEnable)
            return $"{DeliveryHeaders.Transaction}: check-back is not enabled for this topic (kbroker.txn.enable)";
        if (isTransactional)
        {
            return $"{DeliveryHeaders.Transaction} does not go into a Kafka transaction: which of two decisions came "
                + "first would depend on the ends of their transactions";
        }

        return request.Half == HalfRequest.Prepare
            ? null
            : halves.Problem(request.Reference, DeliveryRequest.GroupOf(headers), maxDecompressedBytes);
    }

    private ReadOnlySequence<byte> Strip(AppendWork work, in ReadOnlySequence<byte> batch, int maxDecompressedBytes)
    {
        using var reader = new RecordBatchReader(batch, codecs, maxDecompressedBytes);
        var builder = new RecordBatchBuilder(RecordBatchOptions.Like(reader.Header), codecs);
        work.Own(builder);
        var kept = new List<RecordHeader>();
        while (reader.TryRead(out var record))
        {
            kept.Clear();
            foreach (var header in record.Headers)
            {
                if (!DeliveryHeaders.IsBrokerWritten(header.KeyUtf8.Span))
                    kept.Add(header);
            }

            builder.AppendAt(
                record.Offset,
                record.Timestamp,
                record.Key,
                record.Value,
                kept.Count == record.Headers.Count
                    ? record.Headers
                    : RecordHeaders.Create(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(kept)));
        }

        return new ReadOnlySequence<byte>(builder.Build());
    }
}
