using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Groups.Consumer;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// ConsumerGroupHeartbeat: joins, keeps, changes and leaves a consumer group whose partitions the broker assigns
/// (KIP-848).
/// </summary>
/// <remarks>
/// From version 1 on members make their id themselves, and may subscribe by a regular expression (RE2).
/// UNSUPPORTED_VERSION while <c>group.version</c> is 0 or <c>group.coordinator.rebalance.protocols</c> has no
/// <c>consumer</c>. A member must be allowed to read the group, and to see every topic it names; of what its
/// expression matches it gets those that it may see.
/// </remarks>
/// <param name="groups">The groups.</param>
/// <param name="metadata">The metadata, for the finalized features.</param>
/// <param name="authorizer">Decides who may join.</param>
public sealed class ConsumerGroupHeartbeatHandler(
    ConsumerGroupApi groups, IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ConsumerGroupHeartbeat;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        ConsumerGroupHeartbeatRequest request, RequestContext context)
    {
        if (!groups.IsEnabled(metadata.Image))
            return new ConsumerGroupHeartbeatResponse { ErrorCode = ErrorCode.UnsupportedVersion };
        if (!authorizer.Authorize(context, AclOperation.Read, AclResourceType.Group, request.GroupId))
            return new ConsumerGroupHeartbeatResponse { ErrorCode = ErrorCode.GroupAuthorizationFailed };
        foreach (var topic in request.SubscribedTopicNames ?? [])
        {
            if (!authorizer.Topic(context, AclOperation.Describe, topic))
                return new ConsumerGroupHeartbeatResponse { ErrorCode = ErrorCode.TopicAuthorizationFailed };
        }

        var client = new GroupClient(context.ClientId ?? "", $"/{context.ClientAddress}");
        return await groups.HeartbeatAsync(
            new GroupRequest<ConsumerGroupHeartbeatRequest>(request, context.ApiVersion, client),
            Filter(context)).ConfigureAwait(false);
    }

    // Asked when the request may be long answered: it keeps the connection, never the context.
    private Predicate<string> Filter(RequestContext context)
    {
        if (authorizer is AllowAllAuthorizer)
            return static _ => true;
        var (session, clientId, version) = (context.Session, context.ClientId, context.ApiVersion);
        return topic => authorizer.Topic(
            new RequestContext(session)
            {
                ApiKey = ApiKey.ConsumerGroupHeartbeat,
                ApiVersion = version,
                ClientId = clientId,
            },
            AclOperation.Describe,
            topic);
    }
}
