using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>
/// The four requests of clients that speak the classic protocol, on one shard. Classic groups serve them, and consumer
/// groups that have classic members (online migration, KIP-848); <see cref="GroupShard.ClassicProtocolOf"/> chooses.
/// </summary>
internal interface IClassicProtocol
{
    /// <summary>Serves a JoinGroup; its session timeout is within the broker's bounds.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="request">The request.</param>
    /// <param name="reply">Who waits.</param>
    void Join(ICoordinatorTurn turn, GroupRequest<JoinGroupRequest> request, Reply<JoinGroupResponse> reply);

    /// <summary>Serves a SyncGroup.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="request">The request.</param>
    /// <param name="reply">Who waits.</param>
    void Sync(ICoordinatorTurn turn, GroupRequest<SyncGroupRequest> request, Reply<SyncGroupResponse> reply);

    /// <summary>Serves a Heartbeat.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="request">The request.</param>
    /// <returns>The answer's error code.</returns>
    ErrorCode Heartbeat(ICoordinatorTurn turn, HeartbeatRequest request);

    /// <summary>Serves a LeaveGroup.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="members">Who goes; a request of a version below 3 has one.</param>
    /// <returns>The answer, in the form of version 3 and later.</returns>
    /// <exception cref="CoordinatorException">UNKNOWN_MEMBER_ID: there is no such group.</exception>
    LeaveGroupResponse Leave(
        ICoordinatorTurn turn, string groupId, IReadOnlyList<LeaveGroupRequest.MemberIdentity> members);
}
