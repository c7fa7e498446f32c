using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>JoinGroup: who may join, under which member id, and whether it takes a rebalance.</summary>
/// <remarks>
/// From version 4 on a dynamic member first gets a member id alone (MEMBER_ID_REQUIRED, KIP-394), and joins with it:
/// so a client that repeats its request does not become two members. A static member that comes without id takes the
/// place of the one of its name (KIP-345); while the group is stable, and its assignor stays the same, it goes on with
/// the assignment it had, without a rebalance.
/// </remarks>
/// <param name="options">Configs, ids, log.</param>
/// <param name="groups">The groups of the shard.</param>
/// <param name="rebalance">Rebalances.</param>
internal sealed class ClassicJoins(GroupShardOptions options, GroupMap groups, ClassicRebalance rebalance)
{
    private const short FirstVersionWithMemberIdRequired = 4;
    private const short FirstVersionWithSkipAssignment = 9;

    /// <summary>Serves a JoinGroup.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="request">The request; its session timeout is within bounds.</param>
    /// <param name="reply">Who waits.</param>
    public void Join(ICoordinatorTurn turn, GroupRequest<JoinGroupRequest> request, Reply<JoinGroupResponse> reply)
    {
        var message = request.Message;
        var join = new Joining(
            turn, request, reply, ClassicProtocol.Of(message), RebalanceTimeoutOf(message, request.Version));
        var isNewMember = message.MemberId.Length == 0;
        if (groups.Find(message.GroupId) is not ClassicGroup group)
        {
            if (!isNewMember)
            {
                join.Refuse(ErrorCode.UnknownMemberId);
                return;
            }

            if (message.ProtocolType.Length == 0 || join.Protocols.Length == 0
                || groups.Find(message.GroupId) is { IsEmpty: false })
            {
                join.Refuse(ErrorCode.InconsistentGroupProtocol);
                return;
            }

            group = Create(turn, message.GroupId);
        }

        if (!HasRoomFor(group, message.MemberId))
        {
            TurnAway(group, join);
        }
        else if (!group.Supports(message.ProtocolType, join.Protocols))
        {
            join.Refuse(ErrorCode.InconsistentGroupProtocol);
        }
        else if (isNewMember)
        {
            JoinNew(group, join);
        }
        else
        {
            JoinKnown(group, join);
        }
    }

    /// <summary>Version 0 has no rebalance timeout; the session timeout is it.</summary>
    private static int RebalanceTimeoutOf(JoinGroupRequest message, short version) =>
        version == 0 ? message.SessionTimeoutMs : message.RebalanceTimeoutMs;

    private ClassicGroup Create(ICoordinatorTurn turn, string groupId)
    {
        // A group of the other type that is empty makes room.
        groups.Find(groupId)?.AppendTombstones(turn);
        var group = new ClassicGroup(groupId, turn.NowMs);
        groups.Put(group);
        turn.AppendOnly(ClassicGroupRecords.Snapshot(group));
        return group;
    }

    /// <summary>
    /// Whether <c>group.max.size</c> leaves room. While members join, those count that have joined: so when the limit
    /// was lowered, the last ones to come are turned away.
    /// </summary>
    private bool HasRoomFor(ClassicGroup group, string memberId)
    {
        if (group.State is ClassicGroupState.Empty or ClassicGroupState.Dead)
            return true;
        var member = group.FindMember(memberId);
        var maxSize = options.Configs.Broker.GetInt("group.max.size");
        return group.State == ClassicGroupState.PreparingRebalance
            ? member is { IsAwaitingJoin: true } || group.AwaitingJoinCount < maxSize
            : member is not null || group.Members.Count < maxSize;
    }

    private void TurnAway(ClassicGroup group, Joining join)
    {
        if (group.FindMember(join.Message.MemberId) is { } member)
            rebalance.Remove(join.Turn, group, member);
        group.Remove(join.Message.MemberId);
        join.Turn.Send(join.Reply, new JoinGroupResponse { ErrorCode = ErrorCode.GroupMaxSizeReached });
        rebalance.CompleteIfAllJoined(join.Turn, group);
    }

    private void JoinNew(ClassicGroup group, Joining join)
    {
        var message = join.Message;
        var memberId = $"{message.GroupInstanceId ?? join.Client.ClientId}-{options.NewUuid()}";
        if (message.GroupInstanceId is { } instanceId)
        {
            if (group.FindStaticMember(instanceId) is { } knownId && group.FindMember(knownId) is { } known)
                JoinInstead(group, join, known, memberId);
            else
                Add(group, join, memberId);
        }
        else if (join.Version >= FirstVersionWithMemberIdRequired)
        {
            group.AddPending(memberId);
            rebalance.Sessions.StartPending(join.Turn, group, memberId, message.SessionTimeoutMs);
            join.Turn.Send(join.Reply, new JoinGroupResponse
            {
                MemberId = memberId,
                ErrorCode = ErrorCode.MemberIdRequired,
            });
        }
        else
        {
            Add(group, join, memberId);
        }
    }

