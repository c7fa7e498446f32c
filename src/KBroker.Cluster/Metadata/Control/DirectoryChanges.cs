using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>Where brokers keep their replicas (AssignReplicasToDirs), and directories that fail.</summary>
internal static class DirectoryChanges
{
    private const short RegistrationChangeWithDirectories = 2;
    private const short RegistrationChangeWithCordoned = 3;

    /// <summary>A broker says in which directories its replicas lie.</summary>
    public static Change<AssignReplicasToDirsResponse> Assign(ControlState state, AssignReplicasToDirsRequest request)
    {
        var error = !state.Versions.HasDirectories ? ErrorCode.UnsupportedVersion
            : !state.Image.Brokers.TryGetValue(request.BrokerId, out var broker) ? ErrorCode.BrokerIdNotRegistered
            : broker.Epoch != request.BrokerEpoch ? ErrorCode.StaleBrokerEpoch : ErrorCode.None;
        if (error != ErrorCode.None)
            return Change<AssignReplicasToDirsResponse>.Nothing(new() { ErrorCode = error });
        var response = new AssignReplicasToDirsResponse();
        var records = new List<MetadataRecord>();
        var registration = state.Image.Brokers[request.BrokerId];
        foreach (var directory in request.Directories)
        {
            var answer = new AssignReplicasToDirsResponse.DirectoryData { Id = directory.Id };
            response.Directories.Add(answer);
            foreach (var topic in directory.Topics)
            {
                answer.Topics.Add(new()
                {
                    TopicId = topic.TopicId,
                    Partitions = topic.Partitions.ConvertAll(p => new AssignReplicasToDirsResponse.PartitionData
                    {
                        PartitionIndex = p.PartitionIndex,
                        ErrorCode = AssignOne(
                            state, registration, directory.Id, topic.TopicId, p.PartitionIndex, records),
                    }),
                });
            }
        }

        return new(response, records);
    }

    /// <summary>The records for directories of a broker that failed: it leads nothing in them any more.</summary>
    /// <param name="state">What the change builds on.</param>
    /// <param name="brokerId">The broker.</param>
    /// <param name="epoch">Its epoch.</param>
    /// <param name="failed">The directories; those that are not registered are left out.</param>
    public static List<MetadataRecord> Fail(
        ControlState state, int brokerId, long epoch, IReadOnlyCollection<Uuid> failed)
    {
        var broker = Registered(state, brokerId, epoch);
        var rest = broker.LogDirs.RemoveAll(failed.Contains);
        // A registration without any directory would say that the broker knows of none.
        if (!state.Versions.HasDirectories || rest.Length == broker.LogDirs.Length || rest.IsEmpty)
            return [];
        var records = new List<MetadataRecord>();
        foreach (var topic in state.Image.Topics.ByName.Values)
        {
            foreach (var partition in topic.Partitions)
            {
                if (failed.Contains(partition.DirectoryOf(brokerId)))
                    AddOffline(state, topic.Id, partition, brokerId, records);
            }
        }

        var change = new BrokerRegistrationChangeRecord
        {
            BrokerId = brokerId,
            BrokerEpoch = epoch,
            LogDirs = [.. rest],
        };
        records.Add(new(change, RegistrationChangeWithDirectories));
        return records;
    }

    /// <summary>The record for the directories of a broker that take no new replicas.</summary>
    /// <param name="state">What the change builds on.</param>
    /// <param name="brokerId">The broker.</param>
    /// <param name="epoch">Its epoch.</param>
    /// <param name="cordoned">All that are cordoned now.</param>
    public static List<MetadataRecord> Cordon(
        ControlState state, int brokerId, long epoch, IReadOnlyCollection<Uuid> cordoned)
    {
        var broker = Registered(state, brokerId, epoch);
        if (!state.Versions.HasCordonedDirectories || (broker.CordonedLogDirs ?? []).ToHashSet().SetEquals(cordoned))
            return [];
        var change = new BrokerRegistrationChangeRecord
        {
            BrokerId = brokerId,
            BrokerEpoch = epoch,
            CordonedLogDirs = [.. cordoned],
        };
        return [new(change, RegistrationChangeWithCordoned)];
    }

