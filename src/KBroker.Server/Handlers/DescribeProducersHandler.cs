using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>DescribeProducers: the producers that the leaders of partitions keep state of (KIP-664).</summary>
/// <remarks>
/// A producer is shown from its first batch with a producer id until <c>producer.id.expiration.ms</c> after its last.
/// Only a leader answers; another replica of the partition says NOT_LEADER_OR_FOLLOWER.
/// </remarks>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="authorizer">Decides who may ask: reading the topic is enough.</param>
public sealed class DescribeProducersHandler(PartitionRegistry partitions, IAuthorizer authorizer)
    : RequestHandler<DescribeProducersRequest, DescribeProducersResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DescribeProducers;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(
        DescribeProducersRequest request, RequestContext context)
    {
        var response = new DescribeProducersResponse();
        foreach (var topic in request.Topics)
        {
            var answer = new DescribeProducersResponse.TopicResponse { Name = topic.Name };
            response.Topics.Add(answer);
            var allowed = authorizer.Topic(context, AclOperation.Read, topic.Name);
            foreach (var index in topic.PartitionIndexes)
            {
                answer.Partitions.Add(allowed
                    ? Describe(new TopicPartition(topic.Name, index))
                    : Failed(index, ErrorCode.TopicAuthorizationFailed));
            }
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    private static DescribeProducersResponse.PartitionResponse Failed(int index, ErrorCode error) =>
        new() { PartitionIndex = index, ErrorCode = error };

    private DescribeProducersResponse.PartitionResponse Describe(TopicPartition topicPartition)
    {
        var error = partitions.Find(topicPartition, out var partition);
        if (error == ErrorCode.None)
            error = partition!.CheckLeader(-1);
        if (error != ErrorCode.None)
            return Failed(topicPartition.Partition, error);
        var response = new DescribeProducersResponse.PartitionResponse { PartitionIndex = topicPartition.Partition };
        foreach (var producer in partition!.Log.GetActiveProducers())
        {
            response.ActiveProducers.Add(new DescribeProducersResponse.ProducerState
            {
                ProducerId = producer.ProducerId,
                ProducerEpoch = producer.ProducerEpoch,
                LastSequence = producer.LastSequence,
                LastTimestamp = producer.LastTimestamp,
                CoordinatorEpoch = producer.CoordinatorEpoch,
                CurrentTxnStartOffset = producer.CurrentTransactionStartOffset,
            });
        }

        return response;
    }
}
