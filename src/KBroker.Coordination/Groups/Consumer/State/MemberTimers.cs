using KBroker.Coordination.Runtime;

namespace KBroker.Coordination.Groups.Consumer.State;

/// <summary>
/// The names of a member's timers, and the step of its session: kept, so that a heartbeat makes neither anew.
/// </summary>
/// <param name="groupId">The group.</param>
/// <param name="memberId">The member.</param>
internal sealed class MemberTimers(string groupId, string memberId)
{
    private readonly string _session = $"consumer-session/{groupId}/{memberId}";
    private Action<ICoordinatorTurn>? _expire;
    private string? _rebalance;
    private string? _join;
    private string? _sync;

    /// <summary>Starts the session.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="timeoutMs">Milliseconds.</param>
    /// <param name="expire">Puts the member out; kept for <see cref="RestartSession"/>.</param>
    public void StartSession(ICoordinatorTurn turn, int timeoutMs, Action<ICoordinatorTurn> expire)
    {
        _expire = expire;
        turn.Schedule(_session, timeoutMs, expire);
    }

    /// <summary>Starts the session anew; false when there was none.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="timeoutMs">Milliseconds.</param>
    public bool RestartSession(ICoordinatorTurn turn, int timeoutMs)
    {
        if (_expire is null)
            return false;
        turn.Schedule(_session, timeoutMs, _expire);
        return true;
    }

    /// <summary>Starts the time in which partitions have to be given up.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="timeoutMs">Milliseconds.</param>
    /// <param name="expire">Puts the member out.</param>
    public void StartRebalance(ICoordinatorTurn turn, int timeoutMs, Action<ICoordinatorTurn> expire) =>
        turn.Schedule(_rebalance = $"consumer-rebalance/{groupId}/{memberId}", timeoutMs, expire);

    /// <summary>Ends that time.</summary>
    /// <param name="turn">The step.</param>
    public void CancelRebalance(ICoordinatorTurn turn) => Cancel(turn, ref _rebalance);

    /// <summary>Starts the time in which a classic member has to join again, unless it runs already.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="timeoutMs">Milliseconds.</param>
    /// <param name="expire">Puts the member out.</param>
    public void StartJoin(ICoordinatorTurn turn, int timeoutMs, Action<ICoordinatorTurn> expire)
    {
        if (_join is null)
            turn.Schedule(_join = $"consumer-join/{groupId}/{memberId}", timeoutMs, expire);
    }

    /// <summary>Ends that time.</summary>
    /// <param name="turn">The step.</param>
    public void CancelJoin(ICoordinatorTurn turn) => Cancel(turn, ref _join);

    /// <summary>Starts the time in which a classic member has to fetch its assignment by SyncGroup.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="timeoutMs">Milliseconds.</param>
    /// <param name="expire">Puts the member out.</param>
    public void StartSync(ICoordinatorTurn turn, int timeoutMs, Action<ICoordinatorTurn> expire) =>
        turn.Schedule(_sync = $"consumer-sync/{groupId}/{memberId}", timeoutMs, expire);

    /// <summary>Ends that time.</summary>
    /// <param name="turn">The step.</param>
    public void CancelSync(ICoordinatorTurn turn) => Cancel(turn, ref _sync);

    /// <summary>Ends all timers.</summary>
    /// <param name="turn">The step.</param>
    public void CancelAll(ICoordinatorTurn turn)
    {
        turn.Cancel(_session);
        CancelRebalance(turn);
        CancelJoin(turn);
        CancelSync(turn);
    }

    private static void Cancel(ICoordinatorTurn turn, ref string? key)
    {
        if (key is not null)
            turn.Cancel(key);
        key = null;
    }
}
