using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// AlterConfigs: replaces all dynamic configs of each resource; configs left out return to their defaults.
/// </summary>
/// <param name="controller">Changes them.</param>
/// <param name="authorizer">Decides who may change configs.</param>
public sealed class AlterConfigsHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<AlterConfigsRequest, AlterConfigsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.AlterConfigs;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        AlterConfigsRequest request, RequestContext context)
    {
        var refused = request.Resources.FindAll(resource => !ConfigAccess.Allows(
            authorizer, context, AclOperation.AlterConfigs, resource.ResourceType, resource.ResourceName));
        request.Resources.RemoveAll(refused.Contains);
        var response = await controller.AlterConfigsAsync(request, context.Closing).ConfigureAwait(false);
        foreach (var resource in refused)
        {
            response.Responses.Add(new AlterConfigsResponse.AlterConfigsResourceResponse
            {
                ErrorCode = ConfigAccess.Refusal(resource.ResourceType),
                ResourceType = resource.ResourceType,
                ResourceName = resource.ResourceName,
            });
        }

        return response;
    }
}
