using KBroker.Cluster.Configuration;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>
/// JoinGroup, SyncGroup, Heartbeat and LeaveGroup, for the handlers. Every error is in the answer; nothing is thrown.
/// </summary>
public sealed class ClassicGroupApi
{
    private const short FirstVersionWithNullProtocolName = 7;
    private const short FirstVersionWithLeavingMembers = 3;

    private readonly IGroupShards _shards;
    private readonly ConfigView _configs;

    internal ClassicGroupApi(IGroupShards shards, ConfigView configs)
    {
        _shards = shards;
        _configs = configs;
    }

    /// <summary>
    /// Joins a group. The answer comes with the generation, after minutes perhaps. A session timeout outside of
    /// <c>group.min.session.timeout.ms</c> and <c>group.max.session.timeout.ms</c> is INVALID_SESSION_TIMEOUT.
    /// </summary>
    /// <param name="request">The request.</param>
    public async Task<JoinGroupResponse> JoinGroupAsync(GroupRequest<JoinGroupRequest> request)
    {
        var response = await JoinAsync(request).ConfigureAwait(false);
        if (request.Version < FirstVersionWithNullProtocolName)
            response.ProtocolName ??= "";
        return response;
    }

    /// <summary>What a client is told whose JoinGroup did not come to an answer.</summary>
    /// <param name="request">The request.</param>
    /// <param name="error">The error.</param>
    public static JoinGroupResponse Refuse(JoinGroupRequest request, ErrorCode error)
    {
        ArgumentNullException.ThrowIfNull(request);
        return new JoinGroupResponse { MemberId = request.MemberId, ErrorCode = error };
    }

    /// <summary>Asks for a member's assignment; the leader brings those of all.</summary>
    /// <param name="request">The request.</param>
    public async Task<SyncGroupResponse> SyncGroupAsync(GroupRequest<SyncGroupRequest> request)
    {
        var groupId = request.Message.GroupId;
        if (groupId.Length == 0)
            return new SyncGroupResponse { ErrorCode = ErrorCode.InvalidGroupId };
        try
        {
            return await _shards.RunAsync<SyncGroupResponse>(
                groupId,
                (shard, turn, reply) => shard.ClassicProtocolOf(groupId).Sync(turn, request, reply))
                .ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return new SyncGroupResponse { ErrorCode = refused.Error };
        }
    }

    /// <summary>
    /// Takes a sign of life, and tells of a rebalance. While the group is still being loaded all is well: its sessions
    /// begin anew then.
    /// </summary>
    /// <param name="request">The request.</param>
    public async Task<HeartbeatResponse> HeartbeatAsync(HeartbeatRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.GroupId.Length == 0)
            return new HeartbeatResponse { ErrorCode = ErrorCode.InvalidGroupId };
        try
        {
            return await _shards.RunAsync<HeartbeatResponse>(
                request.GroupId,
                (shard, turn, reply) => turn.Send(reply, new HeartbeatResponse
                {
                    ErrorCode = shard.ClassicProtocolOf(request.GroupId).Heartbeat(turn, request),
                })).ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return new HeartbeatResponse
            {
                ErrorCode = refused.Error == ErrorCode.CoordinatorLoadInProgress ? ErrorCode.None : refused.Error,
            };
        }
    }

    /// <summary>
    /// Removes members. Below version 3 the request names one member, and the answer has its error at the top.
    /// </summary>
    /// <param name="request">The request.</param>
    public async Task<LeaveGroupResponse> LeaveGroupAsync(GroupRequest<LeaveGroupRequest> request)
    {
        var message = request.Message;
        if (message.GroupId.Length == 0)
            return new LeaveGroupResponse { ErrorCode = ErrorCode.InvalidGroupId };
        IReadOnlyList<LeaveGroupRequest.MemberIdentity> members = request.Version < FirstVersionWithLeavingMembers
            ? [new LeaveGroupRequest.MemberIdentity { MemberId = message.MemberId }]
            : message.Members;
        var response = await LeaveAsync(message.GroupId, members).ConfigureAwait(false);
        if (request.Version < FirstVersionWithLeavingMembers && response.ErrorCode == ErrorCode.None)
            response.ErrorCode = response.Members[0].ErrorCode;
        return response;
    }

    private async Task<JoinGroupResponse> JoinAsync(GroupRequest<JoinGroupRequest> request)
    {
        var message = request.Message;
        if (message.GroupId.Length == 0)
            return Refuse(message, ErrorCode.InvalidGroupId);
        var broker = _configs.Broker;
        if (message.SessionTimeoutMs < broker.GetInt("group.min.session.timeout.ms")
            || message.SessionTimeoutMs > broker.GetInt("group.max.session.timeout.ms"))
        {
            return Refuse(message, ErrorCode.InvalidSessionTimeout);
        }

        try
        {
            return await _shards.RunAsync<JoinGroupResponse>(
                message.GroupId,
                (shard, turn, reply) => shard.ClassicProtocolOf(message.GroupId).Join(turn, request, reply))
                .ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return Refuse(message, refused.Error);
        }
    }

    private async Task<LeaveGroupResponse> LeaveAsync(
        string groupId, IReadOnlyList<LeaveGroupRequest.MemberIdentity> members)
    {
        try
        {
            return await _shards.RunAsync<LeaveGroupResponse>(
                groupId,
                (shard, turn, reply) => turn.Send(
                    reply, shard.ClassicProtocolOf(groupId).Leave(turn, groupId, members)))
                .ConfigureAwait(false);
        }
        catch (CoordinatorException unknown) when (unknown.Error == ErrorCode.UnknownMemberId)
        {
            return new LeaveGroupResponse
            {
                Members =
                [
                    .. members.Select(static member => new LeaveGroupResponse.MemberResponse
                    {
                        MemberId = member.MemberId,
                        GroupInstanceId = member.GroupInstanceId,
                        ErrorCode = ErrorCode.UnknownMemberId,
                    }),
                ],
            };
        }
        catch (CoordinatorException refused)
        {
            return new LeaveGroupResponse { ErrorCode = refused.Error };
        }
    }
}
