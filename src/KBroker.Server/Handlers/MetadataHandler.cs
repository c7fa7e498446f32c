using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Server.Topics;

namespace KBroker.Server.Handlers;

/// <summary>
/// Metadata: brokers, controller, topics with their partitions and leaders.
/// </summary>
/// <remarks>
/// A missing topic is created when both the client and <c>auto.create.topics.enable</c> allow it; the answer waits for
/// the creation, so that the client need not ask again. Version 0 has no null: an empty list means every topic there.
/// Version 10 brought the field for topic ids, but only from 12 on may a topic be asked for by id, and by id alone;
/// in 10 and 11 an id, or a null name, is INVALID_REQUEST for every topic of the request.
/// </remarks>
/// <param name="metadata">The metadata as this broker knows it.</param>
/// <param name="creator">Creates missing topics.</param>
/// <param name="authorizer">Decides which topics exist for the client.</param>
public sealed class MetadataHandler(IMetadataLog metadata, AutoTopicCreator creator, IAuthorizer authorizer)
    : RequestHandler<MetadataRequest, MetadataResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.Metadata;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(MetadataRequest request, RequestContext context)
    {
        CheckTopics(request, context.ApiVersion);
        var image = metadata.Image;
        var all = request.Topics is null || (context.ApiVersion == 0 && request.Topics.Count == 0);
        if (!all && request.AllowAutoTopicCreation && creator.Enabled)
            image = await CreateMissingAsync(request.Topics!, image, context).ConfigureAwait(false);

        var response = new MetadataResponse { ClusterId = image.ClusterId, ControllerId = image.ControllerId };
        AddBrokers(response, image, context.ListenerName);
        if (all)
        {
            var topics = image.Topics.ByName.Values.OrderBy(static topic => topic.Name, StringComparer.Ordinal);
            foreach (var topic in topics)
            {
                if (authorizer.Topic(context, AclOperation.Describe, topic.Name))
                    response.Topics.Add(Describe(topic, image, context));
            }
        }
        else
        {
            foreach (var asked in request.Topics!.DistinctBy(static topic => (topic.TopicId, topic.Name)))
                response.Topics.Add(Answer(asked, image, context));
        }

        if (request.IncludeTopicAuthorizedOperations)
        {
            foreach (var topic in response.Topics)
                topic.TopicAuthorizedOperations = AuthorizedOperations.Topic;
        }

        if (request.IncludeClusterAuthorizedOperations)
            response.ClusterAuthorizedOperations = AuthorizedOperations.Cluster;
        return response;
    }

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        var response = new MetadataResponse { ErrorCode = error };
        foreach (var asked in RequestOf(context)?.Topics ?? [])
            response.Topics.Add(Missing(asked.Name, asked.TopicId, error, context.ApiVersion));
        return response;
    }

    private static void CheckTopics(MetadataRequest request, short version)
    {
        if (version >= 12)
            return;
        foreach (var topic in request.Topics ?? [])
        {
            if (topic.Name is null || topic.TopicId != Uuid.Zero)
            {
                throw new RequestFailedException(
                    ErrorCode.InvalidRequest,
                    $"Version {version} of Metadata needs a name, and takes no topic id; given were '{topic.Name}' and "
                    + $"{topic.TopicId}");
            }
        }
    }

    private static void AddBrokers(MetadataResponse response, MetadataImage image, string listenerName)
    {
        foreach (var broker in image.Brokers.Values)
        {
            if (!broker.Fenced && broker.Endpoint(listenerName) is { } endpoint)
            {
                response.Brokers.Add(new MetadataResponse.MetadataResponseBroker
                {
                    NodeId = broker.Id,
                    Host = endpoint.Host,
                    Port = endpoint.Port,
                    Rack = broker.Rack,
                });
            }
        }
    }

    private MetadataResponse.MetadataResponseTopic Answer(
        MetadataRequest.MetadataRequestTopic asked, MetadataImage image, RequestContext context)
    {
        if (asked.TopicId != Uuid.Zero)
        {
            return image.Topics.Find(asked.TopicId) is { } byId
                && authorizer.Topic(context, AclOperation.Describe, byId.Name)
                ? Describe(byId, image, context)
                : Missing(null, asked.TopicId, ErrorCode.UnknownTopicId, context.ApiVersion);
        }

        if (asked.Name is not null && !authorizer.Topic(context, AclOperation.Describe, asked.Name))
            return Missing(asked.Name, Uuid.Zero, ErrorCode.TopicAuthorizationFailed, context.ApiVersion);
        if (image.Topics.Find(asked.Name ?? string.Empty) is { } topic)
            return Describe(topic, image, context);

        var error = TopicNames.Check(asked.Name) is null
            ? ErrorCode.UnknownTopicOrPartition
            : ErrorCode.InvalidTopicException;
        return Missing(asked.Name, Uuid.Zero, error, context.ApiVersion);
    }

    private static MetadataResponse.MetadataResponseTopic Missing(
        string? name, Uuid id, ErrorCode error, short version) =>
        new()
        {
            ErrorCode = error,
            Name = name ?? (version >= 12 ? null : string.Empty),
            TopicId = id,
            IsInternal = name is not null && TopicNames.IsInternal(name),
        };

    private static MetadataResponse.MetadataResponseTopic Describe(
        TopicImage topic, MetadataImage image, RequestContext context)
    {
        var described = new MetadataResponse.MetadataResponseTopic
        {
            Name = topic.Name,
            TopicId = topic.Id,
            IsInternal = TopicNames.IsInternal(topic.Name),
            Partitions = new List<MetadataResponse.MetadataResponsePartition>(topic.Partitions.Length),
        };
        foreach (var partition in topic.Partitions)
        {
            var error = LeaderError(partition, image, context);
            described.Partitions.Add(new MetadataResponse.MetadataResponsePartition
            {
                ErrorCode = error,
                PartitionIndex = partition.PartitionId,
                LeaderId = error == ErrorCode.None ? partition.Leader : PartitionImage.NoLeader,
                LeaderEpoch = partition.LeaderEpoch,
                ReplicaNodes = [.. partition.Replicas],
                IsrNodes = [.. partition.Isr],
                OfflineReplicas = OfflineReplicas(partition, image),
            });
        }

        return described;
    }

    private static List<int> OfflineReplicas(PartitionImage partition, MetadataImage image)
    {
        List<int> offline = [];
        foreach (var replica in partition.Replicas)
        {
            if (!IsAlive(image, partition, replica))
                offline.Add(replica);
        }

        return offline;
    }

    /// <summary>
    /// A leader that this listener cannot name is no leader; clients before version 6 know one error for it.
    /// </summary>
    private static ErrorCode LeaderError(PartitionImage partition, MetadataImage image, RequestContext context)
    {
        if (!image.Brokers.TryGetValue(partition.Leader, out var leader) || leader.Fenced)
            return ErrorCode.LeaderNotAvailable;
        if (leader.Endpoint(context.ListenerName) is not null)
            return ErrorCode.None;
        return context.ApiVersion >= 6 ? ErrorCode.ListenerNotFound : ErrorCode.LeaderNotAvailable;
    }

    private static bool IsAlive(MetadataImage image, PartitionImage partition, int brokerId) =>
        image.Brokers.TryGetValue(brokerId, out var broker) && !broker.Fenced
        && DirectoryIds.IsOnline(partition.DirectoryOf(brokerId), broker.LogDirs);

    private async ValueTask<MetadataImage> CreateMissingAsync(
        List<MetadataRequest.MetadataRequestTopic> topics, MetadataImage image, RequestContext context)
    {
        List<string>? missing = null;
        foreach (var topic in topics)
        {
            if (topic.TopicId == Uuid.Zero && topic.Name is { } name
                && image.Topics.Find(name) is null && TopicNames.Check(name) is null
                && authorizer.Topic(context, AclOperation.Create, name))
                (missing ??= []).Add(name);
        }

        if (missing is null)
            return image;
        await creator.CreateAsync(missing).ConfigureAwait(false);
        return metadata.Image;
    }
}
