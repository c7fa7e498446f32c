using System.Globalization;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;

namespace KBroker.Coordination.Groups.Consumer.State;

/// <summary>
/// A group whose partitions the broker assigns (KIP-848). Its state is what its records say, and
/// <see cref="ConsumerReplay"/> alone changes it; beside that it has a few things that a restart may lose.
/// </summary>
/// <param name="groupId">The group's id.</param>
internal sealed class ConsumerGroup(string groupId) : Group(groupId)
{
    private readonly Dictionary<string, ConsumerMember> _members = [];
    private readonly Dictionary<string, string> _staticMembers = [];
    private readonly Dictionary<string, PartitionAssignment> _targets = [];
    private readonly Dictionary<string, ResolvedRegex> _regexes = [];
    private readonly Dictionary<string, MemberTimers> _timers = [];
    private HashSet<string>? _subscribedTopics;

    /// <inheritdoc/>
    public override GroupType Type => GroupType.Consumer;

    /// <inheritdoc/>
    public override string ProtocolType => "consumer";

    /// <inheritdoc/>
    public override string StateName
    {
        get
        {
            if (_members.Count == 0)
                return "Empty";
            if (GroupEpoch > AssignmentEpoch)
                return "Assigning";
            return _members.Values.All(member => member.IsReconciledTo(AssignmentEpoch)) ? "Stable" : "Reconciling";
        }
    }

    /// <inheritdoc/>
    public override bool IsEmpty => _members.Count == 0;

    /// <summary>Grows with every change that asks for a new assignment. A new group has 1, without a record.</summary>
    public int GroupEpoch { get; set; } = 1;

    /// <summary>The hash of the metadata of all subscribed topics, as of <see cref="GroupEpoch"/>.</summary>
    public long MetadataHash { get; set; }

    /// <summary>The group epoch that the target assignment was made for; -1 when there is none.</summary>
    public int AssignmentEpoch { get; set; } = 1;

    /// <summary>When it was made, epoch milliseconds; 0 for long ago.</summary>
    public long AssignmentTimestampMs { get; set; }

    /// <summary>Whether the log still has the subscription metadata that older versions of Kafka wrote.</summary>
    public bool HasPartitionMetadataRecord { get; set; }

    /// <summary>The members by id.</summary>
    public IReadOnlyDictionary<string, ConsumerMember> Members => _members;

    /// <summary>What each member shall own.</summary>
    public IReadOnlyDictionary<string, PartitionAssignment> Targets => _targets;

    /// <summary>The regular expressions, and the topics they stand for.</summary>
    public IReadOnlyDictionary<string, ResolvedRegex> Regexes => _regexes;

    /// <summary>Who owns what.</summary>
    public PartitionOwners Owners { get; } = new();

    /// <summary>Whether a subscribed topic changed since <see cref="MetadataHash"/> was computed, or may have: after a
    /// load nobody knows. Not persisted.</summary>
    public bool IsMetadataStale { get; set; } = true;

    /// <summary>Whether regular expressions are being matched beside the shard. Not persisted.</summary>
    public bool IsResolvingRegexes { get; set; }

    /// <summary>The configs of the group, until they change. Not persisted.</summary>
    public ConsumerGroupSettings? Settings { get; set; }

    /// <summary>The topics that some member is subscribed to.</summary>
    public IReadOnlySet<string> SubscribedTopics => _subscribedTopics ??= CollectTopics();

    /// <summary>Number of members that speak the classic protocol.</summary>
    public int ClassicMemberCount => _members.Values.Count(static m => m.UsesClassicProtocol);

    /// <summary>The member of an instance id, or null.</summary>
    /// <param name="instanceId">The static member's name.</param>
    public ConsumerMember? StaticMember(string instanceId) =>
        _staticMembers.TryGetValue(instanceId, out var memberId) ? _members.GetValueOrDefault(memberId) : null;

    /// <summary>What a member shall own.</summary>
    /// <param name="memberId">The member.</param>
    public PartitionAssignment TargetOf(string memberId) =>
        _targets.GetValueOrDefault(memberId) ?? PartitionAssignment.Empty;

