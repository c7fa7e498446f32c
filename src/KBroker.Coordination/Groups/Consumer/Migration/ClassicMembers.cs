using System.Globalization;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer.Migration;

/// <summary>
/// Serves JoinGroup, SyncGroup, Heartbeat and LeaveGroup to the classic members of a consumer group. To them it looks
/// like a classic group with another leader: a rebalance is a new group epoch, JoinGroup takes them a step towards
/// their target and tells their epoch as the generation, SyncGroup brings the partitions that they own now.
/// </summary>
/// <param name="groups">The groups of the shard.</param>
/// <param name="services">The steps of a consumer group.</param>
/// <param name="conversion">Turns the group back into a classic one.</param>
internal sealed class ClassicMembers(GroupMap groups, ConsumerGroupServices services, GroupConversion conversion)
    : IClassicProtocol
{
    /// <inheritdoc/>
    public void Join(ICoordinatorTurn turn, GroupRequest<JoinGroupRequest> request, Reply<JoinGroupResponse> reply)
    {
        try
        {
            JoinOrRefuse(turn, request, reply);
        }
        catch (CoordinatorException refusal)
        {
            turn.Send(reply, new JoinGroupResponse { ErrorCode = refusal.Error, ProtocolName = null });
        }
    }

    /// <inheritdoc/>
    public void Sync(ICoordinatorTurn turn, GroupRequest<SyncGroupRequest> request, Reply<SyncGroupResponse> reply)
    {
        var message = request.Message;
        var group = (ConsumerGroup)groups.Find(message.GroupId)!;
        var member = Require(group, message.MemberId, message.GroupInstanceId, message.GenerationId);
        var protocol = member.Classic!.SupportedProtocols[0];
        if ((message.ProtocolType ?? "consumer") != "consumer"
            || (message.ProtocolName ?? protocol.Name) != protocol.Name)
        {
            throw new CoordinatorException(ErrorCode.InconsistentGroupProtocol);
        }

        // Who has yet to give up partitions has joined already, and joins again when it has done so.
        if (group.AssignmentEpoch > member.MemberEpoch && member.State != MemberState.UnrevokedPartitions)
        {
            StartJoinTimeout(turn, group, member);
            turn.Send(reply, new SyncGroupResponse { ErrorCode = ErrorCode.RebalanceInProgress });
            return;
        }

        group.TimersOf(member.MemberId).CancelSync(turn);
        services.Removal.StartSession(turn, group, member.MemberId, member.Classic.SessionTimeoutMs);
        turn.Send(reply, new SyncGroupResponse
        {
            ProtocolType = message.ProtocolType,
            ProtocolName = message.ProtocolName,
            Assignment = EmbeddedProtocol.WriteAssignment(member.Assigned, protocol.Metadata, turn.Metadata),
        });
    }

    /// <inheritdoc/>
    public ErrorCode Heartbeat(ICoordinatorTurn turn, HeartbeatRequest request)
    {
        var group = (ConsumerGroup)groups.Find(request.GroupId)!;
        var member = Require(group, request.MemberId, request.GroupInstanceId, request.GenerationId);
        services.Removal.StartSession(turn, group, member.MemberId, member.Classic!.SessionTimeoutMs);

        // A target that had to wait for its interval: a group of classic members has no other heartbeat to make it.
        services.Targets.Update(turn, group, services.SettingsOf(group).AssignmentIntervalMs);
        if (member.MemberEpoch >= group.AssignmentEpoch && member.State != MemberState.UnrevokedPartitions
            && (member.State != MemberState.UnreleasedPartitions || WaitsForOthers(group, member)))
        {
            return ErrorCode.None;
        }

        StartJoinTimeout(turn, group, member);
        return ErrorCode.RebalanceInProgress;
    }

    /// <inheritdoc/>
    public LeaveGroupResponse Leave(
        ICoordinatorTurn turn, string groupId, IReadOnlyList<LeaveGroupRequest.MemberIdentity> members)
    {
        var group = (ConsumerGroup)groups.Find(groupId)!;
        var response = new LeaveGroupResponse();
        var leaving = new Dictionary<string, ConsumerMember>();
        foreach (var identity in members)
        {
            var error = ErrorCode.None;
            try
            {
                var member = Find(group, identity);
                leaving[member.MemberId] = member;
            }
            catch (CoordinatorException refusal)
            {
                error = refusal.Error;
            }

            response.Members.Add(new LeaveGroupResponse.MemberResponse
            {
                MemberId = identity.MemberId,
                GroupInstanceId = identity.GroupInstanceId,
                ErrorCode = error,
            });
        }

        services.Removal.Remove(turn, group, leaving.Values);
        return response;
    }

    private void JoinOrRefuse(
        ICoordinatorTurn turn, GroupRequest<JoinGroupRequest> request, Reply<JoinGroupResponse> reply)
    {
        var message = request.Message;
        var group = (ConsumerGroup)groups.Find(message.GroupId)!;
        var settings = services.SettingsOf(group);
        var isUnknown = message.MemberId.Length == 0;
        var memberId = isUnknown ? services.NewMemberId() : message.MemberId;
        CheckJoin(group, message, memberId, settings);
        if (isUnknown && message.GroupInstanceId is null && request.Version >= 4)
        {
            turn.Send(reply, new JoinGroupResponse
            {
                MemberId = memberId,
                ErrorCode = ErrorCode.MemberIdRequired,
                ProtocolName = null,
            });
            return;
        }

        var subscription = ReadSubscription(message);
        var existing = message.GroupInstanceId is { } instance ? group.StaticMember(instance) : null;
        var downgrades = existing is not null && conversion.MayDowngradeInPlaceOf(group, existing);
        var before = FindMember(turn, ref group, message, memberId, existing, isUnknown);
        var after = Updated(before, message, request.Client, subscription);
        var hasChanged = Apply(turn, group, before, after, settings);
        var owned = new OwnedPartitions(EmbeddedProtocol.ToIds(
            subscription.OwnedPartitions.Select(static t => (t.Topic, t.Partitions)), turn.Metadata));
        if (!downgrades)
            services.Targets.Update(turn, group, settings.AssignmentIntervalMs);
        var current = downgrades && hasChanged
            ? group.Members[memberId]
            : services.Reconcile(turn, group, memberId, hasChanged, owned);
        var timers = group.TimersOf(memberId);
        timers.CancelJoin(turn);
        if (downgrades)
        {
            conversion.Downgrade(turn, group, [], hasChanged ? "a static member has another subscription" : null);
        }
        else
        {
            services.Removal.StartSession(turn, group, memberId, message.SessionTimeoutMs);
            timers.StartSync(turn, current.RebalanceTimeoutMs, services.Removal.Expiry(
                group.GroupId, memberId, "it did not fetch its assignment in time"));
        }

        turn.Send(reply, new JoinGroupResponse
        {
            MemberId = memberId,
            GenerationId = current.MemberEpoch,
            ProtocolType = "consumer",
            ProtocolName = after.Classic!.SupportedProtocols[0].Name,
        });
    }

    private static ConsumerMember Find(ConsumerGroup group, LeaveGroupRequest.MemberIdentity identity)
    {
        if (identity.GroupInstanceId is not { } instanceId)
            return group.Require(identity.MemberId);
        var member = StaticMemberFence.Require(group.StaticMember(instanceId), instanceId);

        // Administrators name the instance alone.
        if (identity.MemberId.Length > 0)
            StaticMemberFence.CheckOwner(member, identity.MemberId, instanceId);
        return member;
    }

    private static bool WaitsForOthers(ConsumerGroup group, ConsumerMember member)
    {
        foreach (var topic in group.TargetOf(member.MemberId).Topics)
        {
            foreach (var partition in topic.Partitions)
            {
                if (!member.Assigned.Contains(topic.TopicId, partition)
                    && group.Owners.Find(topic.TopicId, partition) is not null)
                {
                    return true;
                }
            }
        }

        return false;
    }

    private static ConsumerMember Require(
        ConsumerGroup group, string memberId, string? instanceId, int generationId)
    {
        ConsumerMember member;
        if (instanceId is null)
        {
            member = group.Require(memberId);
        }
        else
        {
            member = StaticMemberFence.Require(group.StaticMember(instanceId), instanceId);
            StaticMemberFence.CheckOwner(member, memberId, instanceId);
        }

        if (!member.UsesClassicProtocol)
        {
            throw new CoordinatorException(
                ErrorCode.UnknownMemberId, $"Member {memberId} does not use the classic protocol.");
        }

        if (generationId != member.MemberEpoch)
        {
            throw new CoordinatorException(ErrorCode.IllegalGeneration, string.Create(
                CultureInfo.InvariantCulture,
                $"The request generation id {generationId} is not equal to the member epoch {member.MemberEpoch} of " +
                $"member {memberId}."));
        }

        return member;
    }

    private static ConsumerMember Updated(
        ConsumerMember member, JoinGroupRequest message, in GroupClient client,
        ConsumerProtocolSubscription subscription) => member with
        {
            InstanceId = message.GroupInstanceId ?? member.InstanceId,
            RackId = string.IsNullOrEmpty(subscription.RackId) ? member.RackId : subscription.RackId,
            RebalanceTimeoutMs = message.RebalanceTimeoutMs == -1
                ? member.RebalanceTimeoutMs : message.RebalanceTimeoutMs,
            Topics = ConsumerMember.Sorted(subscription.Topics),
            Regex = "",
            ClientId = client.ClientId,
            ClientHost = client.ClientHost,
            Classic = new ConsumerGroupMemberMetadataValue.ClassicMemberMetadataData
            {
                SessionTimeoutMs = message.SessionTimeoutMs,
                SupportedProtocols =
                [
                    .. ClassicProtocol.Of(message).Select(static p =>
                        new ConsumerGroupMemberMetadataValue.ClassicProtocol
                        {
                            Name = p.Name,
                            Metadata = p.Metadata.ToArray(),
                        }),
                ],
            },
        };

    private void CheckJoin(
        ConsumerGroup group, JoinGroupRequest message, string memberId, ConsumerGroupSettings settings)
    {
        if (conversion.IsDisabled)
        {
            throw new CoordinatorException(
                ErrorCode.InconsistentGroupProtocol,
                $"Cannot join the consumer group {group.GroupId} with the classic protocol because the group " +
                "migration is disabled.");
        }

        if (!group.Members.ContainsKey(memberId))
            ConsumerHeartbeats.CheckSize(group.Members.Count, settings.MaxSize);
        var classic = group.Members.Values.Where(static m => m.UsesClassicProtocol).ToList();
        var isSupported = message.ProtocolType == "consumer" && message.Protocols.Exists(offered =>
            classic.TrueForAll(m => m.Classic!.SupportedProtocols.Exists(p => p.Name == offered.Name)));
        if (!isSupported)
        {
            throw new CoordinatorException(
                ErrorCode.InconsistentGroupProtocol, $"Member {memberId}'s protocols are not supported.");
        }

    }

    private static ConsumerProtocolSubscription ReadSubscription(JoinGroupRequest message)
    {
        try
        {
            return EmbeddedProtocol.ReadSubscription(message.Protocols[0].Metadata);
        }
        catch (ProtocolException)
        {
            throw new CoordinatorException(
                ErrorCode.UnknownServerError,
                "Malformed embedded consumer protocol in subscription deserialization.");
        }
    }

    private ConsumerMember FindMember(
        ICoordinatorTurn turn, ref ConsumerGroup group, JoinGroupRequest message, string memberId,
        ConsumerMember? existing, bool isUnknown)
    {
        if (message.GroupInstanceId is not { } instanceId)
            return group.Members.GetValueOrDefault(memberId) ?? new ConsumerMember { MemberId = memberId };
        if (!isUnknown)
        {
            StaticMemberFence.CheckOwner(StaticMemberFence.Require(existing, instanceId), memberId, instanceId);
            return existing;
        }

        return existing is null
            ? new ConsumerMember { MemberId = memberId }
            : services.ReplaceStaticMember(turn, ref group, existing, memberId);
    }

    // Gives whether the subscription changed.
    private bool Apply(
        ICoordinatorTurn turn, ConsumerGroup group, ConsumerMember before, ConsumerMember after,
        ConsumerGroupSettings settings)
    {
        if (!before.HasSameSubscription(after))
            ConsumerRecords.AppendMember(turn, group.GroupId, after);
        var regex = services.Regexes.Update(turn, group, before, after, settings, static _ => true);
        var hasChanged = !before.Topics.AsSpan().SequenceEqual(after.Topics) || regex != RegexChange.None;
        services.RefreshEpoch(turn, group, hasChanged);
        return hasChanged;
    }

    private void StartJoinTimeout(ICoordinatorTurn turn, ConsumerGroup group, ConsumerMember member) =>
        group.TimersOf(member.MemberId).StartJoin(turn, member.RebalanceTimeoutMs, services.Removal.Expiry(
            group.GroupId, member.MemberId, "it did not join again in time"));
}
