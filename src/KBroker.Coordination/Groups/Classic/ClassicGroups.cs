using KBroker.Coordination.Groups.Offsets;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>
/// The classic groups of a shard: JoinGroup, SyncGroup, Heartbeat, LeaveGroup; how groups come from the log, and how
/// they become, or stop being, groups of the other type.
/// </summary>
internal sealed class ClassicGroups : IClassicProtocol
{
    private readonly ClassicRebalance _rebalance;
    private readonly ClassicJoins _joins;
    private readonly ClassicSyncs _syncs;
    private readonly ClassicLeaves _leaves;

    /// <summary>Creates the classic groups of a shard.</summary>
    /// <param name="options">Configs, ids, log.</param>
    /// <param name="groups">The groups of the shard.</param>
    /// <param name="offsets">Their offsets: a group that has some stays when its members are gone.</param>
    public ClassicGroups(GroupShardOptions options, GroupMap groups, OffsetStore offsets)
    {
        Options = options;
        Groups = groups;
        Offsets = offsets;
        _rebalance = new ClassicRebalance(options);
        _joins = new ClassicJoins(options, groups, _rebalance);
        _syncs = new ClassicSyncs(_rebalance);
        _leaves = new ClassicLeaves(options, _rebalance);
    }

    /// <summary>The configs in force.</summary>
    internal GroupShardOptions Options { get; }

    /// <summary>The groups of the shard.</summary>
    internal GroupMap Groups { get; }

    /// <summary>Their offsets.</summary>
    internal OffsetStore Offsets { get; }

    /// <summary>
    /// The group of a commit that nobody joined for (a simple consumer): one of any type that is there, or a new one,
    /// which needs no record: its offsets make it come again.
    /// </summary>
    /// <param name="groups">The groups of the shard.</param>
    /// <param name="groupId">The group.</param>
    public static Group GetOrCreateSimple(GroupMap groups, string groupId)
    {
        if (groups.Find(groupId) is { } known)
            return known;
        var group = new ClassicGroup(groupId);
        groups.Put(group);
        return group;
    }

    /// <summary>Applies a group's record.</summary>
    /// <param name="key">The group.</param>
    /// <param name="value">The group's state; null when it is deleted.</param>
    public void Replay(GroupMetadataKey key, GroupMetadataValue? value)
    {
        if (Groups.Find(key.Group) is ClassicGroup known)
        {
            known.TransitionTo(ClassicGroupState.Dead, known.StateTimestampMs ?? 0);
            Groups.Remove(known);
        }

        if (value is not null)
            Groups.Put(ClassicGroupRecords.Read(key.Group, value));
    }

    /// <summary>
    /// Gives the members of every group a new session. A group above <c>group.max.size</c>, which was lowered,
    /// rebalances, so that its members can commit before the last ones are turned away.
    /// </summary>
    /// <param name="turn">The shard's first step.</param>
    public void OnLoaded(ICoordinatorTurn turn)
    {
        var maxSize = Options.Configs.Broker.GetInt("group.max.size");
        foreach (var group in Groups.All.OfType<ClassicGroup>())
        {
            StartSessions(turn, group);
            if (group.Members.Count > maxSize)
                _rebalance.Start(turn, group, $"it has more than {maxSize} members");
        }
    }

    /// <summary>Fails the JoinGroups and SyncGroups that wait.</summary>
    /// <param name="error">What they are answered.</param>
    public void OnUnloaded(ErrorCode error)
    {
        foreach (var group in Groups.All.OfType<ClassicGroup>())
        {
            foreach (var member in group.Members)
            {
                member.WaitingJoin?.Fail(error);
                member.WaitingSync?.Fail(error);
                group.SetWaitingJoin(member, null);
                member.WaitingSync = null;
            }

            group.TransitionTo(ClassicGroupState.Dead, group.StateTimestampMs ?? 0);
        }
    }