    /// <summary>Number of members subscribed to a regular expression.</summary>
    /// <param name="regex">The expression.</param>
    public int RegexSubscribers(string regex)
    {
        var count = 0;
        foreach (var member in _members.Values)
        {
            if (member.Regex == regex)
                count++;
        }

        return count;
    }

    /// <summary>The timers of a member; made when they are first asked for.</summary>
    /// <param name="memberId">The member.</param>
    public MemberTimers TimersOf(string memberId)
    {
        if (!_timers.TryGetValue(memberId, out var timers))
        {
            timers = new MemberTimers(GroupId, memberId);
            _timers.Add(memberId, timers);
        }

        return timers;
    }

    /// <summary>Finds a member.</summary>
    /// <param name="memberId">Its id.</param>
    /// <exception cref="CoordinatorException">UNKNOWN_MEMBER_ID.</exception>
    public ConsumerMember Require(string memberId) =>
        _members.GetValueOrDefault(memberId) ?? throw new CoordinatorException(
            ErrorCode.UnknownMemberId, $"Member {memberId} is not a member of group {GroupId}.");

    /// <summary>Adds a member, or replaces what is known of it.</summary>
    /// <param name="member">The member.</param>
    public void Put(ConsumerMember member)
    {
        var before = _members.GetValueOrDefault(member.MemberId);
        if (!ReferenceEquals(before?.Topics, member.Topics) || before?.Regex != member.Regex)
        {
            member = member with { Topics = SharedTopics(member.Topics) };
            _subscribedTopics = null;
        }

        _members[member.MemberId] = member;
        Owners.Update(before, member);
        if (before?.InstanceId is { } left && left != member.InstanceId)
            ForgetInstance(left, member.MemberId);
        if (member.InstanceId is { } instance)
            _staticMembers[instance] = member.MemberId;
    }

    /// <summary>Removes a member.</summary>
    /// <param name="memberId">Its id.</param>
    public void Remove(string memberId)
    {
        _timers.Remove(memberId);
        if (!_members.Remove(memberId, out var member))
            return;
        Owners.Update(member, null);
        _subscribedTopics = null;
        if (member.InstanceId is { } instance)
            ForgetInstance(instance, memberId);
    }

    /// <summary>Sets what a member shall own.</summary>
    /// <param name="memberId">The member.</param>
    /// <param name="target">The partitions; null when it is no member any more.</param>
    public void SetTarget(string memberId, PartitionAssignment? target)
    {
        if (target is null)
            _targets.Remove(memberId);
        else
            _targets[memberId] = target;
    }

    /// <summary>Sets the topics of a regular expression.</summary>
    /// <param name="regex">The expression.</param>
    /// <param name="resolved">The topics; null when nobody is subscribed to it any more.</param>
    public void SetRegex(string regex, ResolvedRegex? resolved)
    {
        _subscribedTopics = null;
        if (resolved is null)
            _regexes.Remove(regex);
        else
            _regexes[regex] = resolved;
    }

    /// <summary>The topics a member is subscribed to, by name or by its regular expression.</summary>
    /// <param name="member">The member.</param>
    public IEnumerable<string> TopicsOf(ConsumerMember member) =>
        member.HasRegex && _regexes.TryGetValue(member.Regex!, out var resolved)
            ? member.Topics.Union(resolved.Topics)
            : member.Topics;

    /// <inheritdoc/>
    public override void CheckOffsetCommit(ICoordinatorTurn turn, in OffsetCommitter commit)
    {
        // Who names no member may commit to a group without members; a transaction need not name one at all.
        if (commit.GenerationOrEpoch < 0 && _members.Count == 0)
            return;
        if (IsAnonymousTransaction(commit))
            return;

        var member = Require(commit.MemberId);
        if (!commit.IsTransactional && !member.UsesClassicProtocol && commit.ApiVersion < 9)
        {
            throw new CoordinatorException(
                ErrorCode.UnsupportedVersion,
                "OffsetCommit version 9 or above must be used by members using the consumer group protocol");
        }

        if (commit.GenerationOrEpoch > member.MemberEpoch)
        {
            var (error, what) = EpochError(member);
            throw new CoordinatorException(error, string.Create(
                CultureInfo.InvariantCulture,
                $"Received {what} {commit.GenerationOrEpoch} is newer than current member epoch " +
                $"{member.MemberEpoch}."));
        }
    }

