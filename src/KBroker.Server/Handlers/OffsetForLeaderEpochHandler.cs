using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// OffsetForLeaderEpoch: where a leader epoch ended, so that a client notices a truncation (KIP-320).
/// </summary>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class OffsetForLeaderEpochHandler(PartitionRegistry partitions, IAuthorizer authorizer)
    : RequestHandler<OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.OffsetForLeaderEpoch;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(
        OffsetForLeaderEpochRequest request, RequestContext context)
    {
        var response = new OffsetForLeaderEpochResponse();
        foreach (var topic in request.Topics)
        {
            var answer = new OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult { Topic = topic.Topic };
            response.Topics.Add(answer);
            var allowed = authorizer.Topic(context, AclOperation.Describe, topic.Topic);
            foreach (var asked in topic.Partitions)
            {
                var end = EpochEndOffset.Unknown;
                var error = ErrorCode.TopicAuthorizationFailed;
                if (allowed)
                {
                    error = partitions.Find(new TopicPartition(topic.Topic, asked.Partition), out var partition);
                    if (error == ErrorCode.None)
                        error = partition!.FindEpochEnd(asked.LeaderEpoch, asked.CurrentLeaderEpoch, out end);
                }

                answer.Partitions.Add(new OffsetForLeaderEpochResponse.EpochEndOffset
                {
                    Partition = asked.Partition,
                    ErrorCode = error,
                    LeaderEpoch = end.Epoch,
                    EndOffset = end.EndOffset,
                });
            }
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }
}
