using KBroker.Coordination.Groups.Consumer.Assignors;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Groups.Consumer.Subscriptions;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>The steps that both protocols of a consumer group's members take, in the order in which they take them.
/// </summary>
internal sealed class ConsumerGroupServices
{
    private readonly GroupShardOptions _options;
    private readonly GroupMap _groups;
    private readonly GroupEpochs _epochs;

    /// <summary>Composes them for a shard.</summary>
    /// <param name="options">Configs, ids, log.</param>
    /// <param name="groups">The groups of the shard.</param>
    public ConsumerGroupServices(GroupShardOptions options, GroupMap groups)
    {
        _options = options;
        _groups = groups;
        _epochs = new GroupEpochs(Hashes, options.Logger);
        Removal = new MemberRemoval(groups, _epochs, options.Logger);
        Regexes = new RegexSubscriptions(groups, _epochs, options.Logger);
        Targets = new TargetAssignments(
            new AssignorSet(options.Configs.Broker.GetList("group.consumer.assignors")), options.Logger);
    }

    /// <summary>The hashes of topics.</summary>
    public MetadataHashes Hashes { get; } = new();

    /// <summary>Takes members out.</summary>
    public MemberRemoval Removal { get; }

    /// <summary>Resolves regular expressions.</summary>
    public RegexSubscriptions Regexes { get; }

    /// <summary>Makes target assignments.</summary>
    public TargetAssignments Targets { get; }

    /// <summary>Turns a classic group with members into a consumer group, or refuses to.</summary>
    public Func<ICoordinatorTurn, Group, ConsumerGroup>? Upgrade { get; set; }

    /// <summary>A new member id, for a client that has not made one itself.</summary>
    public string NewMemberId() => _options.NewUuid();

    /// <summary>The settings of a group.</summary>
    /// <param name="group">The group.</param>
    public ConsumerGroupSettings SettingsOf(ConsumerGroup group) =>
        group.Settings ??= ConsumerGroupSettings.Of(_options.Configs, group.GroupId);

    /// <summary>The group that a member joins where there is no consumer group yet: a new one, in the place of an empty
    /// group of another type; or a classic group with members, converted.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <param name="known">What is there, or null.</param>
    /// <exception cref="CoordinatorException">GROUP_ID_NOT_FOUND when it cannot be converted.</exception>
    public ConsumerGroup Replace(ICoordinatorTurn turn, string groupId, Group? known)
    {
        if (known is { IsEmpty: false })
        {
            return Upgrade?.Invoke(turn, known) ?? throw new CoordinatorException(
                ErrorCode.GroupIdNotFound, $"Group {groupId} is not a consumer group.");
        }

        known?.AppendTombstones(turn);
        return new ConsumerGroup(groupId);
    }

    /// <summary>Puts a static member that came back in the place of the one that went.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group; the same one, in the map, afterwards.</param>
    /// <param name="old">The member that went.</param>
    /// <param name="memberId">Its new id.</param>
    /// <returns>The member under its new id, at epoch 0.</returns>
    public ConsumerMember ReplaceStaticMember(
        ICoordinatorTurn turn, ref ConsumerGroup group, ConsumerMember old, string memberId)
    {
        var target = group.TargetOf(old.MemberId);
        var member = old with { MemberId = memberId, MemberEpoch = 0, PreviousMemberEpoch = 0 };
        group.TimersOf(old.MemberId).CancelAll(turn);
        ConsumerRecords.DeleteMember(turn, group.GroupId, old.MemberId);
        ConsumerRecords.AppendMember(turn, group.GroupId, member);
        ConsumerRecords.AppendTarget(turn, group.GroupId, memberId, target);
        ConsumerRecords.AppendCurrent(turn, group.GroupId, member);
        group = (ConsumerGroup)_groups.Find(group.GroupId)!;
        return member;
    }

    /// <summary>Moves a group's epoch on if it has to, or if its topics changed.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="mustBump">Whether it has to.</param>
    public void RefreshEpoch(ICoordinatorTurn turn, ConsumerGroup group, bool mustBump)
    {
        if (!mustBump && !group.IsMetadataStale)
            return;
        _epochs.Refresh(turn, group, mustBump);
        if (group.HasPartitionMetadataRecord)
            ConsumerRecords.DeletePartitionMetadata(turn, group.GroupId);
    }

    /// <summary>Takes a member a step towards its target.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="memberId">The member.</param>
    /// <param name="hasSubscriptionChanged">Whether its subscription changed in this step.</param>
    /// <param name="owned">What it says it owns.</param>
    /// <returns>The member afterwards.</returns>
    public ConsumerMember Reconcile(
        ICoordinatorTurn turn, ConsumerGroup group, string memberId, bool hasSubscriptionChanged,
        in OwnedPartitions owned)
    {
        var member = group.Members[memberId];
        if (!hasSubscriptionChanged && member.IsReconciledTo(group.AssignmentEpoch))
            return member;
        var next = Reconciler.Next(group, member, turn.Metadata, hasSubscriptionChanged, owned);
        if (member.HasSameAssignment(next))
            return member;
        ConsumerRecords.AppendCurrent(turn, group.GroupId, next);

        // A classic member has timers for its JoinGroup and SyncGroup instead.
        if (next.UsesClassicProtocol)
            return next;
        if (next.State == MemberState.UnrevokedPartitions)
            Removal.StartRebalance(turn, group, next);
        else
            group.TimersOf(memberId).CancelRebalance(turn);
        return next;
    }
}
