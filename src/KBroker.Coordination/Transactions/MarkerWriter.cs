using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Storage;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Transactions;

/// <summary>
/// Ends decided transactions: writes a marker into each of their partitions, for as long as that takes. What cannot be
/// written now is tried again; a partition that is gone for good needs none.
/// </summary>
/// <param name="markers">Writes one marker.</param>
/// <param name="exists">Whether a partition still exists.</param>
/// <param name="time">The clock.</param>
/// <param name="logger">Where partitions that cannot be written to are told.</param>
internal sealed class MarkerWriter(
    PartitionMarkers markers, Func<TopicPartition, bool> exists, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan MaxBackoff = TimeSpan.FromSeconds(1);

    /// <summary>Writes the markers of a transaction.</summary>
    /// <param name="work">The markers.</param>
    /// <param name="stopping">Fires when the broker stops.</param>
    /// <returns>False when a newer coordinator has taken over.</returns>
    /// <exception cref="OperationCanceledException">The broker stops.</exception>
    public async Task<bool> WriteAsync(MarkerWork work, CancellationToken stopping)
    {
        var end = new TransactionEnd(
            work.ProducerId,
            work.ProducerEpoch,
            work.CoordinatorEpoch,
            work.IsCommit,
            work.ClientProtocol >= TransactionProtocol.EpochBump);
        var left = work.Partitions;
        for (var backoff = FirstBackoff; ; backoff = backoff + backoff > MaxBackoff ? MaxBackoff : backoff + backoff)
        {
            var errors = await markers.WriteAsync(left, end).ConfigureAwait(false);
            if (errors.Contains(ErrorCode.TransactionCoordinatorFenced))
                return false;
            left = [.. left.Where((partition, i) => IsOpen(partition, errors[i], work))];
            if (left.Count == 0)
                return true;
            await Task.Delay(backoff, time, stopping).ConfigureAwait(false);
        }
    }

    /// <summary>Whether a marker is still to be written.</summary>
    private bool IsOpen(TopicPartition partition, ErrorCode error, MarkerWork work)
    {
        switch (error)
        {
            case ErrorCode.None:
                return false;
            case ErrorCode.InvalidProducerEpoch:
                logger.LogWarning(
                    "{Partition} has a newer epoch than {Epoch} of producer id {ProducerId} ({TransactionalId}): its "
                    + "transaction is over there",
                    partition, work.ProducerEpoch, work.ProducerId, work.TransactionalId);
                return false;
            default:
                if (!exists(partition))
                    return false;
                logger.LogDebug(
                    "The marker of {TransactionalId} for {Partition} waits: {Error}",
                    work.TransactionalId, partition, ErrorCodes.Name(error));
                return true;
        }
    }
}
