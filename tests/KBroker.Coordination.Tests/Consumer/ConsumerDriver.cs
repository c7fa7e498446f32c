using KBroker.Coordination.Groups;
using KBroker.Coordination.Groups.Consumer;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Owned = KBroker.Protocol.Messages.ConsumerGroupHeartbeatRequest.TopicPartitionsData;

namespace KBroker.Coordination.Tests.Consumer;

/// <summary>Sends ConsumerGroupHeartbeats to a shard, as handlers do.</summary>
internal static class ConsumerDriver
{
    public static readonly GroupClient Client = new("client", "/127.0.0.1");

    /// <summary>A driver whose groups get a new assignment with every change, as Kafka before 4.3.</summary>
    public static ShardDriver Create(params (string Name, string Value)[] configs) =>
        new([("group.consumer.assignment.interval.ms", "0"), .. configs]);

    public static ConsumerGroup Group(this ShardDriver driver, string groupId = "g") =>
        (ConsumerGroup)driver.Shard.Groups.Find(groupId)!;

    public static ConsumerGroupHeartbeatResponse Heartbeat(
        this ShardDriver driver, ConsumerGroupHeartbeatRequest message, short version = 1,
        Predicate<string>? mayDescribe = null, GroupClient? client = null)
    {
        HeartbeatRequestCheck.Check(message, version, ["uniform", "range"]);
        return driver.Run((shard, turn) => shard.Consumer.Heartbeat(
            turn,
            new GroupRequest<ConsumerGroupHeartbeatRequest>(message, version, client ?? Client),
            mayDescribe ?? (static _ => true)));
    }

    public static ConsumerGroupHeartbeatResponse Join(
        this ShardDriver driver, string memberId, string[]? topics, string groupId = "g", string? instance = null,
        string? regex = null, string? assignor = null, int rebalanceTimeoutMs = 300_000) =>
        driver.Heartbeat(new ConsumerGroupHeartbeatRequest
        {
            GroupId = groupId,
            MemberId = memberId,
            InstanceId = instance,
            MemberEpoch = 0,
            RebalanceTimeoutMs = rebalanceTimeoutMs,
            SubscribedTopicNames = topics?.ToList(),
            SubscribedTopicRegex = regex,
            ServerAssignor = assignor,
            TopicPartitions = [],
        });

    /// <summary>A heartbeat at the member's current epoch that says nothing else.</summary>
    public static ConsumerGroupHeartbeatResponse Beat(
        this ShardDriver driver, string memberId, List<Owned>? owned = null, string groupId = "g",
        string? instance = null) =>
        driver.Heartbeat(new ConsumerGroupHeartbeatRequest
        {
            GroupId = groupId,
            MemberId = memberId,
            InstanceId = instance,
            MemberEpoch = driver.Group(groupId).Members[memberId].MemberEpoch,
            TopicPartitions = owned,
        });

    public static ConsumerGroupHeartbeatResponse Leave(
        this ShardDriver driver, string memberId, string groupId = "g", string? instance = null, int epoch = -1) =>
        driver.Heartbeat(new ConsumerGroupHeartbeatRequest
        {
            GroupId = groupId,
            MemberId = memberId,
            InstanceId = instance,
            MemberEpoch = epoch,
        });

    public static List<Owned> Own(string topic, params int[] partitions) =>
        partitions.Length == 0 ? [] : [new Owned { TopicId = Topics.IdOf(topic), Partitions = [.. partitions] }];

    /// <summary>Every member confirms what it was told until nothing changes any more.</summary>
    public static void Settle(this ShardDriver driver, string groupId = "g")
    {
        for (var round = 0; round < 20; round++)
        {
            var before = driver.Log.Count;
            foreach (var member in driver.Group(groupId).Members.Values.ToList())
            {
                if (member.MemberEpoch < 0)
                    continue;
                driver.Beat(member.MemberId, OwnedOf(member), groupId, member.InstanceId);
            }

            if (driver.Log.Count == before)
                return;
        }

        Assert.Fail("The group does not settle.");
    }

    /// <summary>What a member that follows the protocol says it owns: what it is told to, no more.</summary>
    public static List<Owned> OwnedOf(ConsumerMember member)
    {
        var owned = new List<Owned>();
        foreach (var topic in member.Assigned.Topics)
            owned.Add(new Owned { TopicId = topic.TopicId, Partitions = [.. topic.Partitions] });
        return owned;
    }

    public static string Show(this ConsumerGroupHeartbeatResponse response, string topic) =>
        response.Assignment is null
            ? "none"
            : string.Join(',', response.Assignment.TopicPartitions
                .Where(t => t.TopicId == Topics.IdOf(topic)).SelectMany(static t => t.Partitions));

    public static string Assigned(this ShardDriver driver, string memberId, string topic, string groupId = "g") =>
        string.Join(',', driver.Group(groupId).Members[memberId].Assigned.Of(Topics.IdOf(topic)).Partitions);

    public static CoordinatorException Refused(ErrorCode error, Action act)
    {
        var refusal = Assert.Throws<CoordinatorException>(act);
        Assert.Equal(error, refusal.Error);
        return refusal;
    }

    /// <summary>The types of the records from an index on; a tombstone is negative.</summary>
    public static string Kinds(this ShardDriver driver, int from) => string.Join(' ', driver.Log.Skip(from).Select(
        static entry => entry.Record.Value is null ? -entry.Record.Key.RecordType : entry.Record.Key.RecordType));
}
