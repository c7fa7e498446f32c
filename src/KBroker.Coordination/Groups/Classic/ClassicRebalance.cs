using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>
/// How a classic group comes from one generation to the next.
/// </summary>
/// <remarks>
/// <para>Preparing: members are told REBALANCE_IN_PROGRESS and join; it ends when all have joined, or when the longest
/// rebalance timeout has passed: dynamic members that did not join are out then, static ones stay until their session
/// ends. An empty group waits <c>group.initial.rebalance.delay.ms</c> instead, and again that long while new members
/// come, up to the rebalance timeout: so that not each member of a starting application has a rebalance of its own.
/// </para>
/// <para>Completing: everybody knows the generation and its leader, and asks for its assignment (SyncGroup); it ends
/// with the leader's SyncGroup, which brings all assignments. Who has not asked within the rebalance timeout is out,
/// and the rest rebalances again.</para>
/// <para>Example: A is alone and stable in generation 1. B joins: Preparing, B waits. A's next heartbeat says so, A
/// joins: all are there, generation 2, both are answered, A leads. B's SyncGroup waits for A's, whose assignments are
/// appended to the log; both are answered once they are durable. Stable.</para>
/// </remarks>
internal sealed class ClassicRebalance
{
    private readonly GroupShardOptions _options;

    /// <summary>Creates the rebalances of a shard.</summary>
    /// <param name="options">Configs and log.</param>
    public ClassicRebalance(GroupShardOptions options)
    {
        _options = options;
        Sessions = new ClassicSessions(Expire, ExpirePending);
    }

    /// <summary>The members' sessions.</summary>
    public ClassicSessions Sessions { get; }

    /// <summary>A rebalance, unless one waits for members already; that one ends if this was the last.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="reason">For the broker's log.</param>
    public void StartOrComplete(ICoordinatorTurn turn, ClassicGroup group, string reason)
    {
        if (group.CanRebalance)
            Start(turn, group, reason);
        else
            CompleteIfAllJoined(turn, group);
    }

    /// <summary>Starts a rebalance.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group; empty, completing or stable.</param>
    /// <param name="reason">For the broker's log.</param>
    public void Start(ICoordinatorTurn turn, ClassicGroup group, string reason)
    {
        if (group.State == ClassicGroupState.CompletingRebalance)
            RefuseSyncs(turn, group, ErrorCode.RebalanceInProgress);
        turn.Cancel(group.SyncTimer);
        var isInitial = group.State == ClassicGroupState.Empty;
        group.TransitionTo(ClassicGroupState.PreparingRebalance, turn.NowMs);
        _options.Logger.LogInformation("Group {Group} of generation {Generation} rebalances: {Reason}",
            group.GroupId, group.GenerationId, reason);
        if (isInitial)
        {
            var delayMs = _options.Configs.Broker.GetInt("group.initial.rebalance.delay.ms");
            WaitForMore(turn, group, delayMs, Math.Max(group.RebalanceTimeoutMs - delayMs, 0));
        }
        else if (group.HasAllJoined)
        {
            CompleteJoin(turn, group);
        }
        else
        {
            turn.Schedule(group.JoinTimer, group.RebalanceTimeoutMs, later => OnJoinTimer(later, group));
        }
    }

    /// <summary>Ends the join phase if nobody is waited for; an initial one has its own time.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    public void CompleteIfAllJoined(ICoordinatorTurn turn, ClassicGroup group)
    {
        if (group is { State: ClassicGroupState.PreparingRebalance, HasAllJoined: true }
            && group.PreviousState != ClassicGroupState.Empty)
        {
            CompleteJoin(turn, group);
        }
    }

