using KBroker.Protocol.Records;

namespace KBroker.Coordination.Runtime;

/// <summary>One end of a transaction, as its markers say it.</summary>
/// <param name="ProducerId">The producer id.</param>
/// <param name="ProducerEpoch">The epoch of the marker.</param>
/// <param name="CoordinatorEpoch">Leader epoch of the coordinator's partition.</param>
/// <param name="IsCommit">Whether the transaction commits.</param>
/// <param name="IsEpochBumped">Whether the marker's epoch is above that of the records (KIP-890).</param>
public readonly record struct TransactionEnd(
    long ProducerId, short ProducerEpoch, int CoordinatorEpoch, bool IsCommit, bool IsEpochBumped)
{
    /// <summary>The marker: a control batch with one record.</summary>
    /// <param name="nowMs">Its timestamp, epoch milliseconds.</param>
    /// <returns>The batch.</returns>
    internal byte[] ToMarker(long nowMs)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions
        {
            ProducerId = ProducerId,
            ProducerEpoch = ProducerEpoch,
            IsTransactional = true,
            IsControl = true,
        });
        builder.Append(
            nowMs,
            ControlRecord.Key(IsCommit ? ControlRecordType.Commit : ControlRecordType.Abort),
            ControlRecord.EndTransactionValue(CoordinatorEpoch));
        return builder.Build().ToArray();
    }
}
