using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Groups.Offsets;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// OffsetCommit: a group's positions. Its background half waits until they are on stable storage, as acks=all does.
/// </summary>
/// <remarks>
/// From version 10 on topics go by id. A topic or partition that does not exist has its own error, and the others are
/// committed all the same; an error of the group (NOT_COORDINATOR, ILLEGAL_GENERATION, ...) stands at every partition.
/// Versions 2 to 4 may ask for a retention of their own.
/// </remarks>
/// <param name="offsets">The committed offsets.</param>
/// <param name="metadata">Which topics there are.</param>
/// <param name="authorizer">Decides who may commit.</param>
public sealed class OffsetCommitHandler(OffsetApi offsets, IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<OffsetCommitRequest, OffsetCommitResponse>
{
    private const short FirstVersionWithTopicIds = 10;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.OffsetCommit;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        OffsetCommitRequest request, RequestContext context)
    {
        if (!authorizer.Authorize(context, AclOperation.Read, AclResourceType.Group, request.GroupId))
            throw new RequestFailedException(ErrorCode.GroupAuthorizationFailed);
        var response = new OffsetCommitResponse();
        var valid = Select(request, response, context);
        if (valid.Count == 0)
            return response;
        var commit = valid.Count == request.Topics.Count && response.Topics.Count == 0
            ? request
            : WithTopics(request, valid);
        var version = context.ApiVersion;
        try
        {
            var committed = await offsets.CommitAsync(new GroupRequest<OffsetCommitRequest>(
                commit, version, GroupClients.Of(context))).ConfigureAwait(false);
            Merge(response, committed.Topics);
        }
        catch (CoordinatorException refused)
        {
            Merge(response, valid.ConvertAll(topic => Failed(topic, refused.Error)));
        }

        return response;
    }

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        var response = new OffsetCommitResponse();
        foreach (var topic in RequestOf(context)?.Topics ?? [])
            response.Topics.Add(Failed(topic, error));
        return response;
    }

    private static OffsetCommitRequest WithTopics(
        OffsetCommitRequest request, List<OffsetCommitRequest.OffsetCommitRequestTopic> topics) => new()
        {
            GroupId = request.GroupId,
            GenerationIdOrMemberEpoch = request.GenerationIdOrMemberEpoch,
            MemberId = request.MemberId,
            GroupInstanceId = request.GroupInstanceId,
            RetentionTimeMs = request.RetentionTimeMs,
            Topics = topics,
        };

    private static OffsetCommitResponse.OffsetCommitResponseTopic Failed(
        OffsetCommitRequest.OffsetCommitRequestTopic topic, ErrorCode error) => new()
        {
            Name = topic.Name,
            TopicId = topic.TopicId,
            Partitions = topic.Partitions.ConvertAll(partition => Failed(partition.PartitionIndex, error)),
        };

    private static OffsetCommitResponse.OffsetCommitResponsePartition Failed(int partition, ErrorCode error) =>
        new() { PartitionIndex = partition, ErrorCode = error };

    /// <summary>Adds the coordinator's answers; a topic of which some partitions are unknown stands once.</summary>
    private static void Merge(
        OffsetCommitResponse response, List<OffsetCommitResponse.OffsetCommitResponseTopic> answers)
    {
        if (response.Topics.Count == 0)
        {
            response.Topics = answers;
            return;
        }

        foreach (var answer in answers)
        {
            var known = response.Topics.Find(
                topic => topic.Name == answer.Name && topic.TopicId == answer.TopicId);
            if (known is null)
                response.Topics.Add(answer);
            else
                known.Partitions.AddRange(answer.Partitions);
        }
    }

    /// <summary>The topics that the coordinator is asked to commit; the others are answered here.</summary>
    private List<OffsetCommitRequest.OffsetCommitRequestTopic> Select(
        OffsetCommitRequest request, OffsetCommitResponse response, RequestContext context)
    {
        var valid = new List<OffsetCommitRequest.OffsetCommitRequestTopic>(request.Topics.Count);
        var image = metadata.Image;
        foreach (var topic in request.Topics)
        {
            var useIds = context.ApiVersion >= FirstVersionWithTopicIds;
            var described = useIds ? image.Topics.Find(topic.TopicId) : image.Topics.Find(topic.Name);
            if (useIds)
                topic.Name = described?.Name ?? "";
            // The id is stored in any case, so that an offset is not taken for one of a later topic of this name.
            else if (described is not null)
                topic.TopicId = described.Id;
            if (useIds && described is null)
                response.Topics.Add(Failed(topic, ErrorCode.UnknownTopicId));
            else if (!authorizer.Topic(context, AclOperation.Read, topic.Name))
                response.Topics.Add(Failed(topic, ErrorCode.TopicAuthorizationFailed));
            else if (described is null)
                response.Topics.Add(Failed(topic, ErrorCode.UnknownTopicOrPartition));
            else
                Select(topic, described, valid, response);
        }

        return valid;
    }

    private static void Select(
        OffsetCommitRequest.OffsetCommitRequestTopic topic,
        TopicImage described,
        List<OffsetCommitRequest.OffsetCommitRequestTopic> valid,
        OffsetCommitResponse response)
    {
        if (topic.Partitions.TrueForAll(partition => described.Partition(partition.PartitionIndex) is not null))
        {
            if (topic.Partitions.Count > 0)
                valid.Add(topic);
            return;
        }

        var answer = new OffsetCommitResponse.OffsetCommitResponseTopic { Name = topic.Name, TopicId = topic.TopicId };
        response.Topics.Add(answer);
        var rest = new OffsetCommitRequest.OffsetCommitRequestTopic { Name = topic.Name, TopicId = topic.TopicId };
        foreach (var partition in topic.Partitions)
        {
            if (described.Partition(partition.PartitionIndex) is null)
                answer.Partitions.Add(Failed(partition.PartitionIndex, ErrorCode.UnknownTopicOrPartition));
            else
                rest.Partitions.Add(partition);
        }

        if (rest.Partitions.Count > 0)
            valid.Add(rest);
    }
}
