using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// DescribeLogDirs: what lies in each log directory, and the space of its volume. A directory that failed is
/// KAFKA_STORAGE_ERROR and tells nothing else. A copy that is being made there shows how far it is behind its replica.
/// </summary>
/// <param name="logs">The logs on disk.</param>
/// <param name="partitions">The partitions, for their high watermarks.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class DescribeLogDirsHandler(LogManager logs, PartitionRegistry partitions, IAuthorizer authorizer)
    : RequestHandler<DescribeLogDirsRequest, DescribeLogDirsResponse>
{
    private const long UnknownLag = -1;

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

        result.IsCordoned = directory.IsCordoned;
        try
        {
            (result.TotalBytes, result.UsableBytes) = directory.GetSpace();
        }
        catch (IOException)
        {
            result.ErrorCode = ErrorCode.KafkaStorageError;
            return result;
        }

        var current = partitions.All.Where(p => p.Log.Directory == directory).Select(static p => Describe(
            p.TopicPartition, p.Log, Math.Max(0, p.HighWatermark - p.Log.LogEndOffset), isFuture: false));
        var future = logs.Moves.Futures.Where(l => l.Directory == directory).Select(l => Describe(
            l.TopicPartition, l, LagOf(l), isFuture: true));
        var here = current.Concat(future)
            .Where(p => asked?.Contains(p.Partition) != false)
            .OrderBy(static p => p.Partition.Partition)
            .GroupBy(static p => p.Partition.Topic);
        foreach (var topic in here)
        {
            result.Topics.Add(new DescribeLogDirsResponse.DescribeLogDirsTopic
            {
                Name = topic.Key,
                Partitions = [.. topic.Select(static p => p.Answer)],
            });
        }

        return result;
    }

    private static (TopicPartition Partition, DescribeLogDirsResponse.DescribeLogDirsPartition Answer) Describe(
        TopicPartition partition, PartitionLog log, long lag, bool isFuture) =>
        (partition, new()
        {
            PartitionIndex = partition.Partition,
            PartitionSize = log.SizeInBytes,
            OffsetLag = lag,
            IsFutureKey = isFuture,
        });

    private long LagOf(PartitionLog future) =>
        partitions.Find(future.TopicPartition, out var partition) == ErrorCode.None
            ? Math.Max(0, partition.Log.LogEndOffset - future.LogEndOffset)
            : UnknownLag;
}
