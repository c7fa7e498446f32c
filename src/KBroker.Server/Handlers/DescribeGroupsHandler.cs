using KBroker.Coordination.Groups.Administration;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// DescribeGroups: state, assignor and members of classic groups. From version 3 on it tells, when asked, what the
/// client may do with them (KIP-430); up to 5 a group that does not exist is just Dead.
/// </summary>
/// <param name="groups">The groups.</param>
/// <param name="authorizer">Decides who may see the group.</param>
public sealed class DescribeGroupsHandler(GroupAdministrationApi groups, IAuthorizer authorizer)
    : RequestHandler<DescribeGroupsRequest, DescribeGroupsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DescribeGroups;

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message) =>
        new DescribeGroupsResponse
        {
            Groups = [.. (RequestOf(context)?.Groups ?? []).Select(groupId => Refuse(groupId, error))],
        };

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        DescribeGroupsRequest request, RequestContext context)
    {
        var describing = request.Groups.ConvertAll(groupId =>
            authorizer.Group(context, AclOperation.Describe, groupId)
                ? groups.DescribeAsync(groupId, context.ApiVersion)
                : Task.FromResult(Refuse(groupId, ErrorCode.GroupAuthorizationFailed)));
        var response = new DescribeGroupsResponse();
        foreach (var task in describing)
        {
            var group = await task.ConfigureAwait(false);
            if (request.IncludeAuthorizedOperations && group.ErrorCode == ErrorCode.None)
                group.AuthorizedOperations = AuthorizedOperations.Group;
            response.Groups.Add(group);
        }

        return response;
    }

    private static DescribeGroupsResponse.DescribedGroup Refuse(string groupId, ErrorCode error) => new()
    {
        GroupId = groupId,
        ErrorCode = error,
    };
}
