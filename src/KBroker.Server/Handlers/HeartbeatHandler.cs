using KBroker.Coordination.Groups.Classic;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// Heartbeat: a member of a classic group lives, and learns of a rebalance (REBALANCE_IN_PROGRESS). From version 3 on
/// static members say their name.
/// </summary>
/// <param name="groups">The groups.</param>
/// <param name="authorizer">Decides who may read of the group.</param>
public sealed class HeartbeatHandler(ClassicGroupApi groups, IAuthorizer authorizer)
    : RequestHandler<HeartbeatRequest, HeartbeatResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.Heartbeat;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(HeartbeatRequest request, RequestContext context)
    {
        if (!authorizer.Group(context, AclOperation.Read, request.GroupId))
            throw new RequestFailedException(ErrorCode.GroupAuthorizationFailed);
        return await groups.HeartbeatAsync(request).ConfigureAwait(false);
    }
}
