using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>
/// A group whose clients assign: its members, generation, leader and the assignor all of them support. Also what a
/// group is of which only offsets are known (simple consumers): empty, generation 0, without protocol type.
/// </summary>
/// <remarks>
/// Only bookkeeping lives here; what happens when is decided by <see cref="ClassicRebalance"/>. What the log has of a
/// group is one record with the last stable, or empty, generation: a rebalance under way is lost by a restart, and its
/// members, which find the old generation again, rejoin.
/// </remarks>
internal sealed class ClassicGroup : Group
{
    private readonly Dictionary<string, ClassicMember> _members = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _staticMembers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _supportedBy = new(StringComparer.Ordinal);
    private readonly HashSet<string> _pendingJoins = new(StringComparer.Ordinal);
    private readonly HashSet<string> _pendingSyncs = new(StringComparer.Ordinal);
    private HashSet<string>? _topics;
    private string? _protocolType;
    private string? _joinTimer;
    private string? _syncTimer;

    /// <summary>Creates an empty group.</summary>
    /// <param name="groupId">The group's id.</param>
    /// <param name="stateTimestampMs">When it became empty, epoch milliseconds; null when that is not known.</param>
    public ClassicGroup(string groupId, long? stateTimestampMs = null)
        : base(groupId) => StateTimestampMs = stateTimestampMs;

    /// <inheritdoc/>
    public override GroupType Type => GroupType.Classic;

    /// <inheritdoc/>
    public override string ProtocolType => _protocolType ?? "";

    /// <inheritdoc/>
    public override string StateName => State.ToString();

    /// <inheritdoc/>
    public override bool IsEmpty => State == ClassicGroupState.Empty;

    /// <summary>Where it stands.</summary>
    public ClassicGroupState State { get; private set; }

    /// <summary>Where it stood before.</summary>
    public ClassicGroupState PreviousState { get; private set; }

    /// <summary>Since when it is in this state, epoch milliseconds; null when not known.</summary>
    public long? StateTimestampMs { get; private set; }

    /// <summary>How many rebalances it went through.</summary>
    public int GenerationId { get; private set; }

    /// <summary>The protocol type, or null while nobody has joined yet.</summary>
    public string? ProtocolTypeOrNull => _protocolType;

    /// <summary>The assignor of this generation; null without members.</summary>
    public string? ProtocolName { get; private set; }

    /// <summary>The member that assigns; null without members.</summary>
    public string? LeaderId { get; private set; }

    /// <summary>The members, those of a generation that is being formed included.</summary>
    public IReadOnlyCollection<ClassicMember> Members => _members.Values;

    /// <summary>Members that were given an id, but have not joined with it yet (KIP-394).</summary>
    public IReadOnlyCollection<string> PendingJoins => _pendingJoins;

    /// <summary>Members of this generation that have not asked for their assignment yet.</summary>
    public IReadOnlyCollection<string> PendingSyncs => _pendingSyncs;

    /// <summary>How many JoinGroups wait.</summary>
    public int AwaitingJoinCount { get; private set; }

    /// <summary>Whether someone joined since the initial delay was last looked at.</summary>
    public bool HasNewMember { get; set; }

    /// <summary>Whether nobody is waited for: every member has joined, and no member id is out.</summary>
    public bool HasAllJoined => _members.Count == AwaitingJoinCount && _pendingJoins.Count == 0;

    /// <summary>Whether a rebalance may start.</summary>
    public bool CanRebalance =>
        State is ClassicGroupState.Empty or ClassicGroupState.Stable or ClassicGroupState.CompletingRebalance;

    /// <summary>How long a rebalance waits: as long as the most patient member asks, milliseconds.</summary>
    public int RebalanceTimeoutMs
    {
        get
        {
            var longest = 0;
            foreach (var member in _members.Values)
                longest = Math.Max(longest, member.RebalanceTimeoutMs);
            return longest;
        }
    }

    /// <summary>Names the timer of the join phase.</summary>
    internal string JoinTimer => _joinTimer ??= $"classic-join/{GroupId}";

    /// <summary>Names the timer of the sync phase.</summary>
    internal string SyncTimer => _syncTimer ??= $"classic-sync/{GroupId}";

    /// <summary>Finds a member.</summary>
    /// <param name="memberId">Its id.</param>
    public ClassicMember? FindMember(string memberId) => _members.GetValueOrDefault(memberId);

    /// <summary>The member id that a static member has now.</summary>
    /// <param name="instanceId">Its name.</param>
    public string? FindStaticMember(string instanceId) => _staticMembers.GetValueOrDefault(instanceId);

