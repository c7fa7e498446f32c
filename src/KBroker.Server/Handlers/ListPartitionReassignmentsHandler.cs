using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>ListPartitionReassignments: the moves under way; on one broker there are none.</summary>
/// <param name="controller">Answers.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class ListPartitionReassignmentsHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ListPartitionReassignments;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        ListPartitionReassignmentsRequest request, RequestContext context) =>
        authorizer.Cluster(context, AclOperation.Describe)
            ? await controller.ListPartitionReassignmentsAsync(request, context.Closing).ConfigureAwait(false)
            : new ListPartitionReassignmentsResponse { ErrorCode = ErrorCode.ClusterAuthorizationFailed };
}
