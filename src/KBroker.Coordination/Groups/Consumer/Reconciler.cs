using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>What a member says it owns.</summary>
/// <param name="topics">Partitions by topic; null when it did not say.</param>
internal readonly struct OwnedPartitions(IReadOnlyList<(Uuid TopicId, List<int> Partitions)>? topics)
{
    /// <summary>Whether it said that it owns nothing.</summary>
    public bool IsKnownEmpty => topics is { Count: 0 };

    /// <summary>Whether it said what it owns, and all of that is assigned to it.</summary>
    /// <param name="assigned">What is assigned.</param>
    public bool IsSubsetOf(PartitionAssignment assigned) =>
        topics is not null
        && topics.All(topic => topic.Partitions.TrueForAll(p => assigned.Contains(topic.TopicId, p)));

    /// <summary>Whether it still owns some of what it has to give up; who does not say counts as owning it.</summary>
    /// <param name="revoked">What it has to give up.</param>
    public bool MayOwnAny(PartitionAssignment revoked) =>
        topics is null || topics.Any(topic => topic.Partitions.Exists(p => revoked.Contains(topic.TopicId, p)));
}

/// <summary>
/// Takes a member from its current assignment a step towards its target: first it gives up what it has to, then it
/// gets what others have given up. A pure function of the group's state.
/// </summary>
/// <remarks>
/// For example A owns 0 and 1, B joins, the target of epoch 2 is A: 0, B: 1. B's heartbeat makes it
/// UnreleasedPartitions at epoch 2 with nothing; A's makes it UnrevokedPartitions, still at epoch 1, with 0, and 1 to
/// give up; when A says that it owns only 0, it is Stable at epoch 2; B's next heartbeat gives it 1, and it is Stable.
/// </remarks>
internal static class Reconciler
{
    /// <summary>Computes the member's next current assignment.</summary>
    /// <param name="group">The group, with the target assignment.</param>
    /// <param name="member">The member.</param>
    /// <param name="image">The metadata.</param>
    /// <param name="hasSubscriptionChanged">Whether the member changed its subscription in this step: then it gives up
    /// at once what it does not want any more.</param>
    /// <param name="owned">What it says it owns.</param>
    /// <returns>The member; the same object when nothing changes.</returns>
    public static ConsumerMember Next(
        ConsumerGroup group, ConsumerMember member, MetadataImage image, bool hasSubscriptionChanged,
        in OwnedPartitions owned)
    {
        var targetEpoch = group.AssignmentEpoch;
        switch (member.State)
        {
            case MemberState.Stable when member.MemberEpoch == targetEpoch:
            case MemberState.UnrevokedPartitions when owned.MayOwnAny(member.PendingRevocation):
                return hasSubscriptionChanged ? DropUnsubscribed(group, member, image, owned) : member;
            case MemberState.Unknown:
                return ComputeNext(group, member, image, targetEpoch, owned);
            default:
                return ComputeNext(group, member, image, member.MemberEpoch, owned);
        }
    }

    /// <summary>Refuses a member whose state only a newer Kafka knows, unless it owns nothing.</summary>
    /// <param name="member">The member.</param>
    /// <param name="owned">What it says it owns.</param>
    /// <exception cref="CoordinatorException">FENCED_MEMBER_EPOCH.</exception>
    public static void CheckState(ConsumerMember member, in OwnedPartitions owned)
    {
        if (member.State == MemberState.Unknown && !owned.IsKnownEmpty)
        {
            throw new CoordinatorException(
                ErrorCode.FencedMemberEpoch,
                "The consumer group member is in a unknown state. " +
                "The member must abandon all its partitions and rejoin.");
        }
    }

