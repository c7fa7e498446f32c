using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// AlterReplicaLogDirs: moves replicas to other log directories of this broker (KIP-113). The answer says that a move
/// has begun; DescribeLogDirs shows how far it is.
/// </summary>
/// <remarks>
/// A request for another directory replaces one that runs, a request for the directory of the replica ends it. For a
/// partition that is not here yet the directory is remembered, and the answer is REPLICA_NOT_AVAILABLE, or
/// UNKNOWN_TOPIC_OR_PARTITION where there is no such topic. LOG_DIR_NOT_FOUND is a path that is not in <c>log.dirs</c>,
/// letter for letter; INVALID_REPLICA_ASSIGNMENT one that is cordoned. A topic whose name leaves no room for the copy's
/// suffix is INVALID_TOPIC_EXCEPTION.
/// </remarks>
/// <param name="moves">Moves them.</param>
/// <param name="metadata">The metadata, for topics without a replica here.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class AlterReplicaLogDirsHandler(ReplicaMoves moves, IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.AlterReplicaLogDirs;

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message) =>
        Answer(RequestOf(context) ?? new(), (_, _) => error);

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(
        AlterReplicaLogDirsRequest request, RequestContext context)
    {
        var allowed = authorizer.Cluster(context, AclOperation.Alter);
        var image = metadata.Image;
        return ValueTask.FromResult<IResponseMessage?>(Answer(request, (path, partition) =>
            !allowed ? ErrorCode.ClusterAuthorizationFailed
                : moves.Alter(
                    partition, path, image.Topics.FindPartition(partition.Topic, partition.Partition) is not null)));
    }

    private static AlterReplicaLogDirsResponse Answer(
        AlterReplicaLogDirsRequest request, Func<string, TopicPartition, ErrorCode> alter)
    {
        var response = new AlterReplicaLogDirsResponse();
        var topics = new Dictionary<string, AlterReplicaLogDirsResponse.AlterReplicaLogDirTopicResult>(
            StringComparer.Ordinal);
        foreach (var directory in request.Dirs)
        {
            foreach (var topic in directory.Topics)
            {
                if (!topics.TryGetValue(topic.Name, out var answer))
                {
                    topics[topic.Name] = answer = new() { TopicName = topic.Name };
                    response.Results.Add(answer);
                }

                foreach (var partition in topic.Partitions)
                {
                    answer.Partitions.Add(new()
                    {
                        PartitionIndex = partition,
                        ErrorCode = alter(directory.Path, new TopicPartition(topic.Name, partition)),
                    });
                }
            }
        }

        return response;
    }
}
