using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>ListTransactions: the transactional ids that this broker coordinates, filtered (KIP-664).</summary>
/// <remarks>Version 1 adds the filter by duration (KIP-994), version 2 that by a pattern of the id
/// (KIP-1152).</remarks>
/// <param name="transactions">The coordinator.</param>
/// <param name="authorizer">Decides who may see an id.</param>
public sealed class ListTransactionsHandler(TransactionApi transactions, IAuthorizer authorizer)
    : RequestHandler<ListTransactionsRequest, ListTransactionsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ListTransactions;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        ListTransactionsRequest request, RequestContext context) =>
        await transactions.ListAsync(
            request, id => authorizer.TransactionalId(context, AclOperation.Describe, id)).ConfigureAwait(false);
}