    private static ConsumerMember ComputeNext(
        ConsumerGroup group, ConsumerMember member, MetadataImage image, int epoch, in OwnedPartitions owned)
    {
        var target = group.TargetOf(member.MemberId);
        var subscribed = SubscribedIds(group, member, image);
        var kept = new List<TopicSlice>();
        var revoked = new List<TopicSlice>();
        var added = new List<TopicSlice>();
        var waits = false;
        foreach (var topic in target.Topics)
        {
            var wanted = subscribed.Contains(topic.TopicId) ? topic.Partitions : [];
            var current = member.Assigned.Of(topic.TopicId);
            Split(current, wanted, kept, revoked);
            var free = new List<int>();
            foreach (var partition in wanted)
            {
                if (Array.BinarySearch(current.Partitions, partition) >= 0)
                    continue;
                if (group.Owners.Find(topic.TopicId, partition) is { } owner && owner != member.MemberId)
                    waits = true;
                else
                    free.Add(partition);
            }

            added.Add(new TopicSlice(topic.TopicId, [.. free], []));
        }

        foreach (var topic in member.Assigned.Topics)
        {
            if (target.Of(topic.TopicId).Partitions.Length == 0)
                revoked.Add(topic);
        }

        var toRevoke = PartitionAssignment.Of(revoked);
        if (!toRevoke.IsEmpty && owned.MayOwnAny(toRevoke))
        {
            return member with
            {
                State = MemberState.UnrevokedPartitions,
                PreviousMemberEpoch = member.MemberEpoch,
                MemberEpoch = epoch,
                Assigned = PartitionAssignment.Of(kept),
                PendingRevocation = toRevoke,
            };
        }

        return member with
        {
            State = waits ? MemberState.UnreleasedPartitions : MemberState.Stable,
            PreviousMemberEpoch = member.MemberEpoch,
            MemberEpoch = group.AssignmentEpoch,
            Assigned = Merge(kept, added, group.AssignmentEpoch),
            PendingRevocation = PartitionAssignment.Empty,
        };
    }

    private static ConsumerMember DropUnsubscribed(
        ConsumerGroup group, ConsumerMember member, MetadataImage image, in OwnedPartitions owned)
    {
        var subscribed = SubscribedIds(group, member, image);
        var kept = new List<TopicSlice>();
        var dropped = new List<TopicSlice>();
        foreach (var topic in member.Assigned.Topics)
            (subscribed.Contains(topic.TopicId) ? kept : dropped).Add(topic);
        if (dropped.Count == 0)
            return member;

        var toRevoke = Union(member.PendingRevocation, dropped);
        var next = member with
        {
            PreviousMemberEpoch = member.MemberEpoch,
            Assigned = PartitionAssignment.Of(kept),
        };
        return owned.MayOwnAny(toRevoke)
            ? next with { State = MemberState.UnrevokedPartitions, PendingRevocation = toRevoke }
            : next;
    }

    private static HashSet<Uuid> SubscribedIds(ConsumerGroup group, ConsumerMember member, MetadataImage image)
    {
        var ids = new HashSet<Uuid>();
        foreach (var name in group.TopicsOf(member))
        {
            if (image.Topics.Find(name) is { } topic)
                ids.Add(topic.Id);
        }

        return ids;
    }

    private static void Split(
        TopicSlice current, int[] wanted, List<TopicSlice> kept, List<TopicSlice> revoked)
    {
        var keep = (Partitions: new List<int>(), Epochs: new List<int>());
        var revoke = (Partitions: new List<int>(), Epochs: new List<int>());
        for (var i = 0; i < current.Partitions.Length; i++)
        {
            var (partitions, epochs) = Array.BinarySearch(wanted, current.Partitions[i]) >= 0 ? keep : revoke;
            partitions.Add(current.Partitions[i]);
            epochs.Add(current.Epochs[i]);
        }

        kept.Add(new TopicSlice(current.TopicId, [.. keep.Partitions], [.. keep.Epochs]));
        revoked.Add(new TopicSlice(current.TopicId, [.. revoke.Partitions], [.. revoke.Epochs]));
    }

    private static PartitionAssignment Merge(List<TopicSlice> kept, List<TopicSlice> added, int epoch)
    {
        var merged = new List<TopicSlice>(kept.Count);
        for (var i = 0; i < kept.Count; i++)
        {
            merged.Add(new TopicSlice(
                kept[i].TopicId,
                [.. kept[i].Partitions, .. added[i].Partitions],
                [.. kept[i].Epochs, .. Enumerable.Repeat(epoch, added[i].Partitions.Length)]));
        }

        return PartitionAssignment.Of(merged);
    }

    private static PartitionAssignment Union(PartitionAssignment some, List<TopicSlice> more)
    {
        var topics = more.Select(topic =>
        {
            var known = some.Of(topic.TopicId);
            return new TopicSlice(
                topic.TopicId, [.. known.Partitions, .. topic.Partitions], [.. known.Epochs, .. topic.Epochs]);
        }).ToList();
        foreach (var topic in some.Topics)
        {
            if (!more.Exists(other => other.TopicId == topic.TopicId))
                topics.Add(topic);
        }

        return PartitionAssignment.Of(topics);
    }
}
