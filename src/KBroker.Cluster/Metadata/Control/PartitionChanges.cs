using System.Collections.Immutable;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>ElectLeaders, AlterPartition and the reassignments.</summary>
internal static class PartitionChanges
{
    private const sbyte PreferredElection = 0;
    private const sbyte UncleanElection = 1;

    public static Change<ElectLeadersResponse> Elect(ControlState state, ElectLeadersRequest request,
        short requestVersion)
    {
        var type = requestVersion == 0 ? PreferredElection : request.ElectionType;
        if (type is not (PreferredElection or UncleanElection))
            return Change<ElectLeadersResponse>.Nothing(new() { ErrorCode = ErrorCode.InvalidRequest });
        var response = new ElectLeadersResponse();
        var records = new List<MetadataRecord>();
        var asked = request.TopicPartitions?.Select(t => (t.Topic, Partitions: (IEnumerable<int>)t.Partitions))
            ?? state.Image.Topics.ByName.Values.Select(t => (t.Name, Enumerable.Range(0, t.Partitions.Length)));
        foreach (var (name, partitions) in asked)
        {
            var results = new List<ElectLeadersResponse.PartitionResult>();
            foreach (var id in partitions)
            {
                var (error, message) = ElectOne(state, name, id, type, records);
                // Asked for everything, Kafka names only what was, or should have been, changed.
                if (request.TopicPartitions is not null || error != ErrorCode.ElectionNotNeeded)
                    results.Add(new() { PartitionId = id, ErrorCode = error, ErrorMessage = message });
            }

            response.ReplicaElectionResults.Add(new() { Topic = name, PartitionResult = results });
        }

        return new(response, records);
    }

    public static Change<AlterPartitionReassignmentsResponse> Reassign(
        ControlState state, AlterPartitionReassignmentsRequest request)
    {
        var response = new AlterPartitionReassignmentsResponse
        {
            AllowReplicationFactorChange = request.AllowReplicationFactorChange,
            ErrorMessage = null,
        };
        var records = new List<MetadataRecord>();
        foreach (var topic in request.Topics)
        {
            var results = new List<AlterPartitionReassignmentsResponse.ReassignablePartitionResponse>();
            foreach (var partition in topic.Partitions)
            {
                var result = new AlterPartitionReassignmentsResponse.ReassignablePartitionResponse
                {
                    PartitionIndex = partition.PartitionIndex,
                    ErrorMessage = null,
                };
                try
                {
                    ReassignOne(state, topic.Name, partition, request.AllowReplicationFactorChange, records);
                }
                catch (RefusedException e)
                {
                    result.ErrorCode = e.Error;
                    result.ErrorMessage = e.Text;
                }

                results.Add(result);
            }

            response.Responses.Add(new() { Name = topic.Name, Partitions = results });
        }

        return new(response, records);
    }

    public static Change<ListPartitionReassignmentsResponse> ListReassignments(
        ControlState state, ListPartitionReassignmentsRequest request)
    {
        var response = new ListPartitionReassignmentsResponse { ErrorMessage = null };
        var topics = request.Topics is { } asked
            ? asked.Select(t => (Topic: state.Image.Topics.Find(t.Name), Wanted: (ICollection<int>?)t.PartitionIndexes))
            : state.Image.Topics.ByName.Values.Select(t => ((TopicImage?)t, (ICollection<int>?)null));
        foreach (var (topic, wanted) in topics)
        {
            var ongoing = topic?.Partitions
                .Where(p => !p.AddingReplicas.IsEmpty || !p.RemovingReplicas.IsEmpty)
                .Where(p => wanted?.Contains(p.PartitionId) ?? true)
                .Select(p => new ListPartitionReassignmentsResponse.OngoingPartitionReassignment
                {
                    PartitionIndex = p.PartitionId,
                    Replicas = [.. p.Replicas],
                    AddingReplicas = [.. p.AddingReplicas],
                    RemovingReplicas = [.. p.RemovingReplicas],
                }).ToList();
            if (ongoing is { Count: > 0 })
                response.Topics.Add(new() { Name = topic!.Name, Partitions = ongoing });
        }

        return Change<ListPartitionReassignmentsResponse>.Nothing(response);
    }

