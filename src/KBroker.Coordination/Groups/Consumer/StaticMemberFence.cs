using System.Diagnostics.CodeAnalysis;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>Who may act under an instance id (KIP-345).</summary>
internal static class StaticMemberFence
{
    /// <summary>Refuses an instance id that the group does not have.</summary>
    /// <param name="member">The member that has it.</param>
    /// <param name="instanceId">The instance id.</param>
    /// <exception cref="CoordinatorException">UNKNOWN_MEMBER_ID.</exception>
    public static ConsumerMember Require([NotNull] ConsumerMember? member, string instanceId) => member
        ?? throw new CoordinatorException(ErrorCode.UnknownMemberId, $"Instance id {instanceId} is unknown.");

    /// <summary>Refuses a member whose instance id another member has taken.</summary>
    /// <param name="member">The member that has it.</param>
    /// <param name="memberId">Who acts.</param>
    /// <param name="instanceId">The instance id.</param>
    /// <exception cref="CoordinatorException">FENCED_INSTANCE_ID.</exception>
    public static void CheckOwner(ConsumerMember member, string memberId, string instanceId)
    {
        if (member.MemberId != memberId)
        {
            throw new CoordinatorException(
                ErrorCode.FencedInstanceId,
                $"Static member {memberId} with instance id {instanceId} was fenced by member {member.MemberId}.");
        }
    }

    /// <summary>Refuses an instance id that its member has not released by leaving.</summary>
    /// <param name="member">The member that has it.</param>
    /// <param name="memberId">Who wants it.</param>
    /// <param name="instanceId">The instance id.</param>
    /// <exception cref="CoordinatorException">UNRELEASED_INSTANCE_ID.</exception>
    public static void CheckReleased(ConsumerMember member, string memberId, string instanceId)
    {
        if (member.MemberEpoch != ConsumerMember.StaticLeaveEpoch)
        {
            throw new CoordinatorException(
                ErrorCode.UnreleasedInstanceId,
                $"Static member {memberId} with instance id {instanceId} cannot join the group because the instance " +
                $"id is owned by {member.MemberId} member.");
        }
    }
}
