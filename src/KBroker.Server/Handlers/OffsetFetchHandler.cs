using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Offsets;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>OffsetFetch: the committed positions of groups.</summary>
/// <remarks>
/// Up to version 7 one group is asked for and answered at the top, from 8 on several; they are read at the same time.
/// Null topics (from version 2 on) stand for all. Members of the consumer protocol name themselves from 9 on, topics go
/// by id from 10 on. Version 1 has no error but those of partitions, so an error of the group stands at each of them.
/// </remarks>
/// <param name="offsets">The committed offsets.</param>
/// <param name="metadata">Names and ids of topics.</param>
/// <param name="authorizer">Decides who may read.</param>
public sealed class OffsetFetchHandler(OffsetApi offsets, IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<OffsetFetchRequest, OffsetFetchResponse>
{
    private const short FirstVersionWithGroups = 8;
    private const short FirstVersionWithTopicIds = 10;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.OffsetFetch;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        OffsetFetchRequest request, RequestContext context)
    {
        var version = context.ApiVersion;
        if (version < FirstVersionWithGroups)
        {
            var single = await FetchAsync(GroupOf(request), request.RequireStable, version, context)
                .ConfigureAwait(false);
            return ToSingle(single, version);
        }

        var running = request.Groups.ConvertAll(
            group => FetchAsync(group, request.RequireStable, version, context));
        var response = new OffsetFetchResponse { Groups = new(running.Count) };
        foreach (var group in running)
            response.Groups.Add(await group.ConfigureAwait(false));
        return response;
    }

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        var request = RequestOf(context) ?? new OffsetFetchRequest();
        if (context.ApiVersion < FirstVersionWithGroups)
            return ToSingle(Failed(GroupOf(request), error, context.ApiVersion), context.ApiVersion);
        return new OffsetFetchResponse
        {
            Groups = request.Groups.ConvertAll(group => Failed(group, error, context.ApiVersion)),
        };
    }

    private static OffsetFetchRequest.OffsetFetchRequestGroup GroupOf(OffsetFetchRequest request) => new()
    {
        GroupId = request.GroupId,
        Topics = request.Topics?.ConvertAll(static topic => new OffsetFetchRequest.OffsetFetchRequestTopics
        {
            Name = topic.Name,
            PartitionIndexes = topic.PartitionIndexes,
        }),
    };

    private static OffsetFetchResponse ToSingle(OffsetFetchResponse.OffsetFetchResponseGroup group, short version) =>
        new()
        {
            ErrorCode = version >= 2 ? group.ErrorCode : ErrorCode.None,
            Topics = group.Topics.ConvertAll(static topic => new OffsetFetchResponse.OffsetFetchResponseTopic
            {
                Name = topic.Name,
                Partitions = topic.Partitions.ConvertAll(
                    static partition => new OffsetFetchResponse.OffsetFetchResponsePartition
                    {
                        PartitionIndex = partition.PartitionIndex,
                        CommittedOffset = partition.CommittedOffset,
                        CommittedLeaderEpoch = partition.CommittedLeaderEpoch,
                        Metadata = partition.Metadata,
                        ErrorCode = partition.ErrorCode,
                    }),
            }),
        };

    private static OffsetFetchResponse.OffsetFetchResponseGroup Failed(
        OffsetFetchRequest.OffsetFetchRequestGroup group, ErrorCode error, short version)
    {
        var failed = new OffsetFetchResponse.OffsetFetchResponseGroup { GroupId = group.GroupId, ErrorCode = error };
        if (version < 2)
            failed.Topics = (group.Topics ?? []).ConvertAll(topic => Failed(topic, error));
        return failed;
    }

    private static OffsetFetchResponse.OffsetFetchResponseTopics Failed(
        OffsetFetchRequest.OffsetFetchRequestTopics topic, ErrorCode error) => new()
        {
            Name = topic.Name,
            TopicId = topic.TopicId,
            Partitions = topic.PartitionIndexes.ConvertAll(
                index => new OffsetFetchResponse.OffsetFetchResponsePartitions
                {
                    PartitionIndex = index,
                    CommittedOffset = -1,
                    CommittedLeaderEpoch = -1,
                    Metadata = "",
                    ErrorCode = error,
                }),
        };

    private async Task<OffsetFetchResponse.OffsetFetchResponseGroup> FetchAsync(
        OffsetFetchRequest.OffsetFetchRequestGroup group, bool requireStable, short version, RequestContext context)
    {
        if (!authorizer.Authorize(context, AclOperation.Describe, AclResourceType.Group, group.GroupId))
            return Failed(group, ErrorCode.GroupAuthorizationFailed, version);
        var failed = group.Topics is null ? null : TakeUnknown(group, version, context);
        OffsetFetchResponse.OffsetFetchResponseGroup response;
        try
        {
            response = await offsets.FetchAsync(group, requireStable).ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return Failed(group, refused.Error, version);
        }

        if (failed is not null)
            response.Topics.AddRange(failed);
        else
            response.Topics.RemoveAll(topic => !IsVisible(topic, version, context));
        return response;
    }

    /// <summary>Takes the topics away that are unknown or none of the client's business.</summary>
    /// <returns>Their answers.</returns>
    private List<OffsetFetchResponse.OffsetFetchResponseTopics> TakeUnknown(
        OffsetFetchRequest.OffsetFetchRequestGroup group, short version, RequestContext context)
    {
        List<OffsetFetchResponse.OffsetFetchResponseTopics> failed = [];
        var image = metadata.Image;
        List<OffsetFetchRequest.OffsetFetchRequestTopics> valid = [];
        foreach (var topic in group.Topics!)
        {
            if (version >= FirstVersionWithTopicIds)
                topic.Name = image.Topics.Find(topic.TopicId)?.Name ?? "";
            else
                topic.TopicId = image.Topics.Find(topic.Name)?.Id ?? Uuid.Zero;
            if (topic.Name.Length == 0 && version >= FirstVersionWithTopicIds)
                failed.Add(Failed(topic, ErrorCode.UnknownTopicId));
            else if (!authorizer.Topic(context, AclOperation.Describe, topic.Name))
                failed.Add(Failed(topic, ErrorCode.TopicAuthorizationFailed));
            else
                valid.Add(topic);
        }

        group.Topics = valid;
        return failed;
    }

    /// <summary>
    /// Judges a topic of an answer with all of them: a client sees those it may describe, and by id those that still
    /// exist.
    /// </summary>
    private bool IsVisible(
        OffsetFetchResponse.OffsetFetchResponseTopics topic, short version, RequestContext context)
    {
        if (version >= FirstVersionWithTopicIds)
        {
            topic.TopicId = metadata.Image.Topics.Find(topic.Name)?.Id ?? Uuid.Zero;
            if (topic.TopicId == Uuid.Zero)
                return false;
        }

        return authorizer.Topic(context, AclOperation.Describe, topic.Name);
    }
}
