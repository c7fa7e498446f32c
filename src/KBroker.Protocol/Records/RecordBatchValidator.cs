using System.Buffers;

namespace KBroker.Protocol.Records;

/// <summary>
/// Walks over a batch and checks that every length and count in it holds, without materialising a record.
/// </summary>
/// <remarks>
/// Nothing is allocated for an uncompressed batch, fragmented or not; a compressed one takes a pooled buffer.
/// </remarks>
public static class RecordBatchValidator
{
    /// <summary>The rules for a header that comes from a producer; the records are not looked at.</summary>
    /// <param name="header">Of a whole batch.</param>
    /// <exception cref="InvalidRecordException">Names the rule.</exception>
    public static void CheckProduced(in RecordBatchHeader header)
    {
        if (header.IsControl)
            throw new InvalidRecordException("Clients are not allowed to write control records.");
        if (header.LastOffsetDelta < 0)
            throw new InvalidRecordException(
                $"Invalid batch offset range: the last offset delta is {header.LastOffsetDelta}.");
        if (header.RecordsCount <= 0)
            throw new InvalidRecordException($"Invalid count of records in the batch: {header.RecordsCount}.");
        if (header.RecordsCount - 1 != header.LastOffsetDelta)
            throw new InvalidRecordException(
                $"The batch counts {header.RecordsCount} records, but its last offset delta is "
                + $"{header.LastOffsetDelta}.");
        if (header.HasProducerId && header.BaseSequence < 0)
            throw new InvalidRecordException(
                $"Invalid sequence number {header.BaseSequence} in a batch of producer id {header.ProducerId}.");
        if (header.HasDeleteHorizon)
            throw new InvalidRecordException("Clients are not allowed to set a delete horizon.");
    }

    /// <summary>Checks the records of a batch against its header. The CRC is not looked at.</summary>
    /// <param name="batch">Exactly one whole batch.</param>
    /// <param name="codecs">For compressed batches.</param>
    /// <param name="maxDecompressedBytes">The bound on the records of a compressed batch.</param>
    /// <returns>What the walk found.</returns>
    /// <exception cref="InvalidRecordException">A length or a count does not hold, or the bound does not.</exception>
    /// <exception cref="CompressionCodecUnavailableException">The codec's library is missing.</exception>
    public static RecordBatchSummary Validate(
        in ReadOnlySequence<byte> batch, CompressionCodecs codecs, int maxDecompressedBytes)
    {
        ArgumentNullException.ThrowIfNull(codecs);
        var header = ParseWhole(batch);
        if (header.Compression == CompressionType.None || batch.Length == RecordBatchLayout.HeaderSize)
            return Walk(header, batch);
        CheckCount(header.RecordsCount, maxDecompressedBytes);
        using var records = new PooledBuffer();
        codecs.Get(header.Compression).Decompress(
            batch.Slice(RecordBatchLayout.HeaderSize), records, maxDecompressedBytes);
        var walk = new RecordWalk(header);
        Finish(ref walk, walk.WalkWhole(records.Span), records.Length);
        return walk.Summarise(records.Length);
    }

    internal static RecordBatchHeader ParseWhole(in ReadOnlySequence<byte> batch)
    {
        var status = RecordBatches.Inspect(batch, out var header);
        if (status == RecordBatchStatus.Whole && header.SizeInBytes == batch.Length)
            return header;
        throw status == RecordBatchStatus.Whole
            ? new CorruptRecordException(
                $"{batch.Length} bytes are there for a record batch that says it has {header.SizeInBytes}.")
            : RecordBatches.Error(status, batch, 0);
    }

    internal static void CheckCount(int count, int bytes)
    {
        if (count < 0 || count > bytes / RecordFields.MinRecordBytes)
            throw new InvalidRecordException(
                $"Invalid count of records in the batch: {count}, which {bytes} bytes cannot hold.");
    }

    private static RecordBatchSummary Walk(in RecordBatchHeader header, in ReadOnlySequence<byte> batch)
    {
        var size = header.SizeInBytes - RecordBatchLayout.HeaderSize;
        CheckCount(header.RecordsCount, size);
        var walk = new RecordWalk(header);
        if (batch.IsSingleSegment)
        {
            var records = batch.FirstSpan[RecordBatchLayout.HeaderSize..];
            Finish(ref walk, walk.WalkWhole(records), records.Length);
            return walk.Summarise(size);
        }

        var reader = new SequenceReader<byte>(batch);
        reader.Advance(RecordBatchLayout.HeaderSize);
        while (!reader.End && walk.Count < header.RecordsCount)
        {
            var consumed = walk.WalkWhole(reader.UnreadSpan);
            reader.Advance(consumed);
            if (!reader.End && walk.Count < header.RecordsCount)
                walk.WalkFragmented(ref reader);
        }

        Finish(ref walk, (int)reader.Consumed - RecordBatchLayout.HeaderSize, size);
        return walk.Summarise(size);
    }

    private static void Finish(ref RecordWalk walk, int consumed, int size)
    {
        if (walk.Count < walk.ExpectedCount)
            throw new InvalidRecordException(
                $"The batch counts {walk.ExpectedCount} records, but its bytes end inside record {walk.Count + 1}.");
        if (consumed != size)
            throw new InvalidRecordException(
                $"The batch counts {walk.ExpectedCount} records, but {size - consumed} bytes are left behind them.");
    }
}
