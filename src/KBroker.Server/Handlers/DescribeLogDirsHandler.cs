using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// DescribeLogDirs: what lies in each log directory, and the space of its volume. A directory that failed is
/// KAFKA_STORAGE_ERROR and tells nothing else.
/// </summary>
/// <param name="logs">The logs on disk.</param>
/// <param name="partitions">The partitions, for their high watermarks.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class DescribeLogDirsHandler(LogManager logs, PartitionRegistry partitions, IAuthorizer authorizer)
    : RequestHandler<DescribeLogDirsRequest, DescribeLogDirsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DescribeLogDirs;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(DescribeLogDirsRequest request, RequestContext context)
    {
        var response = new DescribeLogDirsResponse();
        if (!authorizer.Cluster(context, AclOperation.Describe))
        {
            response.ErrorCode = ErrorCode.ClusterAuthorizationFailed;
            return ValueTask.FromResult<IResponseMessage?>(response);
        }

        var asked = request.Topics?
            .SelectMany(static topic => topic.Partitions.Select(p => new TopicPartition(topic.Topic, p)))
            .ToHashSet();
        foreach (var directory in logs.Directories)
            response.Results.Add(Describe(directory, asked));
        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    private DescribeLogDirsResponse.DescribeLogDirsResult Describe(
        LogDirectory directory, HashSet<TopicPartition>? asked)
    {
        var result = new DescribeLogDirsResponse.DescribeLogDirsResult { LogDir = directory.Path };
        if (directory.IsOffline)
        {
            result.ErrorCode = ErrorCode.KafkaStorageError;
            return result;
        }

        try
        {
            (result.TotalBytes, result.UsableBytes) = directory.GetSpace();
        }
        catch (IOException)
        {
            result.ErrorCode = ErrorCode.KafkaStorageError;
            return result;
        }

        var here = partitions.All
            .Where(p => ReferenceEquals(p.Log.Directory, directory) && asked?.Contains(p.TopicPartition) != false)
            .OrderBy(static p => p.TopicPartition.Partition)
            .GroupBy(static p => p.TopicPartition.Topic);
        foreach (var topic in here)
        {
            var described = new DescribeLogDirsResponse.DescribeLogDirsTopic { Name = topic.Key };
            result.Topics.Add(described);
            foreach (var partition in topic)
            {
                described.Partitions.Add(new DescribeLogDirsResponse.DescribeLogDirsPartition
                {
                    PartitionIndex = partition.TopicPartition.Partition,
                    PartitionSize = partition.Log.SizeInBytes,
                    OffsetLag = Math.Max(0, partition.HighWatermark - partition.Log.LogEndOffset),
                });
            }
        }

        return result;
    }
}
