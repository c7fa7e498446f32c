using System.Globalization;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// DescribeConfigs: effective values of topics, of this broker or the cluster-wide broker defaults (empty name), of
/// groups and of client metrics subscriptions, with where each comes from.
/// </summary>
/// <remarks>
/// Synonyms and documentation only when asked for. Sensitive values are never shown. The log levels of a broker
/// (BROKER_LOGGER) are not changeable while it runs, and refused with INVALID_REQUEST.
/// </remarks>
/// <param name="configs">The configs in force.</param>
/// <param name="metadata">The metadata, for which topics exist.</param>
/// <param name="brokerId">This broker's id: it knows no other broker's properties.</param>
/// <param name="authorizer">Decides who may see configs.</param>
public sealed class DescribeConfigsHandler(
    ConfigView configs, IMetadataLog metadata, int brokerId, IAuthorizer authorizer)
    : RequestHandler<DescribeConfigsRequest, DescribeConfigsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DescribeConfigs;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(DescribeConfigsRequest request, RequestContext context)
    {
        var response = new DescribeConfigsResponse();
        foreach (var resource in request.Resources)
        {
            var result = new DescribeConfigsResponse.DescribeConfigsResult
            {
                ResourceType = resource.ResourceType,
                ResourceName = resource.ResourceName,
                ErrorMessage = string.Empty,
            };
            response.Results.Add(result);
            if (!ConfigAccess.Allows(
                authorizer, context, AclOperation.DescribeConfigs, resource.ResourceType, resource.ResourceName))
            {
                Fail(result, ConfigAccess.Refusal(resource.ResourceType), null);
                continue;
            }

            foreach (var entry in Describe(resource, result))
            {
                if (resource.ConfigurationKeys is not { Count: > 0 } keys || keys.Contains(entry.Name))
                    result.Configs.Add(Render(entry, request));
            }
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    private static IEnumerable<ConfigEntry> Fail(
        DescribeConfigsResponse.DescribeConfigsResult result, ErrorCode error, string? message)
    {
        result.ErrorCode = error;
        result.ErrorMessage = message;
        return [];
    }

    private static DescribeConfigsResponse.DescribeConfigsResourceResult Render(
        ConfigEntry entry, DescribeConfigsRequest request)
    {
        var rendered = new DescribeConfigsResponse.DescribeConfigsResourceResult
        {
            Name = entry.Name,
            Value = entry.IsSensitive ? null : entry.Value,
            ReadOnly = entry.IsReadOnly,
            ConfigSource = (sbyte)entry.Source,
            IsSensitive = entry.IsSensitive,
            ConfigType = (sbyte)entry.Type,
            Documentation = request.IncludeDocumentation ? entry.Documentation : null,
        };
        if (!request.IncludeSynonyms)
            return rendered;
        foreach (var synonym in entry.Synonyms)
        {
            rendered.Synonyms.Add(new DescribeConfigsResponse.DescribeConfigsSynonym
            {
                Name = synonym.Name,
                Value = entry.IsSensitive ? null : synonym.Value,
                Source = (sbyte)synonym.Source,
            });
        }

        return rendered;
    }

    private IEnumerable<ConfigEntry> Describe(
        DescribeConfigsRequest.DescribeConfigsResource resource, DescribeConfigsResponse.DescribeConfigsResult result)
    {
        var name = resource.ResourceName;
        switch ((ConfigResourceType)resource.ResourceType)
        {
            case ConfigResourceType.Topic:
                if (TopicNames.Check(name) is { } reason)
                    return Fail(result, ErrorCode.InvalidTopicException, $"Topic name is invalid: {reason}");
                return metadata.Image.Topics.Find(name) is null
                    ? Fail(result, ErrorCode.UnknownTopicOrPartition, null)
                    : configs.OfTopic(name).DescribeAll();
            case ConfigResourceType.Broker:
                return DescribeBroker(name, result);
            case ConfigResourceType.Group:
                return name.Length == 0
                    ? Fail(result, ErrorCode.InvalidRequest, "Group name must not be empty")
                    : configs.OfGroup(name).DescribeAll();
            case ConfigResourceType.ClientMetrics:
                return name.Length == 0
                    ? Fail(result, ErrorCode.InvalidRequest, "Client metrics subscription name must not be empty")
                    : configs.OfClientMetrics(name).DescribeAll();
            case ConfigResourceType.BrokerLogger:
                return Fail(
                    result,
                    ErrorCode.InvalidRequest,
                    "KBroker's log levels are set by kbroker.log.level in server.properties");
            default:
                return Fail(result, ErrorCode.InvalidRequest, $"Unsupported resource type: {resource.ResourceType}");
        }
    }

    private IEnumerable<ConfigEntry> DescribeBroker(string name, DescribeConfigsResponse.DescribeConfigsResult result)
    {
        if (name.Length == 0)
            return configs.Broker.DescribeDynamicDefaults();
        if (!int.TryParse(name, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var id))
            return Fail(result, ErrorCode.InvalidRequest, $"Broker id must be an integer, but it is: {name}");
        return id == brokerId
            ? configs.Broker.DescribeAll()
            : Fail(
                result,
                ErrorCode.InvalidRequest,
                $"Unexpected broker id, expected {brokerId} or empty string, but received {name}");
    }
}
