using KBroker.Coordination.Runtime;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Offsets;

/// <summary>
/// Deletes offsets that nobody uses any more, every <c>offsets.retention.check.interval.ms</c> (KIP-211): those of
/// topics that no member is subscribed to, <c>offsets.retention.minutes</c> after the instant that the group counts
/// from (<see cref="Group.ExpiryBaseMs"/>: the commit, or the end of the group's last member). An empty group
/// that has no offsets left is deleted with them.
/// </summary>
/// <param name="options">Configs, log.</param>
/// <param name="groups">The groups of the shard.</param>
/// <param name="store">Their offsets.</param>
internal sealed class OffsetExpiry(GroupShardOptions options, GroupMap groups, OffsetStore store)
{
    private const string Timer = "offsets/expiry";

    /// <summary>So many tombstones a step; the rest follows in steps of its own, between those of clients.</summary>
    private const int TombstonesMax = 2000;

    /// <summary>Sets the timer of the first check.</summary>
    /// <param name="turn">The shard's first step.</param>
    public void Start(ICoordinatorTurn turn) => turn.Schedule(Timer, CheckIntervalMs, Check);

    private long CheckIntervalMs => options.Configs.Broker.GetLong("offsets.retention.check.interval.ms");

    private void Check(ICoordinatorTurn turn) => Check(turn, new Queue<Group>(groups.All), 0, 0);

    private void Check(ICoordinatorTurn turn, Queue<Group> rest, int offsetsCount, int groupsCount)
    {
        var tombstones = 0;
        while (rest.TryDequeue(out var group))
        {
            // It may be gone since the check began.
            if (groups.Find(group.GroupId) != group)
                continue;
            var expired = Expired(turn, group, out var isAll);
            foreach (var key in expired)
                turn.Append(CoordinatorRecord.Tombstone(key.ToKey()));
            tombstones += expired.Count;
            offsetsCount += expired.Count;
            if (isAll && !store.Pending.Contains(group.GroupId) && group.IsEmpty)
            {
                group.AppendTombstones(turn);
                groups.Remove(group);
                groupsCount++;
                tombstones++;
            }

            if (tombstones >= TombstonesMax)
                break;
        }

        if (rest.Count > 0)
        {
            turn.Schedule(Timer, 0, next => Check(next, rest, offsetsCount, groupsCount));
            return;
        }

        if (offsetsCount + groupsCount > 0)
        {
            options.Logger.LogInformation(
                "{Offsets} committed offsets have expired, and {Groups} empty groups were deleted",
                offsetsCount, groupsCount);
        }

        turn.Schedule(Timer, CheckIntervalMs, Check);
    }

    /// <summary>The offsets of a group whose time is over.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="isAll">Whether it has no others.</param>
    private List<OffsetKey> Expired(ICoordinatorTurn turn, Group group, out bool isAll)
    {
        isAll = true;
        var retentionMs = options.Configs.Broker.GetInt("offsets.retention.minutes") * 60_000L;
        List<OffsetKey> expired = [];
        foreach (var (topic, partitions) in store.Committed.Of(group.GroupId))
        {
            var isSubscribed = group.IsSubscribedTo(topic);
            foreach (var (partition, offset) in partitions)
            {
                var key = new OffsetKey(group.GroupId, topic, partition);
                if (!isSubscribed && !store.Pending.Contains(key) && IsExpired(group, offset, turn.NowMs, retentionMs))
                    expired.Add(key);
                else
                    isAll = false;
            }
        }

        return expired;
    }

    private static bool IsExpired(Group group, in CommittedOffset offset, long nowMs, long retentionMs)
    {
        if (group.ExpiryBaseMs(offset.CommitTimestampMs) is not { } baseMs)
            return false;
        return offset.ExpireTimestampMs >= 0
            ? nowMs >= offset.ExpireTimestampMs
            : nowMs - baseMs >= retentionMs;
    }
}
