using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Produce;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// InitProducerId: a fresh producer id, epoch 0, for an idempotent producer; with a transactional id the id's producer
/// id and a higher epoch, which fences the producer before.
/// </summary>
/// <remarks>
/// Without a transactional id, id and epoch given by the client (version 3 and later) do not matter: it gets a new id,
/// as in Kafka; but one of them without the other is INVALID_REQUEST. Two-phase commit (version 6, KIP-939) is not
/// implemented: asking for it is refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED, as Kafka refuses it where
/// <c>transaction.two.phase.commit.enable</c> is off, and to keep a prepared transaction with UNSUPPORTED_VERSION. Up
/// to version 3 a fenced producer is told INVALID_PRODUCER_EPOCH, later ones PRODUCER_FENCED.
/// </remarks>
/// <param name="producerIds">Where ids come from.</param>
/// <param name="transactions">The transaction coordinator.</param>
/// <param name="authorizer">Decides who may produce idempotently, and use the transactional id.</param>
public sealed class InitProducerIdHandler(
    ProducerIdSource producerIds, TransactionApi transactions, IAuthorizer authorizer)
    : RequestHandler<InitProducerIdRequest, InitProducerIdResponse>
{
    private const short FirstWithFenced = 4;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.InitProducerId;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        InitProducerIdRequest request, RequestContext context)
    {
        if (request.TransactionalId is { } id)
            return await InitialiseAsync(id, request, context).ConfigureAwait(false);
        if (!authorizer.Cluster(context, AclOperation.IdempotentWrite))
            return Failed(ErrorCode.ClusterAuthorizationFailed);
        if (IsHalf(request))
            return Failed(ErrorCode.InvalidRequest);
        var (error, producerId) = await producerIds.NextAsync(context.Closing).ConfigureAwait(false);
        return error == ErrorCode.None
            ? new InitProducerIdResponse { ProducerId = producerId, ProducerEpoch = 0 }
            : Failed(error);
    }

    private async Task<InitProducerIdResponse> InitialiseAsync(
        string id, InitProducerIdRequest request, RequestContext context)
    {
        if (!authorizer.TransactionalId(context, AclOperation.Write, id) || request.Enable2Pc)
            return Failed(ErrorCode.TransactionalIdAuthorizationFailed);
        if (request.KeepPreparedTxn)
            return Failed(ErrorCode.UnsupportedVersion);
        if (IsHalf(request) || id.Length == 0)
            return Failed(ErrorCode.InvalidRequest);
        var response = await transactions.InitProducerIdAsync(request, context.Closing).ConfigureAwait(false);
        if (context.ApiVersion < FirstWithFenced && response.ErrorCode == ErrorCode.ProducerFenced)
            response.ErrorCode = ErrorCode.InvalidProducerEpoch;
        return response;
    }

    private static bool IsHalf(InitProducerIdRequest request) =>
        (request.ProducerId == -1) != (request.ProducerEpoch == -1);

    private static InitProducerIdResponse Failed(ErrorCode error) => new() { ErrorCode = error, ProducerEpoch = -1 };
}
