using System.Buffers;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Storage;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Transactions;

/// <summary>
/// Writes commit and abort markers into partitions led by this broker: into a group's partition by way of its
/// coordinator, which must know of it, into all others directly.
/// </summary>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="groups">The group coordinator.</param>
/// <param name="time">The clock.</param>
public sealed class PartitionMarkers(PartitionRegistry partitions, GroupCoordinator groups, TimeProvider time)
{
    /// <summary>Writes a marker.</summary>
    /// <param name="topicPartition">Where.</param>
    /// <param name="end">What it says.</param>
    /// <returns>None once it is replicated and on stable storage; or UNKNOWN_TOPIC_OR_PARTITION,
    /// NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR, INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED,
    /// NOT_ENOUGH_REPLICAS, COORDINATOR_LOAD_IN_PROGRESS.</returns>
    public async Task<ErrorCode> WriteAsync(TopicPartition topicPartition, TransactionEnd end)
    {
        try
        {
            if (topicPartition.Topic == TopicNames.ConsumerOffsets)
            {
                await groups.EndTransactionAsync(topicPartition.Partition, end).ConfigureAwait(false);
                return ErrorCode.None;
            }

            var error = partitions.Find(topicPartition, out var partition);
            if (error != ErrorCode.None)
                return error;
            var appended = partition!.AppendAsLeader(
                new ReadOnlySequence<byte>(end.ToMarker(time.GetUtcNow().ToUnixTimeMilliseconds())),
                requiredAcks: -1,
                AppendOptions.Coordinator with { IsEpochBumped = end.IsEpochBumped });
            if (appended.Error != ErrorCode.None)
                return appended.Error;
            CrashPoint.Reached("txn.marker-appended", end.IsCommit ? "commit" : "abort");
            await partition.WaitDurableAsync(appended.Append.NextOffset).ConfigureAwait(false);
            return ErrorCode.None;
        }
        catch (StorageException)
        {
            return ErrorCode.KafkaStorageError;
        }
        catch (CoordinatorException refused)
        {
            return refused.Error;
        }
    }
}