    /// <summary>
    /// Takes a member out and lets the rest rebalance. Its JoinGroup, if one waits, is told UNKNOWN_MEMBER_ID, so that
    /// a client that is there after all joins anew.
    /// </summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    /// <param name="reason">For the broker's log.</param>
    public void RemoveAndRebalance(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member, string reason)
    {
        Remove(turn, group, member);
        if (group.State is ClassicGroupState.Stable or ClassicGroupState.CompletingRebalance)
            StartOrComplete(turn, group, reason);
        else
            CompleteIfAllJoined(turn, group);
    }

    /// <summary>Takes a member out; what the others do then is up to the caller.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    public void Remove(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member)
    {
        Sessions.Stop(turn, member);
        AnswerJoin(turn, group, member, new JoinGroupResponse { ErrorCode = ErrorCode.UnknownMemberId });
        AnswerSync(turn, member, new SyncGroupResponse { ErrorCode = ErrorCode.UnknownMemberId });
        group.Remove(member.MemberId);
    }

    /// <summary>Answers the JoinGroup of a member, if one waits.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    /// <param name="response">The answer.</param>
    public static void AnswerJoin(
        ICoordinatorTurn turn, ClassicGroup group, ClassicMember member, JoinGroupResponse response)
    {
        if (member.WaitingJoin is not { } join)
            return;
        group.SetWaitingJoin(member, null);
        turn.Send(join, response);
    }

    /// <summary>Answers the SyncGroup of a member, if one waits.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="member">The member.</param>
    /// <param name="response">The answer.</param>
    /// <returns>Whether one waited.</returns>
    public static bool AnswerSync(ICoordinatorTurn turn, ClassicMember member, SyncGroupResponse response)
    {
        if (member.WaitingSync is not { } sync)
            return false;
        member.WaitingSync = null;
        turn.Send(sync, response);
        return true;
    }

    /// <summary>What a member of the present generation is told of it.</summary>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    /// <param name="withMembers">Whether it is told of the others: the leader is.</param>
    public static JoinGroupResponse DescribeGeneration(ClassicGroup group, ClassicMember member, bool withMembers)
    {
        var response = new JoinGroupResponse
        {
            MemberId = member.MemberId,
            GenerationId = group.GenerationId,
            ProtocolType = group.ProtocolTypeOrNull,
            ProtocolName = group.ProtocolName,
            Leader = group.LeaderId ?? "",
        };
        if (!withMembers)
            return response;
        foreach (var other in group.Members)
        {
            response.Members.Add(new JoinGroupResponse.JoinGroupResponseMember
            {
                MemberId = other.MemberId,
                GroupInstanceId = other.InstanceId,
                Metadata = other.MetadataOf(group.ProtocolName),
            });
        }

        return response;
    }

    /// <summary>What a member is told in answer to SyncGroup.</summary>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    public static SyncGroupResponse DescribeAssignment(ClassicGroup group, ClassicMember member) => new()
    {
        ProtocolType = group.ProtocolTypeOrNull,
        ProtocolName = group.ProtocolName,
        Assignment = member.Assignment,
    };

    /// <summary>Notes that a member has asked for its assignment; when it was the last, none is waited for.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    public static void NoteSync(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member)
    {
        group.RemovePendingSync(member.MemberId);
        if (group.PendingSyncs.Count == 0)
            turn.Cancel(group.SyncTimer);
    }

    /// <summary>The leader's assignments hold: the group is stable, every SyncGroup that waits is answered.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group; its members have their assignments.</param>
    public void CompleteSync(ICoordinatorTurn turn, ClassicGroup group)
    {
        turn.AppendOnly(ClassicGroupRecords.Snapshot(group));
        foreach (var member in group.Members)
        {
            if (AnswerSync(turn, member, DescribeAssignment(group, member)))
                Sessions.Restart(turn, group, member);
        }

        group.TransitionTo(ClassicGroupState.Stable, turn.NowMs);
    }

    private void RefuseSyncs(ICoordinatorTurn turn, ClassicGroup group, ErrorCode error)
    {
        foreach (var member in group.Members)
        {
            member.Assignment = default;
            if (AnswerSync(turn, member, new SyncGroupResponse { ErrorCode = error }))
                Sessions.Restart(turn, group, member);
        }
    }

