using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Storage.Producers;

namespace KBroker.Storage.Log;

/// <summary>Follows control batches: commit and abort markers end transactions, all others mean nothing here.</summary>
internal static class Markers
{
    /// <summary>Applies the marker of a control batch, offsets assigned.</summary>
    /// <param name="producers">The producers of the log.</param>
    /// <param name="header">Header of the batch.</param>
    /// <param name="batch">The batch.</param>
    /// <param name="context">How to read it.</param>
    /// <param name="isEpochBumped">See <see cref="AppendOptions.IsEpochBumped"/>.</param>
    /// <returns>The transaction that it aborted, if it had records here.</returns>
    public static AbortedTransaction? Follow(
        ProducerStates producers,
        in RecordBatchHeader header,
        in ReadOnlySequence<byte> batch,
        LogContext context,
        bool isEpochBumped = false)
    {
        return TryRead(header, batch, context, out var type, out var coordinatorEpoch)
            ? producers.AppendMarker(header, type, coordinatorEpoch, isEpochBumped)
            : null;
    }

    /// <summary>Reads a control batch that is a commit or abort marker.</summary>
    /// <returns>False for all others.</returns>
    public static bool TryRead(
        in RecordBatchHeader header,
        in ReadOnlySequence<byte> batch,
        LogContext context,
        out ControlRecordType type,
        out int coordinatorEpoch)
    {
        (type, coordinatorEpoch) = (default, -1);
        if (!header.HasProducerId || header.RecordsCount == 0)
            return false;
        using var reader = new RecordBatchReader(batch, context.Codecs, context.MaxDecompressedBytes);
        return reader.TryRead(out var record) && ControlRecord.TryParseKey(record.Key, out type)
            && type is (ControlRecordType.Abort or ControlRecordType.Commit)
            && ControlRecord.TryParseEndTransactionValue(record.Value, out coordinatorEpoch);
    }
}
