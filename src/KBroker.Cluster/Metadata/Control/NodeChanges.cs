using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>Registration of nodes, and what follows from it for partitions; producer ids; the quorum's
/// description.</summary>
internal static class NodeChanges
{
    private const int ProducerIdBlockSize = 1000;

    /// <summary>The record that registers a broker, still fenced.</summary>
    public static List<MetadataRecord> Register(ControlState state, BrokerRegistration broker, long epoch)
    {
        foreach (var (feature, level) in state.Image.Features.Levels)
            if (!broker.Features.TryGetValue(feature, out var range) || !range.Contains(level))
                throw new ControllerException(ErrorCode.UnsupportedVersion,
                    $"Unable to register because the broker does not support finalized version {level} of {feature}. "
                    + $"The broker wants {range?.ToString() ?? "none of it"}.");
        var record = (broker with { Epoch = epoch, Fenced = true, InControlledShutdown = false }).ToRecord();
        return [new(state.Versions.Trim(record), state.Versions.RegisterBroker)];
    }

    /// <summary>
    /// The records that let a registered broker take part: it leads again what nobody else leads, but for what lies in
    /// a directory that it has not registered. After a crash it leads in a new epoch, so that a client that read
    /// records which the crash took away can tell.
    /// </summary>
    public static List<MetadataRecord> Unfence(ControlState state, int brokerId, long epoch, bool cleanShutdown)
    {
        var records = new List<MetadataRecord>
        {
            new(new BrokerRegistrationChangeRecord { BrokerId = brokerId, BrokerEpoch = epoch, Fenced = -1 }, 0),
        };
        var online = state.Image.Brokers[brokerId].LogDirs;
        foreach (var topic in state.Image.Topics.ByName.Values)
            foreach (var partition in topic.Partitions)
            {
                if (!partition.Replicas.Contains(brokerId))
                    continue;
                if (!DirectoryIds.IsOnline(partition.DirectoryOf(brokerId), online))
                {
                    DirectoryChanges.AddOffline(state, topic.Id, partition, brokerId, records);
                    continue;
                }

                var change = new PartitionChangeRecord
                {
                    TopicId = topic.Id,
                    PartitionId = partition.PartitionId,
                    Leader = brokerId,
                };
                if (partition.Leader == brokerId && partition.Isr.Contains(brokerId))
                {
                    if (!cleanShutdown)
                        records.Add(new(change, state.Versions.Partition));
                }
                else if (partition.Leader == PartitionImage.NoLeader && MayLead(partition, brokerId))
                {
                    if (!partition.Isr.Contains(brokerId))
                        change.Isr = [brokerId];
                    records.Add(new(PartitionChanges.ClearElr(state, partition, change), state.Versions.Partition));
                }
            }

        return records;
    }

    public static List<MetadataRecord> BeginShutdown(ControlState state, int brokerId, long epoch)
    {
        if (!state.Image.Brokers.TryGetValue(brokerId, out var broker))
            throw new ControllerException(ErrorCode.BrokerIdNotRegistered,
                $"Broker ID {brokerId} is not currently registered");
        if (broker.Epoch != epoch)
            throw new ControllerException(ErrorCode.StaleBrokerEpoch,
                $"Broker {brokerId} has epoch {broker.Epoch}, not {epoch}.");
        if (broker.Fenced)
            return [];
        var change = new BrokerRegistrationChangeRecord
        {
            BrokerId = brokerId,
            BrokerEpoch = epoch,
            Fenced = 1,
            InControlledShutdown = 1,
        };
        return [new(change, 1)];
    }

    public static Change<UnregisterBrokerResponse> Unregister(ControlState state, UnregisterBrokerRequest request)
    {
        if (!state.Image.Brokers.TryGetValue(request.BrokerId, out var broker))
            return Change<UnregisterBrokerResponse>.Nothing(new()
            {
                ErrorCode = ErrorCode.BrokerIdNotRegistered,
                ErrorMessage = $"Broker ID {request.BrokerId} is not currently registered",
            });
        if (request.BrokerId == state.NodeId)
            return Change<UnregisterBrokerResponse>.Nothing(new()
            {
                ErrorCode = ErrorCode.InvalidRequest,
                ErrorMessage = $"Broker ID {request.BrokerId} is this node; it cannot be unregistered while it runs.",
            });
        var records = new List<MetadataRecord>();
        foreach (var topic in state.Image.Topics.ByName.Values)
            foreach (var partition in topic.Partitions)
                if (partition.Leader == broker.Id || partition.Isr.Contains(broker.Id))
                    records.Add(Leave(state, topic, partition, broker.Id));
        records.Add(new(new UnregisterBrokerRecord { BrokerId = broker.Id, BrokerEpoch = broker.Epoch }, 0));
        return new(new(), records);
    }

