using System.Buffers;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Log;

/// <summary>Why an append is refused, found before the log's lock is taken.</summary>
internal sealed record Refusal(AppendError Error, string Message, IReadOnlyList<RecordError>? RecordErrors = null);

/// <summary>
/// Checks what a leader is asked to append and brings it into the form the topic wants: checksum, format, sizes,
/// counts,
/// timestamps, keys, codec. It runs outside the log's lock, and touches only the header of the caller's buffer.
/// </summary>
internal sealed class LeaderValidator(PartitionLog log, TopicPartition partition, LogContext context)
{
    private const int MaxRecordErrors = 100;
    private const int ShownRecordErrors = 3;
    private readonly RequestScreen _screen = new(partition, context.Codecs, new HalfLookup(log, context.Codecs));

    /// <summary>Fills the work with the batches to append.</summary>
    /// <returns>Null when all is well.</returns>
    public Refusal? Prepare(
        AppendWork work, in ReadOnlySequence<byte> records, LogConfig config, in AppendOptions options, long nowMs)
    {
        try
        {
            foreach (var batch in RecordBatches.Enumerate(records))
            {
                if (work.Count == 1 && options.Origin == AppendOrigin.Client)
                    return OneBatchOnly();
                if (PrepareBatch(work, batch, config, options, nowMs) is { } refusal)
                    return refusal;
            }

            return work.Count == 0 ? OneBatchOnly() : null;
        }
        catch (RecordException exception)
        {
            var error = exception.Kind == RecordErrorKind.UnsupportedForMessageFormat
                && options.Origin == AppendOrigin.Client
                ? AppendError.InvalidRecord
                : (AppendError)exception.Kind;
            return new Refusal(error, $"{exception.Message} (partition {partition})");
        }
    }

    /// <summary>
    /// What the records of one batch may unpack to, so that a small request cannot take much memory: 32 times
    /// <c>max.message.bytes</c>, at least 32 MB. Kafka has no such bound, because it unpacks piece by piece.
    /// </summary>
    private int DecompressedBytesMax(LogConfig config)
    {
        const long Factor = 32;
        const long Least = 32 * 1024 * 1024;
        return (int)Math.Min(context.MaxDecompressedBytes, Math.Max(Least, Factor * config.MaxMessageBytes));
    }

    private static Refusal OneBatchOnly() => new(
        AppendError.InvalidRecord,
        "Produce requests with version 3 and later must contain exactly one record batch per partition.");

    private Refusal? PrepareBatch(
        AppendWork work, in RecordBatch batch, LogConfig config, in AppendOptions options, long nowMs)
    {
        var header = batch.Header;
        if (options.Origin == AppendOrigin.Client && header.BaseOffset != 0)
        {
            return new Refusal(
                AppendError.InvalidRecord,
                $"The baseOffset of the record batch in the append to {partition} should be 0, but it is "
                    + $"{header.BaseOffset}.");
        }

        if (TooLarge(header.SizeInBytes, config, options) is { } tooLarge)
            return tooLarge;
        if (!options.CrcIsChecked)
            RecordBatches.EnsureValidCrc(batch.Bytes);
        if (options.Origin == AppendOrigin.Client)
            RecordBatchValidator.CheckProduced(header);
        if (header.IsControl)
        {
            work.Add(header, batch.Bytes);
            return null;
        }

        var summary = RecordBatchValidator.Validate(batch.Bytes, context.Codecs, DecompressedBytesMax(config));
        if (!summary.OffsetsConsecutive)
        {
            return new Refusal(
                AppendError.InvalidRecord,
                $"The offsets of the records in a batch for {partition} are not consecutive.");
        }

        if (CheckRecords(batch, summary, config, nowMs) is { } refusal)
            return refusal;
        var bytes = batch.Bytes;
        var flags = header.Attributes & RecordBatchAttributes.PrivateMask;
        if (options.Origin == AppendOrigin.Client)
        {
            flags = RecordBatchAttributes.None;
            if (config.HasRequests && summary.RequestHeadersCount > 0)
            {
                var screened = _screen.Run(work, bytes, config, DecompressedBytesMax(config), nowMs);
                if (screened.Errors is { } errors)
                    return Refuse(errors, errors.Count, anyTime: false);
                (bytes, flags) = (screened.Bytes, screened.Flags);
            }
        }

        if (config.CompressionType is { } type && type != header.Compression)
            bytes = Recompress(work, bytes, type, config);
        SetTimestamps(bytes, header, summary, config, nowMs);
        if (!RecordBatchHeader.TryParse(bytes, out header))
            throw new CorruptRecordException("A batch is shorter than its header.");
        if ((header.Attributes & RecordBatchAttributes.PrivateMask) != flags)
        {
            var attributes = (header.Attributes & ~RecordBatchAttributes.PrivateMask) | flags;
            RecordBatchEditor.SetAttributes(bytes, attributes);
            header = header with { Attributes = attributes };
        }

        work.Add(header, bytes);
        return TooLarge(header.SizeInBytes, config, options);
    }