    /// <inheritdoc/>
    public override void CheckOffsetCommitPartition(
        ICoordinatorTurn turn, in OffsetCommitter commit, string topic, int partition)
    {
        if ((commit.GenerationOrEpoch < 0 && _members.Count == 0) || IsAnonymousTransaction(commit))
            return;
        var member = Require(commit.MemberId);
        if (commit.GenerationOrEpoch == member.MemberEpoch)
            return;

        var topicId = turn.Metadata.Topics.Find(topic)?.Id ?? Uuid.Zero;
        var (error, what) = EpochError(member);
        var since = member.Assigned.EpochOf(topicId, partition) ?? member.PendingRevocation.EpochOf(topicId, partition)
            ?? throw new CoordinatorException(
                error, $"Partition {topic}-{partition} is not assigned or pending revocation for member.");
        if (commit.GenerationOrEpoch < since)
        {
            throw new CoordinatorException(error, string.Create(
                CultureInfo.InvariantCulture,
                $"Received {what} {commit.GenerationOrEpoch} is older than assignment epoch {since} for partition " +
                $"{topic}-{partition}."));
        }
    }

    /// <inheritdoc/>
    public override void CheckOffsetFetch(string? memberId, int memberEpoch)
    {
        if (memberId is null && memberEpoch < 0)
            return;
        var member = Require(memberId ?? "");
        if (memberEpoch == member.MemberEpoch)
            return;
        var (error, what) = EpochError(member);
        throw new CoordinatorException(error, string.Create(
            CultureInfo.InvariantCulture,
            $"The received {what} {memberEpoch} does not match the expected member epoch {member.MemberEpoch}."));
    }

    /// <inheritdoc/>
    public override void CheckOffsetDelete()
    {
        // The topics that a member is subscribed to are refused one by one.
    }

    /// <inheritdoc/>
    public override void CheckDelete()
    {
        if (_members.Count > 0)
            throw new CoordinatorException(ErrorCode.NonEmptyGroup);
    }

    /// <inheritdoc/>
    public override bool IsSubscribedTo(string topic) => SubscribedTopics.Contains(topic);

    /// <inheritdoc/>
    public override long? ExpiryBaseMs(long commitTimestampMs) => commitTimestampMs;

    /// <inheritdoc/>
    public override void AppendTombstones(ICoordinatorTurn turn)
    {
        foreach (var timers in _timers.Values)
            timers.CancelAll(turn);
        ConsumerRecords.AppendTombstones(turn, this);
    }

    private static bool IsAnonymousTransaction(in OffsetCommitter commit) =>
        commit is { IsTransactional: true, GenerationOrEpoch: -1, MemberId: "", InstanceId: null };

    private static (ErrorCode Error, string What) EpochError(ConsumerMember member) => member.UsesClassicProtocol
        ? (ErrorCode.IllegalGeneration, "generation id")
        : (ErrorCode.StaleMemberEpoch, "member epoch");

    private void ForgetInstance(string instanceId, string memberId)
    {
        if (_staticMembers.GetValueOrDefault(instanceId) == memberId)
            _staticMembers.Remove(instanceId);
    }

    // Members of a group mostly name the same topics: one array does for all of them.
    private string[] SharedTopics(string[] topics)
    {
        foreach (var other in _members.Values)
        {
            if (other.Topics.AsSpan().SequenceEqual(topics))
                return other.Topics;
        }

        return topics;
    }

    private HashSet<string> CollectTopics()
    {
        var topics = new HashSet<string>();
        string[]? last = null;
        foreach (var member in _members.Values)
        {
            if (!ReferenceEquals(last, member.Topics))
                topics.UnionWith(member.Topics);
            last = member.Topics;
        }

        // An expression counts when a member is subscribed to it; its last subscriber takes it along.
        foreach (var (regex, resolved) in _regexes)
        {
            if (RegexSubscribers(regex) > 0)
                topics.UnionWith(resolved.Topics);
        }

        return topics;
    }
}