    private void JoinKnown(ClassicGroup group, Joining join)
    {
        var message = join.Message;
        if (group.IsPending(message.MemberId) && message.GroupInstanceId is null)
        {
            Add(group, join, message.MemberId);
            return;
        }

        if (group.CheckMember(message.MemberId, message.GroupInstanceId) is not ErrorCode.None and var error)
        {
            join.Refuse(error);
            return;
        }

        var member = group.FindMember(message.MemberId)!;
        var isLeader = group.LeaderId == member.MemberId;
        var isSame = ClassicProtocol.AreEqual(member.Protocols, join.Protocols);
        switch (group.State)
        {
            case ClassicGroupState.PreparingRebalance:
                Update(group, join, member, "a member rejoins");
                break;

            // The client has not seen the answer to its first JoinGroup of this generation.
            case ClassicGroupState.CompletingRebalance when isSame:
                Tell(group, join, member, isLeader);
                break;
            case ClassicGroupState.CompletingRebalance:
                Update(group, join, member, "a member has changed what it supports");
                break;

            // A leader that joins wants the partitions assigned anew: topics or their partitions have changed.
            case ClassicGroupState.Stable when isLeader:
                Update(group, join, member, "the leader rejoins");
                break;
            case ClassicGroupState.Stable when isSame:
                Tell(group, join, member, withMembers: false);
                break;
            case ClassicGroupState.Stable:
                Update(group, join, member, "a member has changed what it supports");
                break;
            default:
                join.Refuse(ErrorCode.UnknownMemberId);
                break;
        }
    }

    private static void Tell(ClassicGroup group, Joining join, ClassicMember member, bool withMembers) =>
        join.Turn.Send(join.Reply, ClassicRebalance.DescribeGeneration(group, member, withMembers));

    private void Add(ClassicGroup group, Joining join, string memberId)
    {
        var member = new ClassicMember
        {
            MemberId = memberId,
            InstanceId = join.Message.GroupInstanceId,
            Client = join.Client,
            ProtocolType = join.Message.ProtocolType,
            RebalanceTimeoutMs = join.RebalanceTimeoutMs,
            SessionTimeoutMs = join.Message.SessionTimeoutMs,
            Protocols = join.Protocols,
            IsNew = true,
        };
        if (group is { State: ClassicGroupState.PreparingRebalance, PreviousState: ClassicGroupState.Empty })
            group.HasNewMember = true;
        group.Add(member, join.Reply);
        rebalance.Sessions.StartNew(join.Turn, group, member);
        rebalance.StartOrComplete(join.Turn, group, join.Because("a member joins"));
    }

    private void Update(ClassicGroup group, Joining join, ClassicMember member, string reason)
    {
        group.Update(
            member, join.Protocols, join.RebalanceTimeoutMs, join.Message.SessionTimeoutMs, join.Reply);
        rebalance.StartOrComplete(join.Turn, group, join.Because(reason));
    }

    /// <summary>A static member has started anew: the new one takes its place.</summary>
    private void JoinInstead(ClassicGroup group, Joining join, ClassicMember old, string memberId)
    {
        var turn = join.Turn;
        var leaderBefore = group.LeaderId;
        ClassicRebalance.AnswerJoin(turn, group, old, new JoinGroupResponse
        {
            MemberId = old.MemberId,
            ProtocolName = null,
            ErrorCode = ErrorCode.FencedInstanceId,
        });
        ClassicRebalance.AnswerSync(turn, old, new SyncGroupResponse { ErrorCode = ErrorCode.FencedInstanceId });
        rebalance.Sessions.Stop(turn, old);
        var member = group.ReplaceStatic(old, memberId);
        group.Update(
            member, join.Protocols, join.RebalanceTimeoutMs, join.Message.SessionTimeoutMs, join.Reply);
        rebalance.Sessions.Restart(turn, group, member);
        options.Logger.LogInformation("Static member {Instance} of group {Group} is {Member} now, and was {Old}",
            old.InstanceId, group.GroupId, memberId, old.MemberId);
        switch (group.State)
        {
            case ClassicGroupState.Stable when group.SelectProtocol() == group.ProtocolName:
                group.ReadSubscriptions();
                turn.AppendOnly(ClassicGroupRecords.Snapshot(group));
                ClassicRebalance.AnswerJoin(turn, group, member, Resume(group, member, leaderBefore, join.Version));
                break;

            // The leader may assign to the old id already; the new one would get nothing.
            case ClassicGroupState.Stable or ClassicGroupState.CompletingRebalance:
                rebalance.Start(turn, group, join.Because("a static member has started anew"));
                break;
            default:
                rebalance.CompleteIfAllJoined(turn, group);
                break;
        }
    }

    /// <summary>
    /// What a static member is told that goes on with its assignment. A leader of old versions must not learn that it
    /// leads, else it would assign; from 9 on it is told to skip that (KIP-814), and gets the members all the same.
    /// </summary>
    private static JoinGroupResponse Resume(
        ClassicGroup group, ClassicMember member, string? leaderBefore, short version)
    {
        var skips = version >= FirstVersionWithSkipAssignment && group.LeaderId == member.MemberId;
        var response = ClassicRebalance.DescribeGeneration(group, member, withMembers: skips);
        response.SkipAssignment = skips;
        if (version < FirstVersionWithSkipAssignment)
            response.Leader = leaderBefore ?? "";
        return response;
    }

    /// <summary>A JoinGroup under way.</summary>
    private readonly record struct Joining(
        ICoordinatorTurn Turn,
        GroupRequest<JoinGroupRequest> Request,
        Reply<JoinGroupResponse> Reply,
        ClassicProtocol[] Protocols,
        int RebalanceTimeoutMs)
    {
        public JoinGroupRequest Message => Request.Message;

        public GroupClient Client => Request.Client;

        public short Version => Request.Version;

        public void Refuse(ErrorCode error) => Turn.Send(Reply, new JoinGroupResponse
        {
            MemberId = Message.MemberId,
            ProtocolName = null,
            ErrorCode = error,
        });

        /// <summary>Why there is a rebalance, with what the client says about it (KIP-800).</summary>
        public string Because(string what) => string.IsNullOrEmpty(Message.Reason) ? what : $"{what}: {Message.Reason}";
    }
}
