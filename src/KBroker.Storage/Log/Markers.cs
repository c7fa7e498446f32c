using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Storage.Producers;

namespace KBroker.Storage.Log;

/// <summary>Follows control batches: commit and abort markers end transactions, all others mean nothing here.</summary>
internal static class Markers
{
    /// <summary>Applies the marker of a control batch, offsets assigned.</summary>
    /// <returns>The transaction that it aborted, if it had records here.</returns>
    public static AbortedTransaction? Follow(
        ProducerStates producers, in RecordBatchHeader header, in ReadOnlySequence<byte> batch, LogContext context)
    {
        if (!header.HasProducerId || header.RecordsCount == 0)
            return null;
        using var reader = new RecordBatchReader(batch, context.Codecs, context.MaxDecompressedBytes);
        if (!reader.TryRead(out var record) || !ControlRecord.TryParseKey(record.Key, out var type)
            || type is not (ControlRecordType.Abort or ControlRecordType.Commit)
            || !ControlRecord.TryParseEndTransactionValue(record.Value, out var coordinatorEpoch))
        {
            return null;
        }

        return producers.AppendMarker(header, type, coordinatorEpoch);
    }
}
