using System.Collections.Immutable;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>Chooses, or checks, the brokers of new partitions, and makes their records.</summary>
internal static class ReplicaPlacement
{
    /// <summary>Spreads partitions over the brokers that take part: each replica one broker further than the one
    /// before.</summary>
    /// <exception cref="RefusedException">There are too few brokers.</exception>
    public static List<ImmutableArray<int>> Place(ControlState state, int firstPartition, int count,
        int replicationFactor)
    {
        var brokers = state.Image.Brokers.Values.Where(b => !b.Fenced && !IsCordoned(b)).Select(b => b.Id).ToArray();
        if (brokers.Length == 0)
            throw new RefusedException(ErrorCode.InvalidReplicationFactor,
                $"Unable to replicate the partition {replicationFactor} time(s): All brokers are currently fenced, or "
                + "have all their log directories cordoned.");
        if (replicationFactor > brokers.Length)
            throw new RefusedException(ErrorCode.InvalidReplicationFactor,
                $"Unable to replicate the partition {replicationFactor} time(s): The target replication factor of "
                + $"{replicationFactor} cannot be reached because only {brokers.Length} broker(s) are registered "
                + "or some brokers have all their log directories cordoned.");
        var result = new List<ImmutableArray<int>>(count);
        for (var partition = firstPartition; partition < firstPartition + count; partition++)
        {
            var replicas = ImmutableArray.CreateBuilder<int>(replicationFactor);
            for (var i = 0; i < replicationFactor; i++)
                replicas.Add(brokers[(partition + i) % brokers.Length]);
            result.Add(replicas.MoveToImmutable());
        }

        return result;
    }

    /// <summary>Checks an assignment that a client chose.</summary>
    /// <exception cref="RefusedException">It names no broker, an unknown one, or one twice, or has the wrong
    /// length.</exception>
    public static void CheckManual(ControlState state, IReadOnlyList<int> replicas, int? replicationFactor)
    {
        if (replicas.Count == 0)
            throw Invalid("The manual partition assignment includes an empty replica list.");
        int? previous = null;
        foreach (var id in replicas.Order())
        {
            if (!state.Image.Brokers.ContainsKey(id))
                throw Invalid(
                    $"The manual partition assignment includes broker {id}, but no such broker is registered.");
            if (id == previous)
                throw Invalid($"The manual partition assignment includes the broker {id} more than once.");
            previous = id;
        }

        if (replicationFactor is { } factor && replicas.Count != factor)
            throw Invalid($"The manual partition assignment includes a partition with {replicas.Count} replica(s), but "
                + $"this is not consistent with previous partitions, which have {factor} replica(s).");
    }

    /// <summary>The record of a new partition: led by its first replica that takes part.</summary>
    /// <exception cref="RefusedException">None of the replicas takes part.</exception>
    public static MetadataRecord NewPartition(ControlState state, Uuid topicId, int partitionId,
        ImmutableArray<int> replicas)
    {
        var brokers = state.Image.Brokers;
        List<int> isr = [.. replicas.Where(id => brokers[id] is { Fenced: false, InControlledShutdown: false })];
        if (isr.Count == 0)
            throw Invalid($"All brokers specified in the manual partition assignment for partition {partitionId} are "
                + "fenced or in controlled shutdown.");
        var record = new PartitionRecord
        {
            PartitionId = partitionId,
            TopicId = topicId,
            Replicas = [.. replicas],
            Isr = isr,
            Leader = isr[0],
            LeaderEpoch = 0,
            PartitionEpoch = 0,
            Directories = state.Versions.HasDirectories
                ? [.. replicas.Select(id => DefaultDirectory(brokers[id]))] : [],
        };
        return new(record, state.Versions.Partition);
    }

    private static RefusedException Invalid(string message) => new(ErrorCode.InvalidReplicaAssignment, message);

    // With several directories the broker chooses, and then says which (AssignReplicasToDirs).
    private static Uuid DefaultDirectory(BrokerRegistration broker) =>
        broker.LogDirs.Length == 1 ? broker.LogDirs[0] : DirectoryIds.Unassigned;

    private static bool IsCordoned(BrokerRegistration broker) =>
        broker.CordonedLogDirs is { IsEmpty: false } cordoned && !broker.LogDirs.IsEmpty
            && broker.LogDirs.All(cordoned.Contains);
}
