using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>DescribeTransactions: the state of transactional ids, with the partitions of their transaction
/// (KIP-664).</summary>
/// <remarks>Topics that the asker may not describe are left out.</remarks>
/// <param name="transactions">The coordinator.</param>
/// <param name="authorizer">Decides who may see an id.</param>
public sealed class DescribeTransactionsHandler(TransactionApi transactions, IAuthorizer authorizer)
    : RequestHandler<DescribeTransactionsRequest, DescribeTransactionsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DescribeTransactions;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        DescribeTransactionsRequest request, RequestContext context)
    {
        var response = new DescribeTransactionsResponse();
        foreach (var id in request.TransactionalIds)
        {
            if (!authorizer.TransactionalId(context, AclOperation.Describe, id))
            {
                response.TransactionStates.Add(new DescribeTransactionsResponse.TransactionStateData
                {
                    TransactionalId = id,
                    ErrorCode = ErrorCode.TransactionalIdAuthorizationFailed,
                });
                continue;
            }

            var state = await transactions.DescribeAsync(id).ConfigureAwait(false);
            state.Topics.RemoveAll(topic => !authorizer.Topic(context, AclOperation.Describe, topic.Topic));
            response.TransactionStates.Add(state);
        }

        return response;
    }
}