    public static Change<AlterPartitionResponse> AlterPartition(ControlState state, AlterPartitionRequest request)
    {
        if (!state.Image.Brokers.TryGetValue(request.BrokerId, out var sender) || sender.Epoch != request.BrokerEpoch)
            return Change<AlterPartitionResponse>.Nothing(new() { ErrorCode = ErrorCode.StaleBrokerEpoch });
        var response = new AlterPartitionResponse();
        var records = new List<MetadataRecord>();
        foreach (var topic in request.Topics)
        {
            var results = new List<AlterPartitionResponse.PartitionData>();
            foreach (var asked in topic.Partitions)
            {
                var result = new AlterPartitionResponse.PartitionData { PartitionIndex = asked.PartitionIndex };
                try
                {
                    var partition = state.Image.Topics.Find(topic.TopicId)?.Partition(asked.PartitionIndex)
                        ?? throw new RefusedException(ErrorCode.UnknownTopicId, null);
                    var (isr, change) = ChangeIsr(state, request.BrokerId, topic.TopicId, partition, asked);
                    records.Add(change);
                    result.LeaderId = partition.Leader;
                    result.LeaderEpoch = partition.LeaderEpoch;
                    result.Isr = isr;
                    result.LeaderRecoveryState = asked.LeaderRecoveryState;
                    result.PartitionEpoch = partition.PartitionEpoch + 1;
                }
                catch (RefusedException e)
                {
                    result.ErrorCode = e.Error;
                }

                results.Add(result);
            }

            response.Topics.Add(new() { TopicId = topic.TopicId, Partitions = results });
        }

        return new(response, records);
    }