    /// <summary>
    /// Takes a replica whose directory is offline out of the ISR. The last one stays a candidate, so that it leads
    /// again when the directory is back: nobody else has the records.
    /// </summary>
    public static void AddOffline(
        ControlState state, Uuid topicId, PartitionImage partition, int brokerId, List<MetadataRecord> records)
    {
        if (partition.Leader != brokerId && !partition.Isr.Contains(brokerId))
            return;
        var change = new PartitionChangeRecord { TopicId = topicId, PartitionId = partition.PartitionId };
        var rest = partition.Isr.Remove(brokerId);
        if (partition.Leader == brokerId)
            change.Leader = rest.FirstOrDefault(id => MayServe(state, partition, id), PartitionImage.NoLeader);
        if (!rest.IsEmpty)
        {
            change.Isr = [.. rest];
        }
        else if (state.Versions.HasElr && state.IsElrEnabled)
        {
            change.Isr = [];
            change.EligibleLeaderReplicas = [.. partition.EligibleLeaderReplicas.Union([brokerId])];
            change.LastKnownElr = [brokerId];
        }

        records.Add(new(change, state.Versions.Partition));
    }

    /// <summary>Whether a broker takes part, and the directory of its replica works.</summary>
    public static bool MayServe(ControlState state, PartitionImage partition, int brokerId) =>
        state.Image.Brokers.TryGetValue(brokerId, out var broker)
        && broker is { Fenced: false, InControlledShutdown: false }
        && DirectoryIds.IsOnline(partition.DirectoryOf(brokerId), broker.LogDirs);

    private static BrokerRegistration Registered(ControlState state, int brokerId, long epoch)
    {
        if (!state.Image.Brokers.TryGetValue(brokerId, out var broker))
            throw new ControllerException(ErrorCode.BrokerIdNotRegistered, $"Broker {brokerId} is not registered.");
        return broker.Epoch == epoch
            ? broker
            : throw new ControllerException(ErrorCode.StaleBrokerEpoch,
                $"Broker {brokerId} has epoch {broker.Epoch}, not {epoch}.");
    }

    private static ErrorCode AssignOne(
        ControlState state, BrokerRegistration broker, Uuid directory, Uuid topicId, int index,
        List<MetadataRecord> records)
    {
        if (state.Image.Topics.Find(topicId) is not { } topic)
            return ErrorCode.UnknownTopicId;
        if (topic.Partition(index) is not { } partition)
            return ErrorCode.UnknownTopicOrPartition;
        if (!partition.Replicas.Contains(broker.Id))
            return ErrorCode.NotLeaderOrFollower;
        if (partition.DirectoryOf(broker.Id) == directory)
            return ErrorCode.None;
        var change = new PartitionChangeRecord
        {
            TopicId = topicId,
            PartitionId = index,
            Directories = [.. partition.Replicas.Select(
                id => id == broker.Id ? directory : partition.DirectoryOf(id))],
        };
        if (!DirectoryIds.IsOnline(directory, broker.LogDirs))
        {
            records.Add(new(change, state.Versions.Partition));
            AddOffline(state, topicId, partition, broker.Id, records);
            return ErrorCode.None;
        }

        // It was without a leader because it was thought to be in a directory that is not there.
        if (partition.Leader == PartitionImage.NoLeader && !broker.Fenced && !broker.InControlledShutdown
            && NodeChanges.MayLead(partition, broker.Id))
        {
            change.Leader = broker.Id;
            if (!partition.Isr.Contains(broker.Id))
                change.Isr = [broker.Id];
            change = PartitionChanges.ClearElr(state, partition, change);
        }

        records.Add(new(change, state.Versions.Partition));
        return ErrorCode.None;
    }
}
