using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// AssignReplicasToDirs: a broker says in which of its log directories its replicas lie (KIP-858). A partition named in
/// a directory that the broker has not registered loses that replica; one without a leader gets it back.
/// </summary>
/// <param name="controller">Answers.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class AssignReplicasToDirsHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<AssignReplicasToDirsRequest, AssignReplicasToDirsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.AssignReplicasToDirs;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        AssignReplicasToDirsRequest request, RequestContext context) =>
        authorizer.Cluster(context, AclOperation.ClusterAction)
            ? await controller.AssignReplicasToDirsAsync(request, context.Closing).ConfigureAwait(false)
            : new AssignReplicasToDirsResponse { ErrorCode = ErrorCode.ClusterAuthorizationFailed };
}
