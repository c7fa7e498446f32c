using System.Globalization;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>
/// ConsumerGroupHeartbeat: a member joins, keeps its session, changes its subscription, tells what it owns, leaves; and
/// gets what it may own now. What can be refused is refused before the first record is appended.
/// </summary>
/// <param name="groups">The groups of the shard.</param>
/// <param name="services">What does the work.</param>
internal sealed class ConsumerHeartbeats(GroupMap groups, ConsumerGroupServices services)
{
    /// <summary>Handles a request that <see cref="HeartbeatRequestCheck"/> has let pass.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="request">The request.</param>
    /// <param name="mayDescribe">Whether the member may see a topic that its regular expression matches.</param>
    /// <exception cref="CoordinatorException">Any refusal.</exception>
    public ConsumerGroupHeartbeatResponse Handle(
        ICoordinatorTurn turn, in GroupRequest<ConsumerGroupHeartbeatRequest> request, Predicate<string> mayDescribe)
    {
        var message = request.Message;
        if (message.MemberEpoch is ConsumerMember.LeaveEpoch or ConsumerMember.StaticLeaveEpoch)
            return Leave(turn, message);

        var isJoin = message.MemberEpoch == 0;
        var known = groups.Find(message.GroupId);
        if (known is not ConsumerGroup && !isJoin)
            throw NotFound(known, message.GroupId, $"Consumer group {message.GroupId} not found.");
        RegexSubscriptions.Check(known as ConsumerGroup, message.SubscribedTopicRegex);
        var group = known as ConsumerGroup ?? services.Replace(turn, message.GroupId, known);
        var settings = services.SettingsOf(group);
        if (!group.Members.ContainsKey(message.MemberId))
            CheckSize(group.Members.Count, settings.MaxSize);

        var memberId = message.MemberId.Length == 0 ? services.NewMemberId() : message.MemberId;
        var owned = Owned(message.TopicPartitions);
        var before = FindMember(turn, ref group, message, memberId, owned, isJoin);
        var after = Updated(before, message, request.Client);
        return Advance(turn, group, message, before, after, settings, owned, mayDescribe);
    }

    /// <summary>Refuses one member more than a group may have.</summary>
    /// <param name="size">The members it has without the one that comes.</param>
    /// <param name="maxSize"><c>group.consumer.max.size</c>.</param>
    /// <exception cref="CoordinatorException">GROUP_MAX_SIZE_REACHED.</exception>
    public static void CheckSize(int size, int maxSize)
    {
        if (size >= maxSize)
        {
            throw new CoordinatorException(ErrorCode.GroupMaxSizeReached, string.Create(
                CultureInfo.InvariantCulture,
                $"The consumer group has reached its maximum capacity of {maxSize} members."));
        }
    }

    private ConsumerGroupHeartbeatResponse Advance(
        ICoordinatorTurn turn, ConsumerGroup group, ConsumerGroupHeartbeatRequest message, ConsumerMember before,
        ConsumerMember after, ConsumerGroupSettings settings, in OwnedPartitions owned, Predicate<string> mayDescribe)
    {
        var memberId = after.MemberId;
        var namesChanged = !before.Topics.AsSpan().SequenceEqual(after.Topics);
        if (!before.HasSameSubscription(after))
        {
            ConsumerRecords.AppendMember(turn, group.GroupId, after);
            group = (ConsumerGroup)groups.Find(group.GroupId)!;
        }

        var regex = services.Regexes.Update(turn, group, before, after, settings, mayDescribe);
        var mustBump = namesChanged || regex == RegexChange.ChangedAndResolved;
        services.RefreshEpoch(turn, group, mustBump);
        services.Targets.Update(turn, group, settings.AssignmentIntervalMs);
        var current = services.Reconcile(turn, group, memberId, namesChanged || regex != RegexChange.None, owned);
        services.Removal.StartSession(turn, group, memberId, settings.SessionTimeoutMs);

        var isFull = message is { RebalanceTimeoutMs: not -1, TopicPartitions: not null }
            && (message.SubscribedTopicNames is not null || message.SubscribedTopicRegex is not null);
        return new ConsumerGroupHeartbeatResponse
        {
            MemberId = memberId,
            MemberEpoch = current.MemberEpoch,
            HeartbeatIntervalMs = settings.HeartbeatIntervalMs,
            Assignment = message.MemberEpoch == 0 || isFull || !before.Assigned.Equals(current.Assigned)
                ? Told(current.Assigned)
                : null,
        };
    }

