using KBroker.Coordination.Groups.Classic;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Administration;

/// <summary>What DescribeGroups shows of a classic group.</summary>
internal static class GroupDescriptions
{
    /// <summary>Describes a group. Assignor and metadata are shown of stable groups only.</summary>
    /// <param name="group">The group.</param>
    public static DescribeGroupsResponse.DescribedGroup Of(ClassicGroup group)
    {
        var protocol = group.State == ClassicGroupState.Stable ? group.ProtocolName : null;
        return new DescribeGroupsResponse.DescribedGroup
        {
            GroupId = group.GroupId,
            GroupState = group.StateName,
            ProtocolType = group.ProtocolType,
            ProtocolData = protocol ?? "",
            Members =
            [
                .. group.Members.Select(member => new DescribeGroupsResponse.DescribedGroupMember
                {
                    MemberId = member.MemberId,
                    GroupInstanceId = member.InstanceId,
                    ClientId = member.Client.ClientId,
                    ClientHost = member.Client.ClientHost,
                    MemberMetadata = protocol is null ? default : member.MetadataOf(protocol),
                    MemberAssignment = member.Assignment,
                }),
            ],
        };
    }
}
