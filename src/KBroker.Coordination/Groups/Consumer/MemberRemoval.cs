using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>Takes members out of a group: they left, fell silent, or did not give up partitions in time.</summary>
/// <param name="groups">The groups of the shard.</param>
/// <param name="epochs">Moves the group's epoch on.</param>
/// <param name="logger">Where removals are told.</param>
internal sealed class MemberRemoval(GroupMap groups, GroupEpochs epochs, ILogger logger)
{
    /// <summary>
    /// Is asked before members go: it may turn a group of which only classic members would remain into a classic group,
    /// and then removes them itself.
    /// </summary>
    public Func<ICoordinatorTurn, ConsumerGroup, IReadOnlyCollection<ConsumerMember>, bool>? Downgrade { get; set; }

    /// <summary>Takes members out, and moves the group's epoch on.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="members">The members; nothing happens when there are none.</param>
    public void Remove(ICoordinatorTurn turn, ConsumerGroup group, IReadOnlyCollection<ConsumerMember> members)
    {
        if (members.Count == 0)
            return;
        foreach (var member in members)
            group.TimersOf(member.MemberId).CancelAll(turn);
        if (Downgrade?.Invoke(turn, group, members) == true)
            return;

        foreach (var member in members)
            ConsumerRecords.DeleteMember(turn, group.GroupId, member.MemberId);
        foreach (var regex in members.Where(static m => m.HasRegex).Select(static m => m.Regex!).Distinct())
        {
            if (group.RegexSubscribers(regex) == 0)
                ConsumerRecords.DeleteRegex(turn, group.GroupId, regex);
        }

        epochs.Refresh(turn, group, always: true);
    }

    /// <summary>Starts a member's session anew.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="memberId">The member.</param>
    /// <param name="timeoutMs">Milliseconds.</param>
    public void StartSession(ICoordinatorTurn turn, ConsumerGroup group, string memberId, int timeoutMs)
    {
        var timers = group.TimersOf(memberId);
        if (!timers.RestartSession(turn, timeoutMs))
            timers.StartSession(turn, timeoutMs, Expiry(group.GroupId, memberId, "its session expired"));
    }

    /// <summary>Starts the time in which a member has to give up partitions.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="member">The member.</param>
    public void StartRebalance(ICoordinatorTurn turn, ConsumerGroup group, ConsumerMember member)
    {
        var (groupId, memberId, epoch) = (group.GroupId, member.MemberId, member.MemberEpoch);
        var expire = Expiry(groupId, memberId, "it did not give up partitions in time");
        group.TimersOf(memberId).StartRebalance(turn, member.RebalanceTimeoutMs, later =>
        {
            if ((groups.Find(groupId) as ConsumerGroup)?.Members.GetValueOrDefault(memberId)?.MemberEpoch == epoch)
                expire(later);
        });
    }

    /// <summary>Makes the step of a timer that takes a member out, if it is still there.</summary>
    /// <param name="groupId">The group.</param>
    /// <param name="memberId">The member.</param>
    /// <param name="reason">Why, for the log.</param>
    public Action<ICoordinatorTurn> Expiry(string groupId, string memberId, string reason) => turn =>
    {
        if (groups.Find(groupId) is not ConsumerGroup group
            || !group.Members.TryGetValue(memberId, out var member))
        {
            return;
        }

        logger.LogInformation("Group {Group}: member {Member} is removed: {Reason}.", groupId, memberId, reason);
        Remove(turn, group, [member]);
    };
}
