using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>SyncGroup: the leader hands in the assignments, every member gets its own.</summary>
/// <param name="rebalance">Rebalances.</param>
internal sealed class ClassicSyncs(ClassicRebalance rebalance)
{
    /// <summary>Serves a SyncGroup.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="request">The request.</param>
    /// <param name="reply">Who waits.</param>
    public void Sync(
        ICoordinatorTurn turn, ClassicGroup group, SyncGroupRequest request, Reply<SyncGroupResponse> reply)
    {
        if (Check(group, request) is not ErrorCode.None and var error)
        {
            turn.Send(reply, new SyncGroupResponse { ErrorCode = error });
            return;
        }

        var member = group.FindMember(request.MemberId)!;
        ClassicRebalance.NoteSync(turn, group, member);
        if (group.State == ClassicGroupState.Stable)
        {
            turn.Send(reply, ClassicRebalance.DescribeAssignment(group, member));
            return;
        }

        member.WaitingSync?.Fail(ErrorCode.RebalanceInProgress);
        member.WaitingSync = reply;
        if (group.LeaderId != member.MemberId)
            return;
        Assign(group, request.Assignments);
        rebalance.CompleteSync(turn, group);
    }

    private static ErrorCode Check(ClassicGroup group, SyncGroupRequest request)
    {
        if (group.CheckMember(request.MemberId, request.GroupInstanceId) is not ErrorCode.None and var error)
            return error;
        if (request.GenerationId != group.GenerationId)
            return ErrorCode.IllegalGeneration;
        if (Differs(request.ProtocolType, group.ProtocolTypeOrNull)
            || Differs(request.ProtocolName, group.ProtocolName))
        {
            return ErrorCode.InconsistentGroupProtocol;
        }

        return group.State switch
        {
            ClassicGroupState.PreparingRebalance => ErrorCode.RebalanceInProgress,
            ClassicGroupState.CompletingRebalance or ClassicGroupState.Stable => ErrorCode.None,
            _ => ErrorCode.UnknownMemberId,
        };

        static bool Differs(string? said, string? known) => said is not null && known is not null && said != known;
    }

    /// <summary>A member that the leader did not think of has an empty assignment.</summary>
    private static void Assign(ClassicGroup group, List<SyncGroupRequest.SyncGroupRequestAssignment> assignments)
    {
        foreach (var member in group.Members)
            member.Assignment = default;
        foreach (var assignment in assignments)
        {
            if (group.FindMember(assignment.MemberId) is { } member)
                member.Assignment = assignment.Assignment;
        }
    }
}
