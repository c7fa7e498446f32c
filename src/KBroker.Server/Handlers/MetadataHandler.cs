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
/// From version 10 on a topic may be given by id, from 12 on by id alone.
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
        var image = metadata.Image;
        var all = request.Topics is null || (context.ApiVersion == 0 && request.Topics.Count == 0);
        if (!all && request.AllowAutoTopicCreation && creator.Enabled)
            image = await CreateMissingAsync(request.Topics!, image, context).ConfigureAwait(false);

        var response = new MetadataResponse { ClusterId = image.ClusterId, ControllerId = image.ControllerId };
        AddBrokers(response, image, context.ListenerName);
        if (all)
        {
            foreach (var topic in image.Topics.ByName.Values.OrderBy(static topic => topic.Name, StringComparer.Ordinal))
            {
                if (authorizer.Topic(context, AclOperation.Describe, topic.Name))
                    response.Topics.Add(Describe(topic, image, context.ListenerName));
            }
        }
        else
        {
            foreach (var asked in request.Topics!)
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
                ? Describe(byId, image, context.ListenerName)
                : Missing(null, asked.TopicId, ErrorCode.UnknownTopicId, context.ApiVersion);
        }

        if (asked.Name is not null && !authorizer.Topic(context, AclOperation.Describe, asked.Name))
            return Missing(asked.Name, Uuid.Zero, ErrorCode.TopicAuthorizationFailed, context.ApiVersion);
        if (image.Topics.Find(asked.Name ?? string.Empty) is { } topic)
            return Describe(topic, image, context.ListenerName);

        var error = TopicNames.Check(asked.Name) is null
            ? ErrorCode.UnknownTopicOrPartition
            : ErrorCode.InvalidTopicException;
        return Missing(asked.Name, Uuid.Zero, error, context.ApiVersion);
    }

    private static MetadataResponse.MetadataResponseTopic Missing(string? name, Uuid id, ErrorCode error, short version) =>
        new()
        {
            ErrorCode = error,
            Name = name ?? (version >= 12 ? null : string.Empty),
            TopicId = id,
            IsInternal = name is not null && TopicNames.IsInternal(name),
        };

    private static MetadataResponse.MetadataResponseTopic Describe(
        TopicImage topic, MetadataImage image, string listenerName)
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
            described.Partitions.Add(new MetadataResponse.MetadataResponsePartition
            {
                ErrorCode = LeaderError(partition, image, listenerName),
                PartitionIndex = partition.PartitionId,
                LeaderId = partition.Leader,
                LeaderEpoch = partition.LeaderEpoch,
                ReplicaNodes = [.. partition.Replicas],
                IsrNodes = [.. partition.Isr],
                OfflineReplicas = [.. partition.Replicas.Where(id => !IsAlive(image, id))],
            });
        }

        return described;
    }

    private static ErrorCode LeaderError(PartitionImage partition, MetadataImage image, string listenerName)
    {
        if (partition.Leader < 0 || !image.Brokers.TryGetValue(partition.Leader, out var leader))
            return ErrorCode.LeaderNotAvailable;
        return leader.Endpoint(listenerName) is null ? ErrorCode.ListenerNotFound : ErrorCode.None;
    }

    private static bool IsAlive(MetadataImage image, int brokerId) =>
        image.Brokers.TryGetValue(brokerId, out var broker) && !broker.Fenced;

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
