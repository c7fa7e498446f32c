using KBroker.Storage;

namespace KBroker.Coordination.Transactions;

/// <summary>The markers that end one transaction: one in each of its partitions.</summary>
/// <param name="TransactionalId">The transactional id.</param>
/// <param name="ProducerId">The producer id.</param>
/// <param name="ProducerEpoch">The epoch of the markers; newer than that of the records with the newer
/// protocol.</param>
/// <param name="CoordinatorEpoch">Leader epoch of the coordinator's partition.</param>
/// <param name="IsCommit">Whether the transaction commits.</param>
/// <param name="ClientProtocol">See <see cref="TransactionProtocol"/>.</param>
/// <param name="Partitions">Where the markers go.</param>
internal sealed record MarkerWork(
    string TransactionalId,
    long ProducerId,
    short ProducerEpoch,
    int CoordinatorEpoch,
    bool IsCommit,
    short ClientProtocol,
    IReadOnlyList<TopicPartition> Partitions);
