using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// AlterPartitionReassignments: moves partitions to other brokers (KIP-455). One broker can only be given what it
/// already has.
/// </summary>
/// <param name="controller">Answers.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class AlterPartitionReassignmentsHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.AlterPartitionReassignments;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        AlterPartitionReassignmentsRequest request, RequestContext context) =>
        authorizer.Cluster(context, AclOperation.Alter)
            ? await controller.AlterPartitionReassignmentsAsync(request, context.Closing).ConfigureAwait(false)
            : new AlterPartitionReassignmentsResponse { ErrorCode = ErrorCode.ClusterAuthorizationFailed };
}