    private Refusal? TooLarge(int sizeInBytes, LogConfig config, in AppendOptions options) =>
        sizeInBytes <= config.MaxMessageBytes || !options.HasSizeLimit
            ? null
            : new Refusal(
                AppendError.MessageTooLarge,
                $"The record batch size in the append to {partition} is {sizeInBytes} bytes which exceeds the maximum "
                    + $"configured value of {config.MaxMessageBytes}.");

    private ReadOnlySequence<byte> Recompress(
        AppendWork work, in ReadOnlySequence<byte> batch, CompressionType type, LogConfig config)
    {
        int? level = type switch
        {
            CompressionType.Gzip => config.GzipLevel,
            CompressionType.Lz4 => config.Lz4Level,
            CompressionType.Zstd => config.ZstdLevel,
            _ => null,
        };
        var owner = RecordBatchTransformer.Recompress(
            batch, type, level, context.Codecs, DecompressedBytesMax(config));
        work.Own(owner);
        return new ReadOnlySequence<byte>(owner.Memory);
    }

    private static void SetTimestamps(
        in ReadOnlySequence<byte> bytes,
        in RecordBatchHeader header,
        in RecordBatchSummary summary,
        LogConfig config,
        long nowMs)
    {
        if (config.MessageTimestampType == TimestampType.LogAppendTime)
            RecordBatchEditor.SetMaxTimestamp(bytes, TimestampType.LogAppendTime, nowMs);
        else if (header.TimestampType != TimestampType.CreateTime || header.MaxTimestamp != summary.MaxTimestamp)
            RecordBatchEditor.SetMaxTimestamp(bytes, TimestampType.CreateTime, summary.MaxTimestamp);
    }

    /// <summary>The rules that the topic has for single records; only a batch that breaks one is read again.</summary>
    private Refusal? CheckRecords(
        in RecordBatch batch, in RecordBatchSummary summary, LogConfig config, long nowMs)
    {
        var (earliest, latest) = TimestampBounds(config, nowMs);
        var keysFail = config.IsCompacted && summary.KeylessCount > 0;
        var timesFail = config.MessageTimestampType == TimestampType.CreateTime
            && (summary.MinTimestamp < earliest || summary.MaxTimestamp > latest);
        if (!keysFail && !timesFail)
            return null;
        var errors = new List<RecordError>();
        var total = 0;
        var anyTime = false;
        using var reader = new RecordBatchReader(batch.Bytes, context.Codecs, DecompressedBytesMax(config));
        for (var index = 0; reader.TryRead(out var record); index++)
        {
            var message = default(string);
            if (config.IsCompacted && record.Key is null)
            {
                message = $"Compacted topic cannot accept message without key in topic partition {partition}.";
            }
            else if (timesFail && record.Timestamp != -1 && (record.Timestamp < earliest || record.Timestamp > latest))
            {
                anyTime = true;
                message = $"Timestamp {record.Timestamp} of message with offset {record.Offset} is out of range. The "
                    + $"timestamp should be within [{earliest}, {latest}]";
            }

            if (message is null)
                continue;
            total++;
            if (errors.Count < MaxRecordErrors)
                errors.Add(new RecordError(index, message));
        }

        return errors.Count == 0 ? null : Refuse(errors, total, anyTime);
    }

    private static Refusal Refuse(List<RecordError> errors, int total, bool anyTime)
    {
        if (anyTime)
        {
            return new Refusal(
                AppendError.InvalidTimestamp,
                "One or more records have been rejected due to invalid timestamp",
                errors);
        }

        var shown = string.Join(", ", errors.Take(ShownRecordErrors).Select(
            static e => $"RecordError(batchIndex={e.BatchIndex}, message='{e.Message}')"));
        return new Refusal(
            AppendError.InvalidRecord,
            $"One or more records have been rejected due to {total} record errors in total, and only showing the first "
                + $"three errors at most: [{shown}]",
            errors);
    }

    private static (long Earliest, long Latest) TimestampBounds(LogConfig config, long nowMs)
    {
        var earliest = config.MessageTimestampBeforeMaxMs >= nowMs
            ? long.MinValue
            : nowMs - config.MessageTimestampBeforeMaxMs;
        var latest = config.MessageTimestampAfterMaxMs > long.MaxValue - nowMs
            ? long.MaxValue
            : nowMs + config.MessageTimestampAfterMaxMs;
        return (earliest, latest);
    }
}
