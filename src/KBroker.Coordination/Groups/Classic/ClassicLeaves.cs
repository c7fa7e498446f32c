using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>LeaveGroup: members that go, or that an administrator removes by their instance id.</summary>
/// <param name="options">Log.</param>
/// <param name="rebalance">Rebalances.</param>
internal sealed class ClassicLeaves(GroupShardOptions options, ClassicRebalance rebalance)
{
    /// <summary>Removes members; those that stay rebalance once.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="members">Who goes: a member id, or an instance id with an empty member id, or both.</param>
    /// <returns>One answer for each.</returns>
    public LeaveGroupResponse Leave(
        ICoordinatorTurn turn, ClassicGroup group, IReadOnlyList<LeaveGroupRequest.MemberIdentity> members)
    {
        var response = new LeaveGroupResponse();
        var hasLeft = false;
        foreach (var identity in members)
        {
            var error = LeaveOne(turn, group, identity);
            hasLeft |= error == ErrorCode.None;
            response.Members.Add(new LeaveGroupResponse.MemberResponse
            {
                MemberId = identity.MemberId,
                GroupInstanceId = identity.GroupInstanceId,
                ErrorCode = error,
            });
        }

        if (!hasLeft)
            return response;
        if (group.State is ClassicGroupState.Stable or ClassicGroupState.CompletingRebalance)
            rebalance.StartOrComplete(turn, group, "members left");
        else
            rebalance.CompleteIfAllJoined(turn, group);
        return response;
    }

    private ErrorCode LeaveOne(ICoordinatorTurn turn, ClassicGroup group, LeaveGroupRequest.MemberIdentity identity)
    {
        var memberId = identity.MemberId;
        if (memberId.Length == 0)
        {
            if (identity.GroupInstanceId is null || group.FindStaticMember(identity.GroupInstanceId) is not { } current)
                return ErrorCode.UnknownMemberId;
            memberId = current;
        }
        else if (group.IsPending(memberId))
        {
            group.Remove(memberId);
            rebalance.Sessions.StopPending(turn, group, memberId);
            return ErrorCode.None;
        }
        else if (group.CheckMember(memberId, identity.GroupInstanceId) is not ErrorCode.None and var error)
        {
            return error;
        }

        options.Logger.LogInformation("Member {Member} leaves group {Group}: {Reason}",
            memberId, group.GroupId, identity.Reason ?? "no reason given");
        rebalance.Remove(turn, group, group.FindMember(memberId)!);
        return ErrorCode.None;
    }
}
