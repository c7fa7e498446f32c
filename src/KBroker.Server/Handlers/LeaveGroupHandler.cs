using KBroker.Coordination.Groups.Classic;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// LeaveGroup: members leave a classic group. Up to version 2 one member, whose error stands at the top; from 3 on any
/// number, also by the names of static members alone, as administrators remove them; 5 brings reasons (KIP-800).
/// </summary>
/// <param name="groups">The groups.</param>
/// <param name="authorizer">Decides who may read of the group.</param>
public sealed class LeaveGroupHandler(ClassicGroupApi groups, IAuthorizer authorizer)
    : RequestHandler<LeaveGroupRequest, LeaveGroupResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.LeaveGroup;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        LeaveGroupRequest request, RequestContext context)
    {
        if (!authorizer.Group(context, AclOperation.Read, request.GroupId))
            throw new RequestFailedException(ErrorCode.GroupAuthorizationFailed);
        return await groups.LeaveGroupAsync(context.OfGroup(request)).ConfigureAwait(false);
    }
}
