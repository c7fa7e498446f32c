using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Groups.Offsets;

/// <summary>
/// Committed offsets, for the handlers. Whether topics exist, and who may touch them, is asked before; topics have
/// their names here.
/// </summary>
public sealed class OffsetApi
{
    private readonly IGroupShards _shards;

    internal OffsetApi(IGroupShards shards) => _shards = shards;

    /// <summary>Commits offsets. The empty group id is allowed, as in Kafka: old clients commit under it.</summary>
    /// <param name="request">The request.</param>
    /// <returns>An error code for each partition, when the offsets are on stable storage.</returns>
    /// <exception cref="CoordinatorException">Through the task: the code for every partition.</exception>
    public Task<OffsetCommitResponse> CommitAsync(GroupRequest<OffsetCommitRequest> request) =>
        _shards.RunAsync<OffsetCommitResponse>(
            request.Message.GroupId,
            (shard, turn, reply) => turn.Send(reply, shard.Offsets.Requests.Commit(turn, request)));

    /// <summary>Commits offsets within a transaction: they hold when it commits.</summary>
    /// <param name="request">The request.</param>
    /// <param name="verification">The transaction coordinator's consent; null where the transaction has offsets in
    /// the group's partition already.</param>
    /// <returns>An error code for each partition, when the offsets are on stable storage.</returns>
    /// <exception cref="CoordinatorException">Through the task: the code for every partition; INVALID_TXN_STATE when
    /// the transaction is over.</exception>
    public async Task<TxnOffsetCommitResponse> CommitAsync(
        GroupRequest<TxnOffsetCommitRequest> request, TransactionVerification? verification)
    {
        var response = await _shards.RunAsync<TxnOffsetCommitResponse>(
            request.Message.GroupId,
            new TransactionProducer(request.Message.ProducerId, request.Message.ProducerEpoch, verification),
            (shard, turn, reply) => turn.Send(reply, shard.Offsets.Requests.Commit(turn, request)))
            .ConfigureAwait(false);
        CrashPoint.Reached("txn.offsets-durable");
        return response;
    }

    /// <summary>Reads the offsets of one group. The empty group id is allowed.</summary>
    /// <param name="request">Group, member and topics; null topics stand for all.</param>
    /// <param name="requireStable">Whether offsets of open transactions are waited for by the client.</param>
    /// <returns>The offsets.</returns>
    /// <exception cref="CoordinatorException">Through the task: the group's error.</exception>
    public Task<OffsetFetchResponse.OffsetFetchResponseGroup> FetchAsync(
        OffsetFetchRequest.OffsetFetchRequestGroup request, bool requireStable) =>
        _shards.RunAsync<OffsetFetchResponse.OffsetFetchResponseGroup>(
            request.GroupId,
            (shard, turn, reply) => turn.Send(reply, shard.Offsets.Requests.Fetch(request, requireStable)));

    /// <summary>Deletes offsets.</summary>
    /// <param name="request">The request.</param>
    /// <returns>An error code for each partition.</returns>
    /// <exception cref="CoordinatorException">Through the task: INVALID_GROUP_ID, GROUP_ID_NOT_FOUND,
    /// NON_EMPTY_GROUP, or the coordinator's own.</exception>
    public Task<OffsetDeleteResponse> DeleteAsync(OffsetDeleteRequest request) => request.GroupId.Length == 0
        ? Task.FromException<OffsetDeleteResponse>(new CoordinatorException(ErrorCode.InvalidGroupId))
        : _shards.RunAsync<OffsetDeleteResponse>(
            request.GroupId,
            (shard, turn, reply) => turn.Send(reply, shard.Offsets.Requests.Delete(turn, request)));
}
