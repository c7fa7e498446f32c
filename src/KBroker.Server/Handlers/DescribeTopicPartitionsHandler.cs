using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// DescribeTopicPartitions: partitions of topics in pages, topics in the order of their names (KIP-966).
/// </summary>
/// <remarks>
/// A page holds at most the smaller of the client's limit and <c>max.request.partition.size.limit</c>; the cursor
/// answered is where the next one begins. No topics asked for means all. A cursor's topic that was deleted in between
/// does no harm: the page begins with the next name. Unlike in Metadata, a partition without a leader is no error.
/// </remarks>
/// <param name="metadata">The metadata.</param>
/// <param name="maxPartitions"><c>max.request.partition.size.limit</c>.</param>
/// <param name="authorizer">Decides which topics exist for the client.</param>
public sealed class DescribeTopicPartitionsHandler(IMetadataLog metadata, int maxPartitions, IAuthorizer authorizer)
    : RequestHandler<DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DescribeTopicPartitions;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(
        DescribeTopicPartitionsRequest request, RequestContext context)
    {
        if (request.Cursor is { PartitionIndex: < 0 } bad)
        {
            throw new RequestFailedException(
                ErrorCode.InvalidRequest, $"The cursor's partition index {bad.PartitionIndex} is negative");
        }

        var image = metadata.Image;
        var all = request.Topics.Count == 0;
        var names = (all ? image.Topics.ByName.Keys : request.Topics.Select(static topic => topic.Name))
            .Where(name => request.Cursor is null || string.CompareOrdinal(name, request.Cursor.TopicName) >= 0)
            .Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal);
        var response = new DescribeTopicPartitionsResponse();
        var left = Math.Max(1, Math.Min(request.ResponsePartitionLimit, maxPartitions));
        foreach (var name in names)
        {
            if (left == 0)
            {
                response.NextCursor = new DescribeTopicPartitionsResponse.Cursor { TopicName = name };
                break;
            }

            var first = request.Cursor?.TopicName == name ? request.Cursor.PartitionIndex : 0;
            var topic = image.Topics.Find(name);
            if (topic is null || !authorizer.Topic(context, AclOperation.Describe, name))
                AddMissing(response, name, topic is not null, all);
            else if (!AddPage(response, topic, image, first, ref left))
                break;
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        var response = new DescribeTopicPartitionsResponse();
        foreach (var asked in RequestOf(context)?.Topics ?? [])
        {
            response.Topics.Add(new DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic
            {
                Name = asked.Name,
                ErrorCode = error,
            });
        }

        return response;
    }

    private static void AddMissing(DescribeTopicPartitionsResponse response, string name, bool exists, bool all)
    {
        if (all)
            return;
        response.Topics.Add(new DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic
        {
            Name = name,
            ErrorCode = exists ? ErrorCode.TopicAuthorizationFailed
                : TopicNames.Check(name) is null ? ErrorCode.UnknownTopicOrPartition
                : ErrorCode.InvalidTopicException,
            IsInternal = TopicNames.IsInternal(name),
        });
    }

    /// <summary>Adds partitions of a topic; false when the page is full and the cursor set.</summary>
    private static bool AddPage(
        DescribeTopicPartitionsResponse response, TopicImage topic, MetadataImage image, int first, ref int left)
    {
        var described = new DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic
        {
            Name = topic.Name,
            TopicId = topic.Id,
            IsInternal = TopicNames.IsInternal(topic.Name),
            TopicAuthorizedOperations = AuthorizedOperations.Topic,
        };
        response.Topics.Add(described);
        for (var index = first; index < topic.Partitions.Length; index++)
        {
            if (left == 0)
            {
                response.NextCursor = new DescribeTopicPartitionsResponse.Cursor
                {
                    TopicName = topic.Name,
                    PartitionIndex = index,
                };
                return false;
            }

            left--;
            described.Partitions.Add(Describe(topic.Partitions[index], image));
        }

        return true;
    }

    private static DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition Describe(
        PartitionImage partition, MetadataImage image) => new()
        {
            PartitionIndex = partition.PartitionId,
            LeaderId = partition.Leader,
            LeaderEpoch = partition.LeaderEpoch,
            ReplicaNodes = [.. partition.Replicas],
            IsrNodes = [.. partition.Isr],
            EligibleLeaderReplicas = [.. partition.EligibleLeaderReplicas],
            LastKnownElr = [.. partition.LastKnownElr],
            OfflineReplicas = [.. partition.Replicas.Where(
                id => !image.Brokers.TryGetValue(id, out var broker) || broker.Fenced
                    || !DirectoryIds.IsOnline(partition.DirectoryOf(id), broker.LogDirs))],
        };
}
