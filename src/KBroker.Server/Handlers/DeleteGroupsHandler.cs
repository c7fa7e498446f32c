using KBroker.Coordination.Groups.Administration;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>DeleteGroups: groups without members, and their offsets. One named twice is answered once.</summary>
/// <param name="groups">The groups.</param>
/// <param name="authorizer">Decides who may delete.</param>
public sealed class DeleteGroupsHandler(GroupAdministrationApi groups, IAuthorizer authorizer)
    : RequestHandler<DeleteGroupsRequest, DeleteGroupsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DeleteGroups;

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message) =>
        new DeleteGroupsResponse
        {
            Results = [.. (RequestOf(context)?.GroupsNames ?? []).Distinct().Select(id => Result(id, error))],
        };

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        DeleteGroupsRequest request, RequestContext context)
    {
        var deleting = request.GroupsNames.Distinct().Select(groupId =>
            (groupId, authorizer.Group(context, AclOperation.Delete, groupId)
                ? groups.DeleteAsync(groupId)
                : Task.FromResult(ErrorCode.GroupAuthorizationFailed))).ToList();
        var response = new DeleteGroupsResponse();
        foreach (var (groupId, task) in deleting)
            response.Results.Add(Result(groupId, await task.ConfigureAwait(false)));
        return response;
    }

    private static DeleteGroupsResponse.DeletableGroupResult Result(string groupId, ErrorCode error) => new()
    {
        GroupId = groupId,
        ErrorCode = error,
    };
}
