using KBroker.Protocol;

namespace KBroker.Coordination.Groups.Consumer.State;

/// <summary>
/// Who owns each partition of a group now, partitions that their owner still has to give up included. A partition has
/// one owner at most: that is what keeps two members from consuming it at the same time.
/// </summary>
internal sealed class PartitionOwners
{
    private readonly Dictionary<Uuid, string?[]> _owners = [];

    /// <summary>The member that owns a partition, or null.</summary>
    /// <param name="topicId">Its topic.</param>
    /// <param name="partition">The partition.</param>
    public string? Find(Uuid topicId, int partition) =>
        _owners.TryGetValue(topicId, out var owners) && partition < owners.Length ? owners[partition] : null;

    /// <summary>Replaces what a member owns.</summary>
    /// <param name="before">The member before, or null.</param>
    /// <param name="after">The member after, or null.</param>
    public void Update(ConsumerMember? before, ConsumerMember? after)
    {
        if (before is not null)
        {
            Remove(before.MemberId, before.Assigned);
            Remove(before.MemberId, before.PendingRevocation);
        }

        if (after is not null)
        {
            Add(after.MemberId, after.Assigned);
            Add(after.MemberId, after.PendingRevocation);
        }
    }

    private void Remove(string memberId, PartitionAssignment assignment)
    {
        foreach (var topic in assignment.Topics)
        {
            if (!_owners.TryGetValue(topic.TopicId, out var owners))
                continue;
            foreach (var partition in topic.Partitions)
            {
                if (partition < owners.Length && owners[partition] == memberId)
                    owners[partition] = null;
            }

            if (Array.TrueForAll(owners, static owner => owner is null))
                _owners.Remove(topic.TopicId);
        }
    }

    private void Add(string memberId, PartitionAssignment assignment)
    {
        foreach (var topic in assignment.Topics)
        {
            var length = topic.Partitions[^1] + 1;
            _owners.TryGetValue(topic.TopicId, out var owners);
            if (owners is null || owners.Length < length)
            {
                Array.Resize(ref owners, length);
                _owners[topic.TopicId] = owners;
            }

            foreach (var partition in topic.Partitions)
                owners[partition] = memberId;
        }
    }
}
