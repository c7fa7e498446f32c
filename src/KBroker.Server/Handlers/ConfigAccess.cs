using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// Who may read or change the configs of a resource: topics and groups by name, all else with the cluster.
/// </summary>
internal static class ConfigAccess
{
    /// <summary>Asks the authorizer.</summary>
    public static bool Allows(
        IAuthorizer authorizer, RequestContext context, AclOperation operation, sbyte resourceType, string name) =>
        (ConfigResourceType)resourceType switch
        {
            ConfigResourceType.Topic => authorizer.Topic(context, operation, name),
            ConfigResourceType.Group => authorizer.Authorize(context, operation, AclResourceType.Group, name),
            _ => authorizer.Cluster(context, operation),
        };

    /// <summary>The error for who may not.</summary>
    public static ErrorCode Refusal(sbyte resourceType) => (ConfigResourceType)resourceType switch
    {
        ConfigResourceType.Topic => ErrorCode.TopicAuthorizationFailed,
        ConfigResourceType.Group => ErrorCode.GroupAuthorizationFailed,
        _ => ErrorCode.ClusterAuthorizationFailed,
    };
}
