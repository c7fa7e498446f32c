using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Offsets;

/// <summary>
/// The committed offsets of a shard's groups: by group, topic and partition. Requests are answered by
/// <see cref="Requests"/>, old offsets are deleted by <see cref="Expiry"/>.
/// </summary>
internal sealed class OffsetStore
{
    private readonly GroupMap _groups;

    /// <summary>Creates an empty store.</summary>
    /// <param name="options">Configs, log.</param>
    /// <param name="groups">The groups, which check commits.</param>
    public OffsetStore(GroupShardOptions options, GroupMap groups)
    {
        _groups = groups;
        Requests = new OffsetRequests(options, groups, this);
        Expiry = new OffsetExpiry(options, groups, this);
    }

    /// <summary>What clients ask of it.</summary>
    public OffsetRequests Requests { get; }

    /// <summary>The deletion of offsets that nobody uses any more.</summary>
    public OffsetExpiry Expiry { get; }

    /// <summary>The offsets that hold.</summary>
    internal OffsetTable Committed { get; } = new();

    /// <summary>The offsets of open transactions.</summary>
    internal PendingOffsets Pending { get; } = new();

    /// <summary>Whether a group has offsets, pending ones of open transactions included.</summary>
    /// <param name="groupId">The group's id.</param>
    public bool HasOffsets(string groupId) => Committed.Contains(groupId) || Pending.Contains(groupId);

    /// <summary>Appends the tombstones of all offsets of a group, of pending ones, too.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="groupId">The group.</param>
    /// <returns>How many.</returns>
    public int DeleteAll(ICoordinatorTurn turn, string groupId)
    {
        List<OffsetKey> keys =
        [
            .. Committed.Of(groupId).SelectMany(topic => topic.Value.Keys.Select(
                partition => new OffsetKey(groupId, topic.Key, partition))),
        ];
        foreach (var key in Pending.Of(groupId))
        {
            if (!Committed.TryGet(groupId, key.Topic, key.Partition, out _))
                keys.Add(key);
        }

        foreach (var key in keys)
            turn.Append(CoordinatorRecord.Tombstone(key.ToKey()));
        return keys.Count;
    }

    /// <summary>Applies an offset, or its tombstone.</summary>
    /// <param name="context">Where the record stands.</param>
    /// <param name="key">An <see cref="OffsetCommitKey"/> or a <see cref="LegacyOffsetCommitKey"/>.</param>
    /// <param name="value">The offset; null for a tombstone.</param>
    public void Replay(in ReplayContext context, IRecordMessage key, IRecordMessage? value)
    {
        var (groupId, topic, partition) = key switch
        {
            OffsetCommitKey commit => (commit.Group, commit.Topic, commit.Partition),
            _ when key is LegacyOffsetCommitKey legacy => (legacy.Group, legacy.Topic, legacy.Partition),
            _ => throw new ArgumentException($"{key.GetType().Name} is not the key of an offset.", nameof(key)),
        };
        if (value is null)
        {
            Committed.Remove(groupId, topic, partition);
            return;
        }

        // A group of which there are only offsets (simple consumers) has no record of its own.
        ClassicGroups.GetOrCreateSimple(_groups, groupId);
        var offset = CommittedOffset.Of(value, context.Offset);
        if (context.IsTransactional)
            Pending.Put(context.ProducerId, new OffsetKey(groupId, topic, partition), offset);
        else
            Committed.Put(groupId, topic, partition, offset);
    }

    /// <summary>Applies the end of a transaction: its offsets hold, or are dropped.</summary>
    /// <param name="producerId">The producer id.</param>
    /// <param name="producerEpoch">Its epoch.</param>
    /// <param name="isCommit">Whether it commits.</param>
    public void ReplayTransactionEnd(long producerId, short producerEpoch, bool isCommit)
    {
        foreach (var (key, offset) in Pending.Take(producerId))
        {
            // What was committed beside the transaction after it is newer.
            if (isCommit
                && (!Committed.TryGet(key.GroupId, key.Topic, key.Partition, out var known)
                    || known.RecordOffset < offset.RecordOffset))
            {
                Committed.Put(key.GroupId, key.Topic, key.Partition, offset);
            }
        }
    }

    /// <summary>Sets the timer of expiry.</summary>
    /// <param name="turn">The shard's first step.</param>
    public void OnLoaded(ICoordinatorTurn turn) => Expiry.Start(turn);

    /// <summary>Deletes the offsets of deleted topics.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="update">What changed.</param>
    public void OnMetadata(ICoordinatorTurn turn, MetadataUpdate update)
    {
        HashSet<string>? deleted = null;
        foreach (var topic in update.DeletedTopics)
            (deleted ??= new HashSet<string>(StringComparer.Ordinal)).Add(topic.Name);
        if (deleted is null)
            return;
        List<OffsetKey> keys = [];
        foreach (var groupId in Committed.GroupIds)
        {
            foreach (var (topic, partitions) in Committed.Of(groupId))
            {
                if (deleted.Contains(topic))
                    keys.AddRange(partitions.Keys.Select(partition => new OffsetKey(groupId, topic, partition)));
            }
        }

        foreach (var key in Pending.All)
        {
            if (deleted.Contains(key.Topic)
                && !Committed.TryGet(key.GroupId, key.Topic, key.Partition, out _))
                keys.Add(key);
        }

        foreach (var key in keys)
            turn.Append(CoordinatorRecord.Tombstone(key.ToKey()));
    }
}
