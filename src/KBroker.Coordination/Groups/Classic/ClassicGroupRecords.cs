using KBroker.Coordination.Runtime;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>A classic group as its record in <c>__consumer_offsets</c>, and back.</summary>
internal static class ClassicGroupRecords
{
    /// <summary>The version Kafka 4.3 writes: with instance ids, without tagged fields.</summary>
    public const short ValueVersion = 3;

    /// <summary>The key of a group's record.</summary>
    /// <param name="groupId">The group.</param>
    public static GroupMetadataKey KeyOf(string groupId) => new() { Group = groupId };

    /// <summary>The record that says what the group is now.</summary>
    /// <param name="group">The group.</param>
    public static CoordinatorRecord Snapshot(ClassicGroup group)
    {
        var value = new GroupMetadataValue
        {
            ProtocolType = group.ProtocolType,
            Generation = group.GenerationId,
            Protocol = group.ProtocolName,
            Leader = group.LeaderId,
            CurrentStateTimestamp = group.StateTimestampMs ?? -1,
        };
        foreach (var member in group.Members)
        {
            value.Members.Add(new GroupMetadataValue.MemberMetadata
            {
                MemberId = member.MemberId,
                GroupInstanceId = member.InstanceId,
                ClientId = member.Client.ClientId,
                ClientHost = member.Client.ClientHost,
                RebalanceTimeout = member.RebalanceTimeoutMs,
                SessionTimeout = member.SessionTimeoutMs,
                Subscription = member.MetadataOf(group.ProtocolName),
                Assignment = member.Assignment,
            });
        }

        return new CoordinatorRecord(KeyOf(group.GroupId), value, ValueVersion);
    }

    /// <summary>The group that a record describes: stable, or empty.</summary>
    /// <param name="groupId">The group.</param>
    /// <param name="value">The record.</param>
    public static ClassicGroup Read(string groupId, GroupMetadataValue value)
    {
        var group = new ClassicGroup(groupId);
        group.Restore(value, value.Members.Select(member => new ClassicMember
        {
            MemberId = member.MemberId,
            InstanceId = member.GroupInstanceId,
            Client = new GroupClient(member.ClientId, member.ClientHost),
            ProtocolType = value.ProtocolType,
            RebalanceTimeoutMs = member.RebalanceTimeout < 0 ? member.SessionTimeout : member.RebalanceTimeout,
            SessionTimeoutMs = member.SessionTimeout,
            Protocols = [new ClassicProtocol(value.Protocol ?? "", member.Subscription)],
            Assignment = member.Assignment,
        }));
        return group;
    }
}
