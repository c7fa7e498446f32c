using KBroker.Coordination.Groups.Administration;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// ListGroups: the groups this broker coordinates; from version 4 on by state, from 5 on by type. Who may describe the
/// cluster sees all, everybody else those groups that he may describe.
/// </summary>
/// <param name="groups">The groups.</param>
/// <param name="authorizer">Decides who may see them.</param>
public sealed class ListGroupsHandler(GroupAdministrationApi groups, IAuthorizer authorizer)
    : RequestHandler<ListGroupsRequest, ListGroupsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ListGroups;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        ListGroupsRequest request, RequestContext context)
    {
        var seesAll = authorizer.Cluster(context, AclOperation.Describe);
        var response = await groups.ListAsync(request).ConfigureAwait(false);
        if (!seesAll)
            response.Groups.RemoveAll(group => !authorizer.Group(context, AclOperation.Describe, group.GroupId));
        return response;
    }
}
