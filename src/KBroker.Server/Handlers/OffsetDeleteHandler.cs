using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Offsets;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>OffsetDelete: deletes positions of a group in topics that none of its members is subscribed to.</summary>
/// <remarks>
/// A topic or partition that does not exist has its own error, as has one that is subscribed to
/// (GROUP_SUBSCRIBED_TO_TOPIC); an error of the group stands at the top.
/// </remarks>
/// <param name="offsets">The committed offsets.</param>
/// <param name="metadata">Which topics there are.</param>
/// <param name="authorizer">Decides who may delete.</param>
public sealed class OffsetDeleteHandler(OffsetApi offsets, IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<OffsetDeleteRequest, OffsetDeleteResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.OffsetDelete;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        OffsetDeleteRequest request, RequestContext context)
    {
        if (!authorizer.Authorize(context, AclOperation.Delete, AclResourceType.Group, request.GroupId))
            throw new RequestFailedException(ErrorCode.GroupAuthorizationFailed);
        var response = new OffsetDeleteResponse();
        // The group is asked also when no partition is left: its own error comes first.
        var valid = Select(request, response, context);
        try
        {
            var deleted = await offsets.DeleteAsync(valid).ConfigureAwait(false);
            foreach (var answer in deleted.Topics)
            {
                if (response.Topics.Find(topic => topic.Name == answer.Name) is { } known)
                    known.Partitions.AddRange(answer.Partitions);
                else
                    response.Topics.Add(answer);
            }

            return response;
        }
        catch (CoordinatorException refused)
        {
            return new OffsetDeleteResponse { ErrorCode = refused.Error };
        }
    }

    private OffsetDeleteRequest Select(
        OffsetDeleteRequest request, OffsetDeleteResponse response, RequestContext context)
    {
        var valid = new OffsetDeleteRequest { GroupId = request.GroupId };
        var image = metadata.Image;
        foreach (var topic in request.Topics)
        {
            var described = image.Topics.Find(topic.Name);
            var allowed = authorizer.Topic(context, AclOperation.Read, topic.Name);
            var rest = new OffsetDeleteRequest.OffsetDeleteRequestTopic { Name = topic.Name };
            var answer = new OffsetDeleteResponse.OffsetDeleteResponseTopic { Name = topic.Name };
            foreach (var partition in topic.Partitions)
            {
                if (allowed && described?.Partition(partition.PartitionIndex) is not null)
                {
                    rest.Partitions.Add(partition);
                    continue;
                }

                answer.Partitions.Add(new OffsetDeleteResponse.OffsetDeleteResponsePartition
                {
                    PartitionIndex = partition.PartitionIndex,
                    ErrorCode = allowed ? ErrorCode.UnknownTopicOrPartition : ErrorCode.TopicAuthorizationFailed,
                });
            }

            if (answer.Partitions.Count > 0)
                response.Topics.Add(answer);
            if (rest.Partitions.Count > 0)
                valid.Topics.Add(rest);
        }

        return valid;
    }
}
