using KBroker.Server.Dispatch;

namespace KBroker.Server.Security;

/// <summary>Short forms of the questions that handlers ask.</summary>
internal static class AuthorizerExtensions
{
    private const string ClusterName = "kafka-cluster";

    public static bool Topic(
        this IAuthorizer authorizer, RequestContext context, AclOperation operation, string name) =>
        authorizer.Authorize(context, operation, AclResourceType.Topic, name);

    public static bool Group(
        this IAuthorizer authorizer, RequestContext context, AclOperation operation, string groupId) =>
        authorizer.Authorize(context, operation, AclResourceType.Group, groupId);

    public static bool TransactionalId(
        this IAuthorizer authorizer, RequestContext context, AclOperation operation, string transactionalId) =>
        authorizer.Authorize(context, operation, AclResourceType.TransactionalId, transactionalId);

    public static bool Cluster(this IAuthorizer authorizer, RequestContext context, AclOperation operation) =>
        authorizer.Authorize(context, operation, AclResourceType.Cluster, ClusterName);
}
