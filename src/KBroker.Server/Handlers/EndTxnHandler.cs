using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// EndTxn: commits or aborts a producer's transaction. The answer comes when the decision is on stable storage; the
/// markers follow, and the next transaction waits for them.
/// </summary>
/// <remarks>
/// From version 5 on (KIP-890) the answer carries the producer id and epoch of the next transaction. Up to version 1 a
/// fenced producer is told INVALID_PRODUCER_EPOCH, later ones PRODUCER_FENCED.
/// </remarks>
/// <param name="transactions">The coordinator.</param>
/// <param name="authorizer">Decides who may use the transactional id.</param>
public sealed class EndTxnHandler(TransactionApi transactions, IAuthorizer authorizer)
    : RequestHandler<EndTxnRequest, EndTxnResponse>
{
    private const short FirstWithFenced = 2;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.EndTxn;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(EndTxnRequest request, RequestContext context)
    {
        if (!authorizer.TransactionalId(context, AclOperation.Write, request.TransactionalId))
            return new EndTxnResponse { ErrorCode = ErrorCode.TransactionalIdAuthorizationFailed };
        var response = await transactions.EndAsync(request, context.ApiVersion, context.Closing).ConfigureAwait(false);
        if (context.ApiVersion < FirstWithFenced && response.ErrorCode == ErrorCode.ProducerFenced)
            response.ErrorCode = ErrorCode.InvalidProducerEpoch;
        return response;
    }
}
