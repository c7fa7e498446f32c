using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>IncrementalAlterConfigs: sets, deletes, appends to and subtracts from single configs (KIP-339).</summary>
/// <param name="controller">Changes them.</param>
/// <param name="authorizer">Decides who may change configs.</param>
public sealed class IncrementalAlterConfigsHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.IncrementalAlterConfigs;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        IncrementalAlterConfigsRequest request, RequestContext context)
    {
        var refused = request.Resources.FindAll(resource => !ConfigAccess.Allows(
            authorizer, context, AclOperation.AlterConfigs, resource.ResourceType, resource.ResourceName));
        request.Resources.RemoveAll(refused.Contains);
        var response = await controller.IncrementalAlterConfigsAsync(request, context.Closing).ConfigureAwait(false);
        foreach (var resource in refused)
        {
            response.Responses.Add(new IncrementalAlterConfigsResponse.AlterConfigsResourceResponse
            {
                ErrorCode = ConfigAccess.Refusal(resource.ResourceType),
                ResourceType = resource.ResourceType,
                ResourceName = resource.ResourceName,
            });
        }

        return response;
    }
}