    /// <summary>Whether a member id was given out and has not joined yet.</summary>
    /// <param name="memberId">The id.</param>
    public bool IsPending(string memberId) => _pendingJoins.Contains(memberId);

    /// <summary>Notes a member id that was given out (KIP-394).</summary>
    /// <param name="memberId">The id.</param>
    public void AddPending(string memberId) => _pendingJoins.Add(memberId);

    /// <summary>Adds a member. The first one sets the protocol type and leads.</summary>
    /// <param name="member">The member.</param>
    /// <param name="join">Its JoinGroup, which waits; null for a member from the log.</param>
    public void Add(ClassicMember member, Reply<JoinGroupResponse>? join)
    {
        if (member.InstanceId is { } instanceId && !_staticMembers.TryAdd(instanceId, member.MemberId))
            throw new InvalidOperationException($"{instanceId} is a member of group {GroupId} already.");
        if (_members.Count == 0)
            _protocolType = member.ProtocolType;
        LeaderId ??= member.MemberId;
        _members.Add(member.MemberId, member);
        Count(member.Protocols, 1);
        SetWaitingJoin(member, join);
        _pendingJoins.Remove(member.MemberId);
    }

    /// <summary>Removes a member, or a member id that was only given out. Another member follows a leader.</summary>
    /// <param name="memberId">The member.</param>
    public void Remove(string memberId)
    {
        if (_members.Remove(memberId, out var member))
        {
            Count(member.Protocols, -1);
            if (member.IsAwaitingJoin)
                AwaitingJoinCount--;
            if (member.InstanceId is { } instanceId)
                _staticMembers.Remove(instanceId);
        }

        if (LeaderId == memberId)
            LeaderId = _members.Keys.FirstOrDefault();
        _pendingJoins.Remove(memberId);
        _pendingSyncs.Remove(memberId);
    }

    /// <summary>Takes over what a member says when it joins again.</summary>
    /// <param name="member">The member.</param>
    /// <param name="protocols">Its assignors.</param>
    /// <param name="rebalanceTimeoutMs">How long a rebalance may wait for it.</param>
    /// <param name="sessionTimeoutMs">How long it may be silent.</param>
    /// <param name="join">Its JoinGroup, which waits.</param>
    public void Update(
        ClassicMember member,
        ClassicProtocol[] protocols,
        int rebalanceTimeoutMs,
        int sessionTimeoutMs,
        Reply<JoinGroupResponse> join)
    {
        Count(member.Protocols, -1);
        member.Protocols = protocols;
        Count(protocols, 1);
        member.RebalanceTimeoutMs = rebalanceTimeoutMs;
        member.SessionTimeoutMs = sessionTimeoutMs;
        SetWaitingJoin(member, join);
    }

    /// <summary>
    /// Gives a static member that started anew its new id; the old one is fenced from then on (KIP-345). Everything
    /// else stays, the assignment and the lead included.
    /// </summary>
    /// <param name="old">The member so far; what it waits for must have been answered.</param>
    /// <param name="memberId">The new id.</param>
    /// <returns>The member under its new id.</returns>
    public ClassicMember ReplaceStatic(ClassicMember old, string memberId)
    {
        var member = new ClassicMember
        {
            MemberId = memberId,
            InstanceId = old.InstanceId,
            Client = old.Client,
            ProtocolType = old.ProtocolType,
            RebalanceTimeoutMs = old.RebalanceTimeoutMs,
            SessionTimeoutMs = old.SessionTimeoutMs,
            Protocols = old.Protocols,
            Assignment = old.Assignment,
        };
        _members.Remove(old.MemberId);
        _members.Add(memberId, member);
        _staticMembers[old.InstanceId!] = memberId;
        if (LeaderId == old.MemberId)
            LeaderId = memberId;
        if (_pendingSyncs.Remove(old.MemberId))
            _pendingSyncs.Add(memberId);
        return member;
    }

    /// <summary>
    /// Lets a JoinGroup wait, or ends the waiting. One that a newer of the same member replaces comes from a
    /// connection that its client gave up; it is answered all the same.
    /// </summary>
    /// <param name="member">The member.</param>
    /// <param name="join">What waits; null when it has been answered.</param>
    public void SetWaitingJoin(ClassicMember member, Reply<JoinGroupResponse>? join)
    {
        AwaitingJoinCount += (join is null ? 0 : 1) - (member.IsAwaitingJoin ? 1 : 0);
        if (join is not null)
            member.WaitingJoin?.Fail(ErrorCode.RebalanceInProgress);
        member.WaitingJoin = join;
    }

