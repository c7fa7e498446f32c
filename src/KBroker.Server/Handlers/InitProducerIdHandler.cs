using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Produce;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// InitProducerId: a fresh producer id, epoch 0, for an idempotent producer.
/// </summary>
/// <remarks>
/// With a transactional id it would open or recover a transaction; there is no transaction coordinator yet, so that is
/// INVALID_REQUEST (FindCoordinator finds none, so clients stop before this). Without
/// one, id and epoch given by the client (version 3 and later) do not matter: it gets a new id, as in Kafka; but one
/// of them without the other is INVALID_REQUEST.
/// </remarks>
/// <param name="producerIds">Where ids come from.</param>
/// <param name="authorizer">Decides who may produce idempotently.</param>
public sealed class InitProducerIdHandler(ProducerIdSource producerIds, IAuthorizer authorizer)
    : RequestHandler<InitProducerIdRequest, InitProducerIdResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.InitProducerId;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        InitProducerIdRequest request, RequestContext context)
    {
        if (request.TransactionalId is not null || (request.ProducerId == -1) != (request.ProducerEpoch == -1))
            return Failed(ErrorCode.InvalidRequest);
        if (!authorizer.Cluster(context, AclOperation.IdempotentWrite))
            return Failed(ErrorCode.ClusterAuthorizationFailed);
        var (error, producerId) = await producerIds.NextAsync(context.Closing).ConfigureAwait(false);
        return error == ErrorCode.None
            ? new InitProducerIdResponse { ProducerId = producerId, ProducerEpoch = 0 }
            : Failed(error);
    }

    private static InitProducerIdResponse Failed(ErrorCode error) => new() { ErrorCode = error, ProducerEpoch = -1 };
}
