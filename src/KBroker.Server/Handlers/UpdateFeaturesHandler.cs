using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>UpdateFeatures: raises and lowers finalized feature levels (KIP-584, KIP-778).</summary>
/// <param name="controller">Answers.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class UpdateFeaturesHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<UpdateFeaturesRequest, UpdateFeaturesResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.UpdateFeatures;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        UpdateFeaturesRequest request, RequestContext context) =>
        authorizer.Cluster(context, AclOperation.Alter)
            ? await controller.UpdateFeaturesAsync(request, context.ApiVersion, context.Closing).ConfigureAwait(false)
            : new UpdateFeaturesResponse { ErrorCode = ErrorCode.ClusterAuthorizationFailed };
}
