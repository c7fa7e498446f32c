using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// DeleteRecords: moves the log start offset up; -1 stands for the high watermark. Internal topics are refused.
/// </summary>
/// <remarks>
/// The low watermark answered is that of all live replicas; with one replica it is there at once. A topic whose
/// <c>cleanup.policy</c> has no "delete" is refused with POLICY_VIOLATION, as Kafka does.
/// </remarks>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="authorizer">Decides who may delete.</param>
public sealed class DeleteRecordsHandler(PartitionRegistry partitions, IAuthorizer authorizer)
    : RequestHandler<DeleteRecordsRequest, DeleteRecordsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DeleteRecords;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(DeleteRecordsRequest request, RequestContext context)
    {
        var response = new DeleteRecordsResponse();
        foreach (var topic in request.Topics)
        {
            var answer = new DeleteRecordsResponse.DeleteRecordsTopicResult { Name = topic.Name };
            response.Topics.Add(answer);
            var allowed = authorizer.Topic(context, AclOperation.Delete, topic.Name);
            foreach (var asked in topic.Partitions)
            {
                var lowWatermark = -1L;
                var error = allowed
                    ? Delete(topic.Name, asked, out lowWatermark)
                    : ErrorCode.TopicAuthorizationFailed;
                answer.Partitions.Add(new DeleteRecordsResponse.DeleteRecordsPartitionResult
                {
                    PartitionIndex = asked.PartitionIndex,
                    LowWatermark = lowWatermark,
                    ErrorCode = error,
                });
            }
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    private ErrorCode Delete(string topic, DeleteRecordsRequest.DeleteRecordsPartition asked, out long lowWatermark)
    {
        lowWatermark = -1;
        var error = partitions.Find(new TopicPartition(topic, asked.PartitionIndex), out var partition);
        if (error != ErrorCode.None)
            return error;
        if (TopicNames.IsInternal(topic))
            return ErrorCode.InvalidTopicException;
        if (!partition!.Log.Config.CleanupPolicy.HasFlag(CleanupPolicy.Delete) && partition.Log.Config.IsCompacted)
            return ErrorCode.PolicyViolation;
        return partition.DeleteRecords(asked.Offset, out lowWatermark);
    }
}
