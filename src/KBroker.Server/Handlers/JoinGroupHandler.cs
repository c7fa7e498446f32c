using KBroker.Coordination.Groups.Classic;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// JoinGroup: enters a classic group, and waits for the generation. Other requests of the connection are read
/// meanwhile, but answered behind it.
/// </summary>
/// <remarks>
/// Version 0 has no rebalance timeout of its own. From 4 on a dynamic member is first given a member id (KIP-394),
/// from 5 on there are static members (KIP-345), 7 tells the protocol type, 8 brings a reason (KIP-800), 9 lets a
/// leader that comes back skip the assignment (KIP-814).
/// </remarks>
/// <param name="groups">The groups.</param>
/// <param name="authorizer">Decides who may read of the group.</param>
public sealed class JoinGroupHandler(ClassicGroupApi groups, IAuthorizer authorizer)
    : RequestHandler<JoinGroupRequest, JoinGroupResponse>
{
    private const short FirstVersionWithNullProtocolName = 7;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.JoinGroup;

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        ArgumentNullException.ThrowIfNull(context);
        return new JoinGroupResponse
        {
            ErrorCode = error,
            ProtocolName = context.ApiVersion < FirstVersionWithNullProtocolName ? "" : null,
        };
    }

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(JoinGroupRequest request, RequestContext context)
    {
        if (!authorizer.Group(context, AclOperation.Read, request.GroupId))
            throw new RequestFailedException(ErrorCode.GroupAuthorizationFailed);
        var answer = groups.JoinGroupAsync(context.OfGroup(request));
        try
        {
            // A client that has gone is not waited for; its member is, for its session.
            return await answer.WaitAsync(context.Closing).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return ClassicGroupApi.Refuse(request, ErrorCode.NotCoordinator);
        }
    }
}
