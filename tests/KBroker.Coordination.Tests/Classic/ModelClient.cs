using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Classic;

/// <summary>What a client of the model does.</summary>
internal enum ModelClientState
{
    /// <summary>Must join.</summary>
    Outside,

    /// <summary>Waits for its JoinGroup.</summary>
    Joining,

    /// <summary>Waits for its SyncGroup.</summary>
    Syncing,

    /// <summary>Has its assignment.</summary>
    Stable,

    /// <summary>Crashed, fenced, or left: does nothing any more.</summary>
    Gone,
}

/// <summary>
/// A faithful consumer: joins, assigns when it leads, heartbeats, and obeys every answer. An eager one gives its
/// partitions up before it rejoins; a cooperative one keeps them, says so, and gets nobody else's while those keep
/// them.
/// </summary>
internal sealed class ModelClient(ClassicModel model, string name, string? instanceId, short version, bool cooperative)
{
    public const int SessionMs = 10_000;
    public const int RebalanceMs = 30_000;
    private const int HeartbeatMs = 3_000;

    private Task<JoinGroupResponse>? _join;
    private Task<SyncGroupResponse>? _sync;
    private JoinGroupResponse _joined = new();
    private long _heartbeatMs;

    public string Name => name;

    public string? InstanceId => instanceId;

    public string MemberId { get; private set; } = "";

    public int Generation { get; private set; } = -1;

    public HashSet<int> Owned { get; private set; } = [];

    public ModelClientState State { get; private set; }

    /// <summary>Since when it waits for an answer, or null.</summary>
    public long? WaitingSinceMs { get; private set; }

    public bool IsAlive => State != ModelClientState.Gone;

    /// <summary>It dies without a word.</summary>
    public void Crash()
    {
        State = ModelClientState.Gone;
        WaitingSinceMs = null;
        Owned = [];
    }

    /// <summary>It takes its leave, as dynamic members do when they close.</summary>
    public void Leave()
    {
        if (MemberId.Length > 0 && model.HasGroup)
            model.Harness.Leave((MemberId, instanceId));
        Crash();
    }

    /// <summary>Does what is due: looks at answers, heartbeats, joins.</summary>
    public void Pump()
    {
        switch (State)
        {
            case ModelClientState.Outside:
                Join();
                break;
            case ModelClientState.Joining when _join!.IsCompleted:
                OnJoined();
                break;
            case ModelClientState.Syncing when _sync!.IsCompleted:
                OnSynced();
                break;
            case ModelClientState.Stable when model.NowMs >= _heartbeatMs + HeartbeatMs:
                Heartbeat();
                break;
        }
    }

    /// <summary>The next heartbeat is due at once: so it learns of a rebalance sooner than others.</summary>
    public void Hurry() => _heartbeatMs = 0;

    public override string ToString() => $"{name}({MemberId} {State} {Generation} [{string.Join(',', Owned)}])";

    private void Join()
    {
        if (!cooperative)
            Owned = [];
        _join = model.Harness.Join(
            MemberId,
            instanceId,
            version,
            sessionMs: SessionMs,
            rebalanceMs: RebalanceMs,
            clientId: name,
            protocols: model.ProtocolsOf(this, cooperative));
        Wait(ModelClientState.Joining);
    }

    private void OnJoined()
    {
        WaitingSinceMs = null;
        if (_join!.IsFaulted)
        {
            State = ModelClientState.Outside;
            return;
        }

        _joined = _join.Result;
        switch (_joined.ErrorCode)
        {
            case ErrorCode.None:
                MemberId = _joined.MemberId;
                Generation = _joined.GenerationId;
                Sync();
                break;
            case ErrorCode.MemberIdRequired:
                MemberId = _joined.MemberId;
                Join();
                break;
            default:
                Obey(_joined.ErrorCode);
                break;
        }
    }

    private void Sync()
    {
        var isLeader = _joined.Leader == MemberId && !_joined.SkipAssignment;
        _sync = model.Harness.Sync(
            _joined,
            instanceId,
            _joined.ProtocolType,
            _joined.ProtocolName,
            isLeader ? ClassicModel.Assign(_joined.Members) : []);
        Wait(ModelClientState.Syncing);
    }

    private void OnSynced()
    {
        WaitingSinceMs = null;
        if (_sync!.IsFaulted)
        {
            State = ModelClientState.Outside;
            return;
        }

        if (_sync.Result.ErrorCode != ErrorCode.None)
        {
            Obey(_sync.Result.ErrorCode);
            return;
        }

        var assigned = new HashSet<int>(_sync.Result.Assignment.ToArray().Select(static b => (int)b));
        var gaveUp = cooperative && !Owned.IsSubsetOf(assigned);
        model.OnAssigned(this, assigned);
        Owned = assigned;
        _heartbeatMs = model.NowMs;

        // A cooperative consumer that gave partitions up joins again, so that they find a new owner.
        State = gaveUp ? ModelClientState.Outside : ModelClientState.Stable;
    }

    private void Heartbeat()
    {
        _heartbeatMs = model.NowMs;
        var error = model.HasGroup
            ? model.Harness.Heartbeat(MemberId, Generation, instanceId)
            : ErrorCode.UnknownMemberId;
        if (error != ErrorCode.None)
            Obey(error);
    }

    private void Obey(ErrorCode error)
    {
        switch (error)
        {
            case ErrorCode.RebalanceInProgress:
                break;
            case ErrorCode.IllegalGeneration:
                Owned = [];
                break;
            case ErrorCode.UnknownMemberId:
                MemberId = "";
                Owned = [];
                break;
            case ErrorCode.FencedInstanceId:
                Crash();
                return;
            default:
                throw new InvalidOperationException($"{this} was answered {error}.");
        }

        State = ModelClientState.Outside;
    }

    private void Wait(ModelClientState state)
    {
        State = state;
        WaitingSinceMs = model.NowMs;
    }
}
