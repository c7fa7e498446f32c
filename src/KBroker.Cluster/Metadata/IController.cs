using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata;

/// <summary>
/// The changes of the cluster's metadata. Each method is the API of its name: it validates, writes records, and answers
/// when they are on stable storage and every subscriber of the metadata has seen them. Refusals are in the response,
/// with Kafka's codes and a message; a method never throws for a request that is merely wrong. Authorisation is the
/// caller's.
/// </summary>
/// <remarks>
/// All methods may be called from any thread. When the metadata log cannot be written, they answer
/// KAFKA_STORAGE_ERROR, and after <see cref="IAsyncDisposable.DisposeAsync"/> NOT_CONTROLLER. Cancelling stops the
/// waiting, not the change.
/// </remarks>
public interface IController : IAsyncDisposable
{
    /// <summary>Creates topics. From version 5 on the answer carries configs: cut them out for who may not see
    /// them.</summary>
    ValueTask<CreateTopicsResponse> CreateTopicsAsync(CreateTopicsRequest request,
        CancellationToken cancellation = default);

    /// <summary>Deletes topics, by name or by id.</summary>
    ValueTask<DeleteTopicsResponse> DeleteTopicsAsync(DeleteTopicsRequest request,
        CancellationToken cancellation = default);

    /// <summary>Adds partitions to topics.</summary>
    ValueTask<CreatePartitionsResponse> CreatePartitionsAsync(
        CreatePartitionsRequest request, CancellationToken cancellation = default);

    /// <summary>Replaces all dynamic configs of each resource.</summary>
    ValueTask<AlterConfigsResponse> AlterConfigsAsync(AlterConfigsRequest request,
        CancellationToken cancellation = default);

    /// <summary>Sets, removes, appends to and subtracts from dynamic configs.</summary>
    ValueTask<IncrementalAlterConfigsResponse> IncrementalAlterConfigsAsync(
        IncrementalAlterConfigsRequest request, CancellationToken cancellation = default);

    /// <summary>Elects preferred leaders, or any replica when there is no other way (unclean).</summary>
    /// <param name="request">The request.</param>
    /// <param name="requestVersion">Version 0 knows only preferred elections.</param>
    /// <param name="cancellation">Stops the waiting.</param>
    ValueTask<ElectLeadersResponse> ElectLeadersAsync(
        ElectLeadersRequest request, short requestVersion, CancellationToken cancellation = default);

    /// <summary>Changes or cancels replica reassignments.</summary>
    ValueTask<AlterPartitionReassignmentsResponse> AlterPartitionReassignmentsAsync(
        AlterPartitionReassignmentsRequest request, CancellationToken cancellation = default);

    /// <summary>Lists running replica reassignments.</summary>
    ValueTask<ListPartitionReassignmentsResponse> ListPartitionReassignmentsAsync(
        ListPartitionReassignmentsRequest request, CancellationToken cancellation = default);

    /// <summary>Changes finalized feature levels.</summary>
    /// <param name="request">The request.</param>
    /// <param name="requestVersion">Version 0 says <c>AllowDowngrade</c> instead of an upgrade type.</param>
    /// <param name="cancellation">Stops the waiting.</param>
    ValueTask<UpdateFeaturesResponse> UpdateFeaturesAsync(
        UpdateFeaturesRequest request, short requestVersion, CancellationToken cancellation = default);

    /// <summary>Gives a broker a block of producer ids.</summary>
    ValueTask<AllocateProducerIdsResponse> AllocateProducerIdsAsync(
        AllocateProducerIdsRequest request, CancellationToken cancellation = default);

    /// <summary>Removes a broker's registration.</summary>
    ValueTask<UnregisterBrokerResponse> UnregisterBrokerAsync(
        UnregisterBrokerRequest request, CancellationToken cancellation = default);

    /// <summary>Changes the ISR of partitions, asked by their leaders.</summary>
    ValueTask<AlterPartitionResponse> AlterPartitionAsync(
        AlterPartitionRequest request, CancellationToken cancellation = default);

    /// <summary>The state of the quorum.</summary>
    ValueTask<DescribeQuorumResponse> DescribeQuorumAsync(
        DescribeQuorumRequest request, CancellationToken cancellation = default);

    /// <summary>
    /// Registers a broker and, once it is registered, lets it take part: the broker epoch is the offset of its record.
    /// </summary>
    /// <param name="broker">The broker; epoch and fencing are the controller's to set.</param>
    /// <param name="cleanShutdown">
    /// Whether the broker's last stop was a clean one. If not, its partitions get a new leader epoch, by which clients
    /// notice what a crash took away.
    /// </param>
    /// <param name="cancellation">Stops the waiting.</param>
    /// <returns>The broker epoch.</returns>
    /// <exception cref="ControllerException">The broker cannot be registered.</exception>
    ValueTask<long> RegisterBrokerAsync(
        BrokerRegistration broker, bool cleanShutdown, CancellationToken cancellation = default);

    /// <summary>Notes in which log directories a broker keeps its replicas (KIP-858).</summary>
    ValueTask<AssignReplicasToDirsResponse> AssignReplicasToDirsAsync(
        AssignReplicasToDirsRequest request, CancellationToken cancellation = default);

    /// <summary>
    /// Says that log directories of a broker have failed: the partitions in them lose this replica, and their leader
    /// where it was the last one in sync.
    /// </summary>
    /// <param name="brokerId">The broker.</param>
    /// <param name="brokerEpoch">Its epoch.</param>
    /// <param name="directories">The ids of the directories.</param>
    /// <param name="cancellation">Stops the waiting.</param>
    /// <exception cref="ControllerException">There is no such broker.</exception>
    ValueTask FailDirectoriesAsync(
        int brokerId,
        long brokerEpoch,
        IReadOnlyCollection<KBroker.Protocol.Uuid> directories,
        CancellationToken cancellation = default);

    /// <summary>
    /// Says which log directories of a broker take no new replicas; a broker none of whose directories does gets none.
    /// </summary>
    /// <param name="brokerId">The broker.</param>
    /// <param name="brokerEpoch">Its epoch.</param>
    /// <param name="directories">The ids of all directories that are cordoned.</param>
    /// <param name="cancellation">Stops the waiting.</param>
    /// <exception cref="ControllerException">There is no such broker.</exception>
    ValueTask CordonDirectoriesAsync(
        int brokerId,
        long brokerEpoch,
        IReadOnlyCollection<KBroker.Protocol.Uuid> directories,
        CancellationToken cancellation = default);

    /// <summary>Says that a broker is about to stop in an orderly way.</summary>
    /// <exception cref="ControllerException">There is no such broker.</exception>
    ValueTask BeginControlledShutdownAsync(int brokerId, long brokerEpoch, CancellationToken cancellation = default);
}

/// <summary>A change that has no response message of its own was refused.</summary>
/// <param name="error">Kafka's code.</param>
/// <param name="message">What is wrong.</param>
/// <param name="inner">The cause.</param>
public sealed class ControllerException(KBroker.Protocol.ErrorCode error, string message, Exception? inner = null)
    : Exception(message, inner)
{
    /// <summary>Kafka's code.</summary>
    public KBroker.Protocol.ErrorCode Error { get; } = error;
}
