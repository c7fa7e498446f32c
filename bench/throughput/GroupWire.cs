using System.Buffers.Binary;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>One member of a group as a raw client sees it: what it must remember between requests.</summary>
internal sealed class GroupMember(string group, ProtocolConnection connection)
{
    internal string Group => group;

    internal ProtocolConnection Connection => connection;

    internal string Id { get; set; } = "";

    /// <summary>Generation or member epoch.</summary>
    internal int Generation { get; set; } = -1;

    /// <summary>The partitions it has; it says so in its next heartbeat when they are new (KIP-848).</summary>
    internal List<int> Owned { get; set; } = [];

    internal bool IsNews { get; set; }

    /// <summary>The frame of its heartbeat in the steady state, which is always the same.</summary>
    internal byte[] Heartbeat { get; set; } = [];
}

/// <summary>The requests of both group protocols, and the checks of their answers.</summary>
internal static class GroupWire
{
    internal const short JoinVersion = 9;
    internal const short SyncVersion = 5;
    internal const short HeartbeatVersion = 4;
    internal const short LeaveVersion = 5;
    internal const short ConsumerHeartbeatVersion = 1;
    internal const int SessionTimeoutMs = 600_000;

    internal static JoinGroupRequest Join(GroupMember member, string topic) => new()
    {
        GroupId = member.Group,
        SessionTimeoutMs = SessionTimeoutMs,
        RebalanceTimeoutMs = SessionTimeoutMs,
        MemberId = member.Id,
        ProtocolType = "consumer",
        Protocols =
        [
            new() { Name = "range", Metadata = Bytes(new ConsumerProtocolSubscription { Topics = [topic] }, 0) },
        ],
    };

    /// <summary>
    /// What the member sends after its join; the leader also says who gets what, partitions in turns.
    /// </summary>
    internal static SyncGroupRequest Sync(GroupMember member, JoinGroupResponse joined, string topic, int partitions)
    {
        var request = new SyncGroupRequest
        {
            GroupId = member.Group,
            GenerationId = joined.GenerationId,
            MemberId = member.Id,
            ProtocolType = "consumer",
            ProtocolName = joined.ProtocolName,
        };
        for (int i = 0; i < joined.Members.Count; i++)
        {
            var assigned = new ConsumerProtocolAssignment { AssignedPartitions = [new() { Topic = topic }] };
            for (int partition = i; partition < partitions; partition += joined.Members.Count)
                assigned.AssignedPartitions[0].Partitions.Add(partition);
            request.Assignments.Add(new() { MemberId = joined.Members[i].MemberId, Assignment = Bytes(assigned, 0) });
        }

        return request;
    }

    internal static HeartbeatRequest Heartbeat(GroupMember member) => new()
    {
        GroupId = member.Group,
        GenerationId = member.Generation,
        MemberId = member.Id,
    };

    internal static LeaveGroupRequest Leave(GroupMember member) =>
        new() { GroupId = member.Group, Members = [new() { MemberId = member.Id }] };

    /// <summary>
    /// The heartbeat of KIP-848: everything when it joins, what it owns when that is news, else only who it is.
    /// </summary>
    internal static ConsumerGroupHeartbeatRequest ConsumerHeartbeat(GroupMember member, string topic, Uuid topicId)
    {
        bool joins = member.Generation == 0;
        return new()
        {
            GroupId = member.Group,
            MemberId = member.Id,
            MemberEpoch = member.Generation,
            RebalanceTimeoutMs = joins ? SessionTimeoutMs : -1,
            SubscribedTopicNames = joins ? [topic] : null,
            TopicPartitions = joins ? []
                : member.IsNews ? [new() { TopicId = topicId, Partitions = [.. member.Owned] }] : null,
        };
    }

    /// <summary>Takes the answer in.</summary>
    /// <returns>Whether something changed.</returns>
    internal static bool Take(GroupMember member, ConsumerGroupHeartbeatResponse answer)
    {
        Check(answer.ErrorCode, $"ConsumerGroupHeartbeat of {member.Group} {answer.ErrorMessage}");
        bool changed = answer.MemberEpoch != member.Generation || answer.Assignment is not null || member.IsNews;
        member.IsNews = false;
        member.Generation = answer.MemberEpoch;
        if (answer.Assignment is { } assignment)
        {
            member.Owned = [.. assignment.TopicPartitions.SelectMany(static t => t.Partitions)];
            member.IsNews = true;
        }

        return changed;
    }

    internal static List<int> PartitionsOf(ReadOnlyMemory<byte> assignment)
    {
        if (assignment.IsEmpty) return [];
        var reader = new ProtocolReader(assignment[sizeof(short)..]);
        return [.. ConsumerProtocolAssignment.Read(ref reader, BinaryPrimitives.ReadInt16BigEndian(assignment.Span))
            .AssignedPartitions.SelectMany(static t => t.Partitions)];
    }

    internal static void Check(ErrorCode error, string what)
    {
        if (error != ErrorCode.None) throw new InvalidOperationException($"{what}: {error}");
    }

    /// <summary>Creates a topic and waits until it is known with its leaders.</summary>
    internal static Uuid CreateTopic(ProtocolConnection connection, string topic, int partitions)
    {
        var create = new CreateTopicsRequest
        {
            Topics = [new() { Name = topic, NumPartitions = partitions, ReplicationFactor = 1 }],
            TimeoutMs = 60_000,
        };
        Check(connection.Call<CreateTopicsResponse>(create, 7).Topics[0].ErrorCode, "CreateTopics");
        while (true)
        {
            var ask = new MetadataRequest { Topics = [new() { Name = topic }] };
            var found = connection.Call<MetadataResponse>(ask, 12).Topics[0];
            if (found.ErrorCode == ErrorCode.None && found.Partitions.Count == partitions
                && found.Partitions.TrueForAll(static p => p.ErrorCode == ErrorCode.None))
            {
                return found.TopicId;
            }

            Thread.Sleep(10);
        }
    }

    /// <summary>Waits until the broker coordinates a group: the first request creates __consumer_offsets.</summary>
    internal static void WaitForCoordinator(ProtocolConnection connection, IEnumerable<string> groups)
    {
        var missing = groups.ToList();
        while (missing.Count > 0)
        {
            var find = new FindCoordinatorRequest { KeyType = 0, CoordinatorKeys = missing };
            var found = connection.Call<FindCoordinatorResponse>(find, 4).Coordinators;
            missing = [.. found.Where(static c => c.ErrorCode != ErrorCode.None).Select(static c => c.Key)];
            if (missing.Count > 0) Thread.Sleep(50);
        }
    }

    private static byte[] Bytes<T>(T message, short version)
        where T : IMessage<T>
    {
        using var writer = new ProtocolWriter();
        writer.WriteInt16(version);
        message.Write(writer, version);
        return writer.ToArray();
    }
}
