using System.Buffers;

namespace KBroker.Protocol.Records;

/// <summary>
/// Makes a new batch of an old one. The old one is never touched; the new one lies in a pooled buffer.
/// </summary>
public static class RecordBatchTransformer
{
    /// <summary>Compresses the records of a batch with another codec (<c>compression.type</c> of a topic).</summary>
    /// <param name="batch">Exactly one whole batch, validated.</param>
    /// <param name="type">The codec of the new batch.</param>
    /// <param name="level">Its level, null for the default.</param>
    /// <param name="codecs">The codecs.</param>
    /// <param name="maxDecompressedBytes">The bound on the decompressed records.</param>
    /// <returns>The new batch, checksum computed: offsets, timestamps, producer and records are the same. Dispose
    /// it.</returns>
    /// <exception cref="CorruptRecordException">The bytes are not exactly one batch.</exception>
    /// <exception cref="InvalidRecordException">The records do not decompress within the bound.</exception>
    /// <exception cref="CompressionCodecUnavailableException">A codec's library is missing.</exception>
    public static IMemoryOwner<byte> Recompress(
        in ReadOnlySequence<byte> batch,
        CompressionType type,
        int? level,
        CompressionCodecs codecs,
        int maxDecompressedBytes)
    {
        ArgumentNullException.ThrowIfNull(codecs);
        var header = RecordBatchValidator.ParseWhole(batch);
        var records = batch.Slice(RecordBatchLayout.HeaderSize);
        var result = new PooledBuffer();
        try
        {
            batch.Slice(0, RecordBatchLayout.HeaderSize).CopyTo(result.GetSpan(RecordBatchLayout.HeaderSize));
            result.Advance(RecordBatchLayout.HeaderSize);
            if (header.RecordsCount == 0 && records.IsEmpty)
                type = CompressionType.None;
            else
                Recode(records, header.Compression, type, level, codecs, maxDecompressedBytes, result);
            var attributes = header.Attributes & ~RecordBatchAttributes.CompressionMask;
            Rewrite(header, attributes | (RecordBatchAttributes)type, result);
            return result;
        }
        catch
        {
            result.Dispose();
            throw;
        }
    }

    private static void Recode(
        in ReadOnlySequence<byte> records,
        CompressionType from,
        CompressionType to,
        int? level,
        CompressionCodecs codecs,
        int maxDecompressedBytes,
        PooledBuffer result)
    {
        if (from == CompressionType.None)
        {
            codecs.Get(to).Compress(records, result, level);
            return;
        }

        if (to == CompressionType.None)
        {
            codecs.Get(from).Decompress(records, result, maxDecompressedBytes);
            return;
        }

        using var plain = new PooledBuffer();
        codecs.Get(from).Decompress(records, plain, maxDecompressedBytes);
        codecs.Get(to).Compress(plain.Span, result, level);
    }

    private static void Rewrite(in RecordBatchHeader header, RecordBatchAttributes attributes, PooledBuffer result)
    {
        var rewritten = new RecordBatchHeader
        {
            BaseOffset = header.BaseOffset,
            BatchLength = result.Length - RecordBatchLayout.LogOverhead,
            PartitionLeaderEpoch = header.PartitionLeaderEpoch,
            Magic = header.Magic,
            Attributes = attributes,
            LastOffsetDelta = header.LastOffsetDelta,
            BaseTimestamp = header.BaseTimestamp,
            MaxTimestamp = header.MaxTimestamp,
            ProducerId = header.ProducerId,
            ProducerEpoch = header.ProducerEpoch,
            BaseSequence = header.BaseSequence,
            RecordsCount = header.RecordsCount,
        };
        rewritten.Write(result.Span);
        RecordBatchEditor.WriteCrc(result.Span);
    }
}
