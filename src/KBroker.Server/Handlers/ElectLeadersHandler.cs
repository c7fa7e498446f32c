using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>ElectLeaders: elects the preferred leader of partitions, or any replica (unclean).</summary>
/// <param name="controller">Answers.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class ElectLeadersHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<ElectLeadersRequest, ElectLeadersResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ElectLeaders;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        ElectLeadersRequest request, RequestContext context) =>
        authorizer.Cluster(context, AclOperation.Alter)
            ? await controller.ElectLeadersAsync(request, context.ApiVersion, context.Closing).ConfigureAwait(false)
            : new ElectLeadersResponse { ErrorCode = ErrorCode.ClusterAuthorizationFailed };
}