    private static (ErrorCode, string?) ElectOne(
        ControlState state, string name, int id, sbyte type, List<MetadataRecord> records)
    {
        if (state.Image.Topics.Find(name) is not { } topic)
            return (ErrorCode.UnknownTopicOrPartition, $"No such topic as {name}");
        if (topic.Partition(id) is not { } partition)
            return (ErrorCode.UnknownTopicOrPartition, $"No such partition as {name}-{id}");
        var preferred = partition.Replicas[0];
        if (type == PreferredElection ? partition.Leader == preferred : partition.Leader != PartitionImage.NoLeader)
            return (ErrorCode.ElectionNotNeeded, "Leader election not needed for topic partition.");
        var candidate = type == PreferredElection
            ? (partition.Isr.Contains(preferred) && DirectoryChanges.MayServe(state, partition, preferred)
                ? preferred : PartitionImage.NoLeader)
            : partition.Isr.Concat(partition.EligibleLeaderReplicas).Concat(partition.Replicas)
                .FirstOrDefault(b => DirectoryChanges.MayServe(state, partition, b), PartitionImage.NoLeader);
        if (candidate == PartitionImage.NoLeader)
            return type == PreferredElection
                ? (ErrorCode.PreferredLeaderNotAvailable, "The preferred leader was not available.")
                : (ErrorCode.EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.");
        var isClean = partition.Isr.Contains(candidate) || partition.EligibleLeaderReplicas.Contains(candidate);
        var change = new PartitionChangeRecord
        {
            TopicId = topic.Id,
            PartitionId = id,
            Leader = candidate,
            Isr = partition.Isr.Contains(candidate) ? null : [candidate],
            LeaderRecoveryState = isClean ? (sbyte)-1 : (sbyte)1,
        };
        records.Add(new(ClearElr(state, partition, change), state.Versions.Partition));
        return (ErrorCode.None, null);
    }

    private static void ReassignOne(
        ControlState state, string name, AlterPartitionReassignmentsRequest.ReassignablePartition asked,
        bool mayChangeFactor, List<MetadataRecord> records)
    {
        var topic = state.Image.Topics.Find(name)
            ?? throw new RefusedException(ErrorCode.UnknownTopicOrPartition, $"Unable to find a topic named {name}.");
        var partition = topic.Partition(asked.PartitionIndex) ?? throw new RefusedException(
            ErrorCode.UnknownTopicOrPartition, $"Unable to find partition {name}:{asked.PartitionIndex}.");
        if (asked.Replicas is not { } target)
            throw new RefusedException(ErrorCode.NoReassignmentInProgress, null);
        ReplicaPlacement.CheckManual(state, target, null);
        if (!mayChangeFactor && target.Count != partition.Replicas.Length)
            throw new RefusedException(ErrorCode.InvalidReplicationFactor,
                $"The replication factor is changed from {partition.Replicas.Length} to {target.Count}");
        if (partition.Replicas.SequenceEqual(target))
            return;
        List<int> isr = [.. partition.Isr.Where(target.Contains)];
        if (target.Except(partition.Replicas).Any() || isr.Count == 0)
            throw new RefusedException(ErrorCode.InvalidReplicaAssignment,
                $"Partition {name}-{asked.PartitionIndex} can only be moved to replicas that are in sync already: this "
                + "cluster has one broker, and no replica could be copied to another.");
        var change = new PartitionChangeRecord
        {
            TopicId = topic.Id,
            PartitionId = asked.PartitionIndex,
            Replicas = target,
            Isr = isr,
            Leader = isr.Contains(partition.Leader) ? PartitionImage.NoLeaderChange : isr[0],
        };
        if (state.Versions.HasDirectories)
            change.Directories = [.. target.Select(partition.DirectoryOf)];
        records.Add(new(ClearElr(state, partition, change), state.Versions.Partition));
    }

    private static (List<int> Isr, MetadataRecord Change) ChangeIsr(
        ControlState state, int sender, Uuid topicId, PartitionImage partition,
            AlterPartitionRequest.PartitionData asked)
    {
        if (asked.LeaderEpoch < partition.LeaderEpoch)
            throw new RefusedException(ErrorCode.FencedLeaderEpoch, null);
        if (asked.LeaderEpoch > partition.LeaderEpoch || asked.PartitionEpoch > partition.PartitionEpoch)
            throw new RefusedException(ErrorCode.NotController, null);
        if (partition.Leader != sender)
            throw new RefusedException(ErrorCode.InvalidRequest, null);
        if (asked.PartitionEpoch < partition.PartitionEpoch)
            throw new RefusedException(ErrorCode.InvalidUpdateVersion, null);
        List<int> isr = asked.NewIsrWithEpochs.Count > 0
            ? [.. asked.NewIsrWithEpochs.Select(b => b.BrokerId)] : asked.NewIsr;
        if (!isr.Contains(sender) || isr.Except(partition.Replicas).Any() || isr.Distinct().Count() != isr.Count)
            throw new RefusedException(ErrorCode.InvalidRequest, null);
        var stale = asked.NewIsrWithEpochs.Any(b => b.BrokerEpoch != -1
            && state.Image.Brokers.TryGetValue(b.BrokerId, out var known) && known.Epoch != b.BrokerEpoch);
        if (stale || !isr.TrueForAll(b => IsActive(state, b)))
            throw new RefusedException(ErrorCode.IneligibleReplica, null);
        var change = new PartitionChangeRecord
        {
            TopicId = topicId,
            PartitionId = asked.PartitionIndex,
            Isr = isr,
            LeaderRecoveryState = asked.LeaderRecoveryState == partition.LeaderRecoveryState
                ? (sbyte)-1 : asked.LeaderRecoveryState,
        };
        return (isr, new(change, state.Versions.Partition));
    }

    /// <summary>A partition with a leader and a new ISR needs no candidates any more.</summary>
    public static PartitionChangeRecord ClearElr(ControlState state, PartitionImage partition,
        PartitionChangeRecord change)
    {
        if (!state.Versions.HasElr || change.Isr is null)
            return change;
        if (!partition.EligibleLeaderReplicas.IsEmpty)
            change.EligibleLeaderReplicas = [];
        if (!partition.LastKnownElr.IsEmpty)
            change.LastKnownElr = [];
        return change;
    }

    private static bool IsActive(ControlState state, int brokerId) =>
        state.Image.Brokers.TryGetValue(brokerId, out var b) && b is { Fenced: false, InControlledShutdown: false };
}