    private void WaitForMore(ICoordinatorTurn turn, ClassicGroup group, int delayMs, int remainingMs) =>
        turn.Schedule(group.JoinTimer, delayMs, later =>
        {
            if (group.State != ClassicGroupState.PreparingRebalance)
                return;
            if (!group.HasNewMember || remainingMs == 0)
            {
                CompleteJoin(later, group);
                return;
            }

            group.HasNewMember = false;
            WaitForMore(later, group, Math.Min(delayMs, remainingMs), Math.Max(remainingMs - delayMs, 0));
        });

    private void OnJoinTimer(ICoordinatorTurn turn, ClassicGroup group)
    {
        if (group.State == ClassicGroupState.PreparingRebalance)
            CompleteJoin(turn, group);
    }

    private void CompleteJoin(ICoordinatorTurn turn, ClassicGroup group)
    {
        turn.Cancel(group.JoinTimer);
        RemoveNotJoined(turn, group);
        if (group.Members.Count > 0 && !group.ElectJoinedLeader())
        {
            // Only static members are left, and none has joined: they have time until their sessions end.
            turn.Schedule(group.JoinTimer, group.RebalanceTimeoutMs, later => OnJoinTimer(later, group));
            return;
        }

        group.HasNewMember = false;
        group.StartGeneration(turn.NowMs);
        if (group.IsEmpty)
        {
            turn.AppendOnly(ClassicGroupRecords.Snapshot(group));
            _options.Logger.LogInformation(
                "Group {Group} is empty in generation {Generation}", group.GroupId, group.GenerationId);
            return;
        }

        foreach (var member in group.Members)
        {
            var isLeader = member.MemberId == group.LeaderId;
            AnswerJoin(turn, group, member, DescribeGeneration(group, member, isLeader));
            Sessions.Restart(turn, group, member);
            member.IsNew = false;
            group.AddPendingSync(member.MemberId);
        }

        _options.Logger.LogInformation("Group {Group} has generation {Generation} with {Members} members",
            group.GroupId, group.GenerationId, group.Members.Count);
        var generation = group.GenerationId;
        turn.Schedule(group.SyncTimer, group.RebalanceTimeoutMs, later => OnSyncTimer(later, group, generation));
    }

    private void RemoveNotJoined(ICoordinatorTurn turn, ClassicGroup group)
    {
        var gone = group.Members.Where(static m => !m.IsAwaitingJoin && m.InstanceId is null).ToList();
        foreach (var member in gone)
        {
            _options.Logger.LogInformation("Member {Member} of group {Group} did not rejoin in time and is removed",
                member.MemberId, group.GroupId);
            Remove(turn, group, member);
        }
    }

    private void OnSyncTimer(ICoordinatorTurn turn, ClassicGroup group, int generation)
    {
        if (generation != group.GenerationId || group.PendingSyncs.Count == 0
            || group.State is not (ClassicGroupState.CompletingRebalance or ClassicGroupState.Stable))
        {
            return;
        }

        foreach (var memberId in group.PendingSyncs.ToList())
        {
            if (group.FindMember(memberId) is { } member)
                Remove(turn, group, member);
            group.RemovePendingSync(memberId);
        }

        Start(turn, group, "members did not ask for their assignment in time");
    }

    private void Expire(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member)
    {
        _options.Logger.LogInformation("Member {Member} of group {Group} was silent for too long and is removed",
            member.MemberId, group.GroupId);
        RemoveAndRebalance(turn, group, member, "a member's session ended");
    }

    private void ExpirePending(ICoordinatorTurn turn, ClassicGroup group, string memberId)
    {
        group.Remove(memberId);
        if (group is { State: ClassicGroupState.PreparingRebalance, HasAllJoined: true })
            CompleteJoin(turn, group);
    }
}
