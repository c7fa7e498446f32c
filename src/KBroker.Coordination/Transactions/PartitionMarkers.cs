using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Storage;

namespace KBroker.Coordination.Transactions;

/// <summary>
/// Writes commit and abort markers into partitions led by this broker: into a group's partition by way of its
/// coordinator, which must know of it, into all others directly (<see cref="MarkerQueue"/>).
/// </summary>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="groups">The group coordinator.</param>
/// <param name="time">The clock.</param>
public sealed class PartitionMarkers(PartitionRegistry partitions, GroupCoordinator groups, TimeProvider time)
{
    private readonly MarkerQueue _queue = new(partitions, time);

    /// <summary>Writes a marker into each of some partitions.</summary>
    /// <param name="topicPartitions">Where.</param>
    /// <param name="end">What they say.</param>
    /// <returns>For each partition, in order: none once its marker is replicated and on stable storage; or
    /// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR, INVALID_PRODUCER_EPOCH,
    /// TRANSACTION_COORDINATOR_FENCED, NOT_ENOUGH_REPLICAS, COORDINATOR_LOAD_IN_PROGRESS.</returns>
    public Task<ErrorCode[]> WriteAsync(IReadOnlyList<TopicPartition> topicPartitions, TransactionEnd end)
    {
        ArgumentNullException.ThrowIfNull(topicPartitions);
        var written = new Task<ErrorCode>[topicPartitions.Count];
        for (var i = 0; i < written.Length; i++)
        {
            written[i] = topicPartitions[i].Topic == TopicNames.ConsumerOffsets
                ? WriteToGroupsAsync(topicPartitions[i].Partition, end)
                : _queue.Add(topicPartitions[i], end);
        }

        _queue.Run();
        return Task.WhenAll(written);
    }

    private async Task<ErrorCode> WriteToGroupsAsync(int partition, TransactionEnd end)
    {
        try
        {
            await groups.EndTransactionAsync(partition, end).ConfigureAwait(false);
            return ErrorCode.None;
        }
        catch (CoordinatorException refused)
        {
            return refused.Error;
        }
    }
}