    /// <inheritdoc/>
    public void Join(ICoordinatorTurn turn, GroupRequest<JoinGroupRequest> request, Reply<JoinGroupResponse> reply) =>
        _joins.Join(turn, request, reply);

    /// <inheritdoc/>
    public void Sync(ICoordinatorTurn turn, GroupRequest<SyncGroupRequest> request, Reply<SyncGroupResponse> reply)
    {
        if (Groups.Find(request.Message.GroupId) is ClassicGroup { IsEmpty: false } group)
            _syncs.Sync(turn, group, request.Message, reply);
        else
            turn.Send(reply, new SyncGroupResponse { ErrorCode = ErrorCode.UnknownMemberId });
    }

    /// <inheritdoc/>
    public ErrorCode Heartbeat(ICoordinatorTurn turn, HeartbeatRequest request)
    {
        if (Groups.Find(request.GroupId) is not ClassicGroup group)
            return ErrorCode.UnknownMemberId;
        if (group.CheckMember(request.MemberId, request.GroupInstanceId) is not ErrorCode.None and var error)
            return error;
        if (request.GenerationId != group.GenerationId)
            return ErrorCode.IllegalGeneration;
        _rebalance.Sessions.Restart(turn, group, group.FindMember(request.MemberId)!);
        return group.State == ClassicGroupState.PreparingRebalance ? ErrorCode.RebalanceInProgress : ErrorCode.None;
    }

    /// <inheritdoc/>
    public LeaveGroupResponse Leave(
        ICoordinatorTurn turn, string groupId, IReadOnlyList<LeaveGroupRequest.MemberIdentity> members) =>
        Groups.Find(groupId) is ClassicGroup group
            ? _leaves.Leave(turn, group, members)
            : throw new CoordinatorException(ErrorCode.UnknownMemberId);

    /// <summary>
    /// Puts a group in force that was made of a consumer group (downgrade): the caller has appended its record by
    /// <see cref="ICoordinatorTurn.Append"/>, so that it stands in the <see cref="GroupMap"/>. Its members get
    /// sessions.
    /// </summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group, stable.</param>
    /// <param name="rebalanceReason">Why it rebalances at once; null when it does not.</param>
    public void Adopt(ICoordinatorTurn turn, ClassicGroup group, string? rebalanceReason)
    {
        StartSessions(turn, group);
        if (rebalanceReason is not null)
            _rebalance.Start(turn, group, rebalanceReason);
    }

    /// <summary>
    /// Ends a group that becomes a consumer group (upgrade): its timers end, whoever waits is told
    /// REBALANCE_IN_PROGRESS and so joins again, and its record is deleted. The members are still there to be read.
    /// </summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    public void Dissolve(ICoordinatorTurn turn, ClassicGroup group)
    {
        turn.Cancel(group.JoinTimer);
        turn.Cancel(group.SyncTimer);
        foreach (var memberId in group.PendingJoins)
            _rebalance.Sessions.StopPending(turn, group, memberId);
        foreach (var member in group.Members)
        {
            _rebalance.Sessions.Stop(turn, member);
            ClassicRebalance.AnswerJoin(turn, group, member, new JoinGroupResponse
            {
                MemberId = member.MemberId,
                ErrorCode = ErrorCode.RebalanceInProgress,
            });
            ClassicRebalance.AnswerSync(
                turn, member, new SyncGroupResponse { ErrorCode = ErrorCode.RebalanceInProgress });
        }

        group.AppendTombstones(turn);
    }

    private void StartSessions(ICoordinatorTurn turn, ClassicGroup group)
    {
        if (group.Members.Count == 0)
            return;
        Options.Logger.LogInformation("Group {Group} of generation {Generation} has {Members} members from the log",
            group.GroupId, group.GenerationId, group.Members.Count);
        foreach (var member in group.Members)
            _rebalance.Sessions.Restart(turn, group, member);
    }
}
