using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;

namespace KBroker.Storage.Log;

/// <summary>
/// Looks whether what a decision refers to is a half message. What it answers depends on nothing but the log, so a
/// decision that is sent again because its answer was lost is judged the same.
/// </summary>
/// <param name="log">The log.</param>
/// <param name="codecs">For compressed batches.</param>
internal sealed class HalfLookup(PartitionLog log, CompressionCodecs codecs)
{
    /// <summary>Judges a reference.</summary>
    /// <param name="reference">The offset.</param>
    /// <param name="group">The producer group that the decision names; empty for none.</param>
    /// <param name="maxDecompressedBytes">The bound on the records of a compressed batch.</param>
    /// <returns>What is wrong with it; null when nothing is, or nobody can tell.</returns>
    public string? Problem(long reference, ReadOnlyMemory<byte> group, int maxDecompressedBytes)
    {
        if (reference >= log.LogEndOffset)
            return $"{DeliveryHeaders.Reference} is {reference}, but the last offset is {log.LogEndOffset - 1}";
        // What lies below the start may have been carried forward, and then it keeps its identity.
        if (reference < log.LogStartOffset)
            return null;
        try
        {
            return Judge(reference, group, maxDecompressedBytes);
        }
        catch (Exception exception) when (
            exception is ObjectDisposedException or OffsetOutOfRangeException or RecordException)
        {
            // Deleted meanwhile, or damaged; the reader of the log decides.
            return null;
        }
    }

    private string? Judge(long reference, ReadOnlyMemory<byte> group, int maxDecompressedBytes)
    {
        using var found = log.Read(reference, 1, long.MaxValue, minOneMessage: true).Records;
        if (!found.TryGetRegion(out var region))
            return null;
        Span<byte> bytes = stackalloc byte[RecordBatchLayout.HeaderSize];
        region.Read(0, bytes);
        if (!RecordBatchHeader.TryParse(bytes, out var header))
            return null;
        if (!header.IsHiding || header.BaseOffset > reference)
            return NoHalf(reference);
        var batch = ArrayPool<byte>.Shared.Rent(header.SizeInBytes);
        try
        {
            region.Read(0, batch.AsSpan(0, header.SizeInBytes));
            using var reader = new RecordBatchReader(
                batch.AsMemory(0, header.SizeInBytes), codecs, maxDecompressedBytes);
            while (reader.TryRead(out var record))
            {
                if (record.Offset == reference)
                    return Judge(record, group);
            }

            return NoHalf(reference);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(batch);
        }
    }

    private static string? Judge(in Record record, ReadOnlyMemory<byte> group)
    {
        var request = DeliveryRequest.Parse(record.Headers);
        // A carried copy has an offset of its own, but the half message is known by its first one.
        if (request.Half != HalfRequest.Prepare || request.OriginOffset >= 0)
            return NoHalf(record.Offset);
        var owner = DeliveryRequest.GroupOf(record.Headers);
        return group.IsEmpty || group.Span.SequenceEqual(owner.Span)
            ? null
            : $"the half message with offset {record.Offset} belongs to the producer group "
                + $"'{System.Text.Encoding.ASCII.GetString(owner.Span)}', not to "
                + $"'{System.Text.Encoding.ASCII.GetString(group.Span)}'";
    }

    private static string NoHalf(long reference) =>
        $"{DeliveryHeaders.Reference} is {reference}, but that is no half message";
}