    private ConsumerMember FindMember(
        ICoordinatorTurn turn, ref ConsumerGroup group, ConsumerGroupHeartbeatRequest message, string memberId,
        in OwnedPartitions owned, bool isJoin)
    {
        ConsumerMember? member;
        if (message.InstanceId is not { } instanceId)
        {
            member = group.Members.GetValueOrDefault(memberId);
            if (member is null)
                return isJoin ? new ConsumerMember { MemberId = memberId } : group.Require(memberId);
            CheckEpoch(member, message.MemberEpoch, owned);
            Reconciler.CheckState(member, owned);
            return member;
        }

        member = group.StaticMember(instanceId);
        if (!isJoin)
        {
            member = StaticMemberFence.Require(member, instanceId);
            StaticMemberFence.CheckOwner(member, memberId, instanceId);
            CheckEpoch(member, message.MemberEpoch, owned);
            Reconciler.CheckState(member, owned);
            return member;
        }

        if (member is null)
            return group.Members.GetValueOrDefault(memberId) ?? new ConsumerMember { MemberId = memberId };
        if (!member.UsesClassicProtocol)
            StaticMemberFence.CheckReleased(member, memberId, instanceId);
        Reconciler.CheckState(member, owned);
        return services.ReplaceStaticMember(turn, ref group, member, memberId);
    }

    private ConsumerGroupHeartbeatResponse Leave(ICoordinatorTurn turn, ConsumerGroupHeartbeatRequest message)
    {
        if (groups.Find(message.GroupId) is not ConsumerGroup group)
        {
            throw NotFound(
                groups.Find(message.GroupId), message.GroupId, $"Group {message.GroupId} not found.");
        }

        ConsumerMember member;
        if (message.InstanceId is not { } instanceId)
        {
            member = group.Require(message.MemberId);
        }
        else
        {
            member = StaticMemberFence.Require(group.StaticMember(instanceId), instanceId);
            StaticMemberFence.CheckOwner(member, message.MemberId, instanceId);
        }

        if (message is { MemberEpoch: ConsumerMember.StaticLeaveEpoch, InstanceId: not null })
        {
            // It may be back within its session; until then its partitions wait for it.
            ConsumerRecords.AppendCurrent(turn, group.GroupId, member with
            {
                MemberEpoch = ConsumerMember.StaticLeaveEpoch,
                PendingRevocation = PartitionAssignment.Empty,
                Assigned = member.Assigned.WithEpoch(0),
            });
        }
        else
        {
            services.Removal.Remove(turn, group, [member]);
        }

        return new ConsumerGroupHeartbeatResponse { MemberId = member.MemberId, MemberEpoch = message.MemberEpoch };
    }

    private static void CheckEpoch(ConsumerMember member, int epoch, in OwnedPartitions owned)
    {
        if (epoch == 0 || epoch == member.MemberEpoch)
            return;

        // The answer with the new epoch may have been lost.
        if (epoch < member.MemberEpoch && epoch == member.PreviousMemberEpoch && owned.IsSubsetOf(member.Assigned))
            return;
        var relation = epoch > member.MemberEpoch ? "greater" : "smaller";
        throw new CoordinatorException(ErrorCode.FencedMemberEpoch, string.Create(
            CultureInfo.InvariantCulture,
            $"The consumer group member has a {relation} member epoch ({epoch}) than the one known by the group " +
            $"coordinator ({member.MemberEpoch}). The member must abandon all its partitions and rejoin."));
    }

    private static ConsumerMember Updated(
        ConsumerMember member, ConsumerGroupHeartbeatRequest message, in GroupClient client)
    {
        var topics = message.SubscribedTopicNames is { } names ? ConsumerMember.Sorted(names) : member.Topics;
        if (topics.AsSpan().SequenceEqual(member.Topics))
            topics = member.Topics;
        var instanceId = message.InstanceId ?? member.InstanceId;
        var rackId = message.RackId ?? member.RackId;
        var rebalanceTimeoutMs = message.RebalanceTimeoutMs == -1
            ? member.RebalanceTimeoutMs : message.RebalanceTimeoutMs;
        var assignor = message.ServerAssignor ?? member.ServerAssignor;
        var regex = message.SubscribedTopicRegex ?? member.Regex;
        if (instanceId == member.InstanceId && rackId == member.RackId
            && rebalanceTimeoutMs == member.RebalanceTimeoutMs && assignor == member.ServerAssignor
            && regex == member.Regex && ReferenceEquals(topics, member.Topics) && member.Classic is null
            && client.ClientId == member.ClientId && client.ClientHost == member.ClientHost)
        {
            return member;
        }

        return member with
        {
            InstanceId = instanceId,
            RackId = rackId,
            RebalanceTimeoutMs = rebalanceTimeoutMs,
            ServerAssignor = assignor,
            Topics = topics,
            Regex = regex,
            ClientId = client.ClientId,
            ClientHost = client.ClientHost,
            Classic = null,
        };
    }

    private static OwnedPartitions Owned(List<ConsumerGroupHeartbeatRequest.TopicPartitionsData>? partitions) =>
        new(partitions?.ConvertAll(static topic => (topic.TopicId, topic.Partitions)));

    private static ConsumerGroupHeartbeatResponse.AssignmentData Told(PartitionAssignment assigned)
    {
        var told = new ConsumerGroupHeartbeatResponse.AssignmentData();
        foreach (var topic in assigned.Topics)
            told.TopicPartitions.Add(new() { TopicId = topic.TopicId, Partitions = [.. topic.Partitions] });
        return told;
    }

    private static CoordinatorException NotFound(Group? known, string groupId, string missing) => new(
        ErrorCode.GroupIdNotFound, known is null ? missing : $"Group {groupId} is not a consumer group.");
}
