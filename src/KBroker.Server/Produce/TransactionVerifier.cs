using KBroker.Cluster.Configuration;
using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Storage;

namespace KBroker.Server.Produce;

/// <summary>
/// Asks the transaction coordinator before the first batch of a transaction is appended to a partition (KIP-890): for
/// producers of the newer protocol it adds the partition, for older ones, which have added it themselves, it looks.
/// </summary>
/// <param name="transactions">The coordinator.</param>
/// <param name="configs">The configs in force.</param>
public sealed class TransactionVerifier(TransactionApi transactions, ConfigView configs)
{
    /// <summary>Producers from this version of Produce on do not add partitions themselves.</summary>
    public const short FirstProduceThatAdds = 12;

    /// <summary>How often the coordinator is asked about the same append; see
    /// <see cref="PartitionLog.BeginVerification"/>.</summary>
    public const int AsksMax = 3;

    private const short FirstProduceWithAbortable = 11;

    /// <summary>Whether a producer's transactional batches are verified.</summary>
    /// <param name="produceVersion">Version of its Produce request.</param>
    public bool IsEnabled(short produceVersion) =>
        produceVersion >= FirstProduceThatAdds
        || configs.Broker.GetBoolean("transaction.partition.verification.enable");

    /// <summary>Adds or verifies partitions.</summary>
    /// <param name="transactionalId">The transactional id.</param>
    /// <param name="producerId">The producer id.</param>
    /// <param name="epoch">Its epoch.</param>
    /// <param name="partitions">The partitions.</param>
    /// <param name="adds">Whether to add them.</param>
    /// <returns>An answer for each, in order.</returns>
    public async Task<IReadOnlyList<ErrorCode>> RunAsync(
        string transactionalId,
        long producerId,
        short epoch,
        IReadOnlyList<TopicPartition> partitions,
        bool adds)
    {
        ArgumentNullException.ThrowIfNull(partitions);
        if (!adds)
        {
            return await transactions.VerifyAsync(transactionalId, producerId, epoch, partitions)
                .ConfigureAwait(false);
        }

        // While the transaction before is being ended, the coordinator answers a little later.
        var error = await transactions.AddPartitionsAsync(
            transactionalId, producerId, epoch, partitions, isEpochBumped: true).ConfigureAwait(false);
        return [.. Enumerable.Repeat(error, partitions.Count)];
    }

    /// <summary>The error that a producer is answered: one that clients of its age understand.</summary>
    /// <param name="error">The coordinator's.</param>
    /// <param name="produceVersion">Version of the Produce request.</param>
    public static (ErrorCode Error, string? Message) ForProducer(ErrorCode error, short produceVersion) => error switch
    {
        ErrorCode.None => (ErrorCode.None, null),
        ErrorCode.ProducerFenced => (ErrorCode.InvalidProducerEpoch, null),
        ErrorCode.TransactionAbortable when produceVersion < FirstProduceWithAbortable =>
            (ErrorCode.InvalidTxnState, "Partition was not added to the transaction"),
        ErrorCode.InvalidTxnState => (error, "Partition was not added to the transaction"),
        ErrorCode.ConcurrentTransactions when produceVersion >= FirstProduceThatAdds => (error, null),
        ErrorCode.ConcurrentTransactions or ErrorCode.CoordinatorLoadInProgress
            or ErrorCode.CoordinatorNotAvailable or ErrorCode.NotCoordinator =>
            (ErrorCode.NotEnoughReplicas,
                "Unable to verify the partition has been added to the transaction. Underlying error: "
                + ErrorCodes.Name(error)),
        _ => (error, null),
    };
}
