using KBroker.Coordination.Groups.Classic;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>SyncGroup: the leader hands in what it assigned, and every member gets its own from it.</summary>
/// <remarks>
/// From version 3 on static members say their name, from 5 on everybody says protocol type and assignor, and must:
/// without them the answer is INCONSISTENT_GROUP_PROTOCOL.
/// </remarks>
/// <param name="groups">The groups.</param>
/// <param name="authorizer">Decides who may read of the group.</param>
public sealed class SyncGroupHandler(ClassicGroupApi groups, IAuthorizer authorizer)
    : RequestHandler<SyncGroupRequest, SyncGroupResponse>
{
    private const short FirstVersionWithProtocol = 5;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.SyncGroup;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(SyncGroupRequest request, RequestContext context)
    {
        if (context.ApiVersion >= FirstVersionWithProtocol
            && (request.ProtocolType is null || request.ProtocolName is null))
        {
            throw new RequestFailedException(ErrorCode.InconsistentGroupProtocol);
        }

        if (!authorizer.Group(context, AclOperation.Read, request.GroupId))
            throw new RequestFailedException(ErrorCode.GroupAuthorizationFailed);
        var answer = groups.SyncGroupAsync(context.OfGroup(request));
        try
        {
            return await answer.WaitAsync(context.Closing).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return new SyncGroupResponse { ErrorCode = ErrorCode.NotCoordinator };
        }
    }
}