    /// <summary>Notes that a member must ask for its assignment.</summary>
    /// <param name="memberId">The member.</param>
    public void AddPendingSync(string memberId) => _pendingSyncs.Add(memberId);

    /// <summary>Notes that a member has asked for its assignment.</summary>
    /// <param name="memberId">The member.</param>
    public void RemovePendingSync(string memberId) => _pendingSyncs.Remove(memberId);

    /// <summary>Whether a member may join: all support one of its assignors, and the type is the same.</summary>
    /// <param name="protocolType">What it says.</param>
    /// <param name="protocols">The assignors it supports.</param>
    public bool Supports(string protocolType, ClassicProtocol[] protocols)
    {
        if (State == ClassicGroupState.Empty)
            return protocolType.Length > 0 && protocols.Length > 0;
        if (_protocolType != protocolType)
            return false;
        foreach (var protocol in protocols)
        {
            if (_supportedBy.GetValueOrDefault(protocol.Name) == _members.Count)
                return true;
        }

        return false;
    }

    /// <summary>
    /// The assignor that most members vote for: each for the first of its list that all support. Of two with as many
    /// votes the one that the leader likes better.
    /// </summary>
    /// <exception cref="InvalidOperationException">There are no members.</exception>
    public string SelectProtocol()
    {
        var votes = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var member in _members.Values)
        {
            foreach (var protocol in member.Protocols)
            {
                if (_supportedBy[protocol.Name] < _members.Count)
                    continue;
                votes[protocol.Name] = votes.GetValueOrDefault(protocol.Name) + 1;
                break;
            }
        }

        string? chosen = null;
        foreach (var protocol in (FindMember(LeaderId ?? "") ?? _members.Values.First()).Protocols)
        {
            if (votes.TryGetValue(protocol.Name, out var count) && (chosen is null || count > votes[chosen]))
                chosen = protocol.Name;
        }