    public static Change<AllocateProducerIdsResponse> AllocateProducerIds(
        ControlState state, AllocateProducerIdsRequest request)
    {
        var error = !state.Image.Brokers.TryGetValue(request.BrokerId, out var broker) ? ErrorCode.BrokerIdNotRegistered
            : broker.Epoch != request.BrokerEpoch ? ErrorCode.StaleBrokerEpoch : ErrorCode.None;
        if (error != ErrorCode.None)
            return Change<AllocateProducerIdsResponse>.Nothing(new() { ErrorCode = error });
        var start = state.Image.NextProducerId;
        if (start > long.MaxValue - ProducerIdBlockSize)
            return Change<AllocateProducerIdsResponse>.Nothing(new() { ErrorCode = ErrorCode.UnknownServerError });
        var record = new ProducerIdsRecord
        {
            BrokerId = request.BrokerId,
            BrokerEpoch = request.BrokerEpoch,
            NextProducerId = start
                + ProducerIdBlockSize,
        };
        return new(new() { ProducerIdStart = start, ProducerIdLen = ProducerIdBlockSize }, [new(record, 0)]);
    }

    public static DescribeQuorumResponse DescribeQuorum(
        MetadataImage image, QuorumDescription quorum, DescribeQuorumRequest request)
    {
        var response = new DescribeQuorumResponse { ErrorMessage = "" };
        foreach (var topic in request.Topics)
        {
            var partitions = topic.Partitions.ConvertAll(p =>
                topic.TopicName == TopicNames.ClusterMetadata && p.PartitionIndex == 0
                    ? Describe(quorum)
                    : new DescribeQuorumResponse.PartitionData
                    {
                        PartitionIndex = p.PartitionIndex,
                        ErrorCode = ErrorCode.UnknownTopicOrPartition,
                        ErrorMessage = Texts.UnknownTopicOrPartition,
                    });
            response.Topics.Add(new() { TopicName = topic.TopicName, Partitions = partitions });
            if (partitions.Exists(p => p.ErrorCode == ErrorCode.None))
                response.Nodes = Nodes(image, quorum);
        }

        return response;
    }

    /// <summary>Whether a replica may lead a partition that has no leader, without losing records.</summary>
    public static bool MayLead(PartitionImage partition, int brokerId) =>
        partition.Isr.Contains(brokerId)
        || partition.EligibleLeaderReplicas.Contains(brokerId)
        || (partition.Isr.IsEmpty && partition.EligibleLeaderReplicas.IsEmpty
            && (partition.LastKnownElr.Contains(brokerId) || partition.Replicas.Length == 1));

    private static MetadataRecord Leave(ControlState state, TopicImage topic, PartitionImage partition, int brokerId)
    {
        var rest = partition.Isr.Remove(brokerId);
        var change = new PartitionChangeRecord
        {
            TopicId = topic.Id,
            PartitionId = partition.PartitionId,
            Isr = [.. rest]
        };
        if (partition.Leader == brokerId)
            change.Leader = rest.IsEmpty ? PartitionImage.NoLeader : rest[0];
        if (rest.IsEmpty && state.Versions.HasElr && state.IsElrEnabled)
            change.LastKnownElr = [brokerId];
        return new(change, state.Versions.Partition);
    }

    private static DescribeQuorumResponse.PartitionData Describe(QuorumDescription quorum) => new()
    {
        ErrorMessage = "",
        LeaderId = quorum.LeaderId,
        LeaderEpoch = quorum.LeaderEpoch,
        HighWatermark = quorum.HighWatermark,
        CurrentVoters = [.. quorum.Voters.Select(State)],
        Observers = [.. quorum.Observers.Select(State)],
    };

    private static DescribeQuorumResponse.ReplicaState State(QuorumReplica replica) => new()
    {
        ReplicaId = replica.NodeId,
        ReplicaDirectoryId = replica.DirectoryId,
        LogEndOffset = replica.LogEndOffset,
        LastFetchTimestamp = replica.LastFetchTimestampMs,
        LastCaughtUpTimestamp = replica.LastCaughtUpTimestampMs,
    };

    private static List<DescribeQuorumResponse.Node> Nodes(MetadataImage image, QuorumDescription quorum) =>
        [.. quorum.Voters.Where(v => image.Controllers.ContainsKey(v.NodeId)).Select(v =>
            new DescribeQuorumResponse.Node
        {
            NodeId = v.NodeId,
            Listeners = [.. image.Controllers[v.NodeId].Endpoints.Select(e => new DescribeQuorumResponse.Listener
            {
                Name = e.Name, Host = e.Host, Port = (ushort)e.Port,
            })],
        })];
}
