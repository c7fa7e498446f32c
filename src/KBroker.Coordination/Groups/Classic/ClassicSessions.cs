using KBroker.Coordination.Runtime;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>
/// The sessions of classic members. A heartbeat only moves the end of the session; the timer, which was set when the
/// session began, looks at it when it runs and sets itself anew for the rest. So ten thousand heartbeats cost ten
/// thousand assignments, and a timer runs once in a session timeout.
/// </summary>
/// <param name="expire">What to do with a member whose session has ended.</param>
/// <param name="expirePending">What to do with a member id that nobody joined with.</param>
internal sealed class ClassicSessions(
    Action<ICoordinatorTurn, ClassicGroup, ClassicMember> expire,
    Action<ICoordinatorTurn, ClassicGroup, string> expirePending)
{
    /// <summary>
    /// How long the JoinGroup of a new member may wait (Kafka's fixed five minutes). Its client cannot heartbeat, and
    /// one that has gone must not stay a member for ever.
    /// </summary>
    public const int NewMemberJoinTimeoutMs = 5 * 60 * 1000;

    /// <summary>Starts or restarts a member's session.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    public void Restart(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member) =>
        EndAt(turn, group, member, turn.NowMs + member.SessionTimeoutMs);

    /// <summary>Starts the time that a new member's JoinGroup may wait.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    public void StartNew(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member) =>
        EndAt(turn, group, member, turn.NowMs + NewMemberJoinTimeoutMs);

    /// <summary>Starts the time in which a client must join with the member id it was given.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="memberId">The member id.</param>
    /// <param name="timeoutMs">The session timeout it asked for.</param>
    public void StartPending(ICoordinatorTurn turn, ClassicGroup group, string memberId, int timeoutMs) =>
        turn.Schedule(KeyOf(group, memberId), timeoutMs, later =>
        {
            if (group.State != ClassicGroupState.Dead && group.IsPending(memberId))
                expirePending(later, group, memberId);
        });

    /// <summary>Ends a member's session without consequences: it has left, or is removed.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="member">The member.</param>
    public void Stop(ICoordinatorTurn turn, ClassicMember member)
    {
        if (member.SessionTimerMs == ClassicMember.NoTimer)
            return;
        member.SessionTimerMs = ClassicMember.NoTimer;
        turn.Cancel(member.SessionKey);
    }

    /// <summary>Takes back a member id that was given out.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="memberId">The member id.</param>
    public void StopPending(ICoordinatorTurn turn, ClassicGroup group, string memberId) =>
        turn.Cancel(KeyOf(group, memberId));

    private static string KeyOf(ClassicGroup group, string memberId) =>
        $"classic-session/{group.GroupId}/{memberId}";

    private void EndAt(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member, long deadlineMs)
    {
        member.SessionDeadlineMs = deadlineMs;
        if (member.SessionTimerMs > deadlineMs)
            SetTimer(turn, group, member);
    }

    private void SetTimer(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member)
    {
        if (member.OnSessionTimer is null)
        {
            member.SessionKey = KeyOf(group, member.MemberId);
            member.OnSessionTimer = later => OnTimer(later, group, member);
        }

        member.SessionTimerMs = member.SessionDeadlineMs;
        turn.Schedule(member.SessionKey, member.SessionDeadlineMs - turn.NowMs, member.OnSessionTimer);
    }

    private void OnTimer(ICoordinatorTurn turn, ClassicGroup group, ClassicMember member)
    {
        member.SessionTimerMs = ClassicMember.NoTimer;
        if (group.State == ClassicGroupState.Dead || !ReferenceEquals(group.FindMember(member.MemberId), member))
            return;
        if (turn.NowMs < member.SessionDeadlineMs)
            SetTimer(turn, group, member);
        else if (!member.NeedsNoHeartbeat)
            expire(turn, group, member);
    }
}
