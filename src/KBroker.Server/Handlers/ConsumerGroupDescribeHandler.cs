using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Consumer;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// ConsumerGroupDescribe: state, members and assignments of groups whose partitions the broker assigns (KIP-848).
/// </summary>
/// <remarks>
/// Version 1 tells which protocol a member speaks. A group with a topic that the client may not see is answered with
/// TOPIC_AUTHORIZATION_FAILED and without members.
/// </remarks>
/// <param name="groups">The groups.</param>
/// <param name="metadata">The metadata, for the finalized features.</param>
/// <param name="authorizer">Decides who may see a group and its topics.</param>
public sealed class ConsumerGroupDescribeHandler(
    ConsumerGroupApi groups, IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ConsumerGroupDescribe;

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message) =>
        Failed(RequestOf(context)?.GroupIds ?? [], error);

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        ConsumerGroupDescribeRequest request, RequestContext context)
    {
        if (!groups.IsEnabled(metadata.Image))
            return Failed(request.GroupIds, ErrorCode.UnsupportedVersion);
        var refused = request.GroupIds
            .Where(id => !authorizer.Authorize(context, AclOperation.Describe, AclResourceType.Group, id))
            .ToList();
        var response = Failed(refused, ErrorCode.GroupAuthorizationFailed);
        var described = await groups.DescribeAsync([.. request.GroupIds.Except(refused)]).ConfigureAwait(false);
        foreach (var group in described)
        {
            if (group.ErrorCode == ErrorCode.None && request.IncludeAuthorizedOperations)
                group.AuthorizedOperations = AuthorizedOperations.Group;
            if (!TopicsOf(group).All(topic => authorizer.Topic(context, AclOperation.Describe, topic)))
            {
                group.ErrorCode = ErrorCode.TopicAuthorizationFailed;
                group.ErrorMessage =
                    "The group has described topic(s) that the client is not authorized to describe.";
                group.Members.Clear();
            }

            response.Groups.Add(group);
        }

        return response;
    }

    private static HashSet<string> TopicsOf(ConsumerGroupDescribeResponse.DescribedGroup group)
    {
        var topics = new HashSet<string>();
        foreach (var member in group.Members)
        {
            topics.UnionWith(member.SubscribedTopicNames);
            topics.UnionWith(member.Assignment.TopicPartitions.Select(static t => t.TopicName));
            topics.UnionWith(member.TargetAssignment.TopicPartitions.Select(static t => t.TopicName));
        }

        return topics;
    }

    private static ConsumerGroupDescribeResponse Failed(IEnumerable<string> groupIds, ErrorCode error)
    {
        var response = new ConsumerGroupDescribeResponse();
        foreach (var id in groupIds)
        {
            response.Groups.Add(new ConsumerGroupDescribeResponse.DescribedGroup
            {
                GroupId = id,
                ErrorCode = error,
            });
        }

        return response;
    }
}
