using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Server.Topics;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// AddOffsetsToTxn: makes a group's partition of <c>__consumer_offsets</c> part of a producer's transaction, so that
/// the group's commits (TxnOffsetCommit) end with it. Clients of the newer protocol (KIP-890) do not send it.
/// </summary>
/// <remarks>Up to version 1 a fenced producer is told INVALID_PRODUCER_EPOCH, later ones PRODUCER_FENCED.</remarks>
/// <param name="transactions">The coordinator of transactions.</param>
/// <param name="groups">Knows the partitions of groups.</param>
/// <param name="creator">Creates the groups' topic.</param>
/// <param name="authorizer">Decides who may use the transactional id and the group.</param>
public sealed class AddOffsetsToTxnHandler(
    TransactionApi transactions, GroupCoordinator groups, AutoTopicCreator creator, IAuthorizer authorizer)
    : RequestHandler<AddOffsetsToTxnRequest, AddOffsetsToTxnResponse>
{
    private const short FirstWithFenced = 2;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.AddOffsetsToTxn;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        AddOffsetsToTxnRequest request, RequestContext context)
    {
        if (!authorizer.TransactionalId(context, AclOperation.Write, request.TransactionalId))
            return Failed(ErrorCode.TransactionalIdAuthorizationFailed);
        if (!authorizer.Authorize(context, AclOperation.Read, AclResourceType.Group, request.GroupId))
            return Failed(ErrorCode.GroupAuthorizationFailed);
        if (groups.PartitionOf(request.GroupId) is null)
            await creator.CreateAsync([TopicNames.ConsumerOffsets]).ConfigureAwait(false);
        if (groups.PartitionOf(request.GroupId) is not { } partition)
            return Failed(ErrorCode.CoordinatorNotAvailable);
        var error = await transactions.AddPartitionsAsync(
            request.TransactionalId,
            request.ProducerId,
            request.ProducerEpoch,
            [new TopicPartition(TopicNames.ConsumerOffsets, partition)],
            isEpochBumped: false).ConfigureAwait(false);
        return Failed(context.ApiVersion < FirstWithFenced && error == ErrorCode.ProducerFenced
            ? ErrorCode.InvalidProducerEpoch
            : error);
    }

    private static AddOffsetsToTxnResponse Failed(ErrorCode error) => new() { ErrorCode = error };
}
