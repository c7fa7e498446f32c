using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// ListConfigResources: names of resources that have, or can have, configs (KIP-1142). Version 0 lists client metrics
/// subscriptions alone.
/// </summary>
/// <param name="metadata">The metadata.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class ListConfigResourcesHandler(IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<ListConfigResourcesRequest, ListConfigResourcesResponse>
{
    private static readonly ConfigResourceType[] Types =
    [
        ConfigResourceType.Group, ConfigResourceType.ClientMetrics, ConfigResourceType.BrokerLogger,
        ConfigResourceType.Broker, ConfigResourceType.Topic,
    ];

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ListConfigResources;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(
        ListConfigResourcesRequest request, RequestContext context)
    {
        var response = new ListConfigResourcesResponse();
        if (!authorizer.Cluster(context, AclOperation.DescribeConfigs))
        {
            response.ErrorCode = ErrorCode.ClusterAuthorizationFailed;
            return ValueTask.FromResult<IResponseMessage?>(response);
        }

        var asked = context.ApiVersion == 0 ? [ConfigResourceType.ClientMetrics]
            : request.ResourceTypes.Count == 0 ? Types
            : request.ResourceTypes.Select(static type => (ConfigResourceType)type).Distinct().ToArray();
        if (!asked.All(Types.Contains))
        {
            response.ErrorCode = ErrorCode.UnsupportedVersion;
            return ValueTask.FromResult<IResponseMessage?>(response);
        }

        var image = metadata.Image;
        foreach (var type in asked)
        {
            foreach (var name in NamesOf(type, image))
            {
                response.ConfigResources.Add(new ListConfigResourcesResponse.ConfigResource
                {
                    ResourceName = name,
                    ResourceType = (sbyte)type,
                });
            }
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    private static IEnumerable<string> NamesOf(ConfigResourceType type, MetadataImage image) => type switch
    {
        ConfigResourceType.Topic => image.Topics.ByName.Keys,
        ConfigResourceType.Broker or ConfigResourceType.BrokerLogger => image.Brokers.Values
            .Where(static broker => !broker.Fenced)
            .Select(static broker => broker.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)),
        _ => image.Configs.Resources.Keys
            .Where(resource => resource.Type == type)
            .Select(static resource => resource.Name),
    };
}