        return chosen ?? throw new InvalidOperationException($"No assignor of group {GroupId} is common to all.");
    }

    /// <summary>
    /// Makes sure that the leader is a member that has joined, so that the generation gets an assignment.
    /// </summary>
    /// <returns>False when no member has joined.</returns>
    public bool ElectJoinedLeader()
    {
        if (LeaderId is null)
            return false;
        if (FindMember(LeaderId) is { IsAwaitingJoin: true })
            return true;
        var joined = _members.Values.FirstOrDefault(static member => member.IsAwaitingJoin);
        if (joined is null)
            return false;
        LeaderId = joined.MemberId;
        return true;
    }

    /// <summary>Starts the next generation: with the members there are, or empty.</summary>
    /// <param name="nowMs">Now.</param>
    public void StartGeneration(long nowMs)
    {
        GenerationId++;
        ProtocolName = _members.Count > 0 ? SelectProtocol() : null;
        _pendingSyncs.Clear();
        ReadSubscriptions();
        TransitionTo(
            _members.Count > 0 ? ClassicGroupState.CompletingRebalance : ClassicGroupState.Empty, nowMs);
    }

    /// <summary>Reads anew to which topics the members subscribe.</summary>
    public void ReadSubscriptions() =>
        _topics = ClassicSubscriptions.TopicsOf(_protocolType, ProtocolName, _members.Values);

    /// <summary>Sets what the log has of the group.</summary>
    /// <param name="value">The record.</param>
    /// <param name="members">Its members.</param>
    public void Restore(GroupMetadataValue value, IEnumerable<ClassicMember> members)
    {
        GenerationId = value.Generation;
        _protocolType = value.ProtocolType.Length == 0 ? null : value.ProtocolType;
        ProtocolName = value.Protocol;
        LeaderId = value.Leader;
        StateTimestampMs = value.CurrentStateTimestamp < 0 ? null : value.CurrentStateTimestamp;
        foreach (var member in members)
            Add(member, null);
        State = _members.Count == 0 ? ClassicGroupState.Empty : ClassicGroupState.Stable;
        PreviousState = State;
        ReadSubscriptions();
    }

    /// <summary>Changes the state.</summary>
    /// <param name="state">The new one.</param>
    /// <param name="nowMs">Now.</param>
    /// <exception cref="InvalidOperationException">It does not follow on the present one.</exception>
    public void TransitionTo(ClassicGroupState state, long nowMs)
    {
        var follows = state switch
        {
            ClassicGroupState.PreparingRebalance => CanRebalance,
            ClassicGroupState.CompletingRebalance or ClassicGroupState.Empty =>
                State == ClassicGroupState.PreparingRebalance,
            ClassicGroupState.Stable => State == ClassicGroupState.CompletingRebalance,
            _ => true,
        };
        if (!follows)
            throw new InvalidOperationException($"Group {GroupId} cannot become {state} from {State}.");
        PreviousState = State;
        State = state;
        StateTimestampMs = nowMs;
    }

    /// <summary>Checks that a request comes from a member.</summary>
    /// <param name="memberId">Who it says it is.</param>
    /// <param name="instanceId">Its static name, or null.</param>
    /// <returns>NONE, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.</returns>
    public ErrorCode CheckMember(string memberId, string? instanceId)
    {
        if (instanceId is not null)
        {
            var current = FindStaticMember(instanceId);
            if (current is null)
                return ErrorCode.UnknownMemberId;
            if (current != memberId)
                return ErrorCode.FencedInstanceId;
        }

        return _members.ContainsKey(memberId) ? ErrorCode.None : ErrorCode.UnknownMemberId;
    }

    /// <inheritdoc/>
    public override void CheckOffsetCommit(ICoordinatorTurn turn, in OffsetCommitter commit)
    {
        if (State == ClassicGroupState.Dead)
            throw new CoordinatorException(ErrorCode.CoordinatorNotAvailable);
        if (commit.GenerationOrEpoch < 0 && State == ClassicGroupState.Empty)
            return;
        if (commit.GenerationOrEpoch >= 0 || commit.MemberId.Length > 0 || commit.InstanceId is not null)
        {
            if (CheckMember(commit.MemberId, commit.InstanceId) is not ErrorCode.None and var error)
                throw new CoordinatorException(error);
            if (commit.GenerationOrEpoch != GenerationId)
                throw new CoordinatorException(ErrorCode.IllegalGeneration);
        }
        else if (!commit.IsTransactional && State != ClassicGroupState.Empty)
        {
            throw new CoordinatorException(ErrorCode.UnknownMemberId);
        }

        if (commit.IsTransactional)
            return;
        if (State == ClassicGroupState.CompletingRebalance)
            throw new CoordinatorException(ErrorCode.RebalanceInProgress);
        FindMember(commit.MemberId)?.Touch(turn.NowMs);
    }

    /// <inheritdoc/>
    public override void CheckOffsetFetch(string? memberId, int memberEpoch)
    {
        if (State == ClassicGroupState.Dead)
            throw new CoordinatorException(ErrorCode.GroupIdNotFound, $"Group {GroupId} is in dead state.");
    }

    /// <inheritdoc/>
    public override void CheckOffsetDelete()
    {
        CheckOffsetFetch(null, -1);
        if (State != ClassicGroupState.Empty && _protocolType != ClassicSubscriptions.ConsumerProtocolType)
            throw new CoordinatorException(ErrorCode.NonEmptyGroup);
    }

    /// <inheritdoc/>
    public override void CheckDelete()
    {
        CheckOffsetFetch(null, -1);
        if (State != ClassicGroupState.Empty)
            throw new CoordinatorException(ErrorCode.NonEmptyGroup);
    }

    /// <inheritdoc/>
    /// <remarks>Where the topics are not known, those of consumers count as subscribed to, as in Kafka.</remarks>
    public override bool IsSubscribedTo(string topic) =>
        _topics?.Contains(topic) ?? _protocolType == ClassicSubscriptions.ConsumerProtocolType;

    /// <inheritdoc/>
    /// <remarks>
    /// Simple consumers: since the commit. A group without members: since it is empty. Stable consumers whose topics
    /// are known: since the commit, for topics nobody subscribes to. All others: never.
    /// </remarks>
    public override long? ExpiryBaseMs(long commitTimestampMs)
    {
        if (_protocolType is null)
            return commitTimestampMs;
        if (State == ClassicGroupState.Empty)
            return StateTimestampMs ?? commitTimestampMs;
        return State == ClassicGroupState.Stable && _topics is not null ? commitTimestampMs : null;
    }

    /// <inheritdoc/>
    public override void AppendTombstones(ICoordinatorTurn turn) =>
        turn.Append(CoordinatorRecord.Tombstone(ClassicGroupRecords.KeyOf(GroupId)));

    private void Count(ClassicProtocol[] protocols, int change)
    {
        foreach (var protocol in protocols)
        {
            var count = _supportedBy.GetValueOrDefault(protocol.Name) + change;
            if (count == 0)
                _supportedBy.Remove(protocol.Name);
            else
                _supportedBy[protocol.Name] = count;
        }
    }
}
