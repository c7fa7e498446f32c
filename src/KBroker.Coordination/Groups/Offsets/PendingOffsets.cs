using System.Runtime.InteropServices;

namespace KBroker.Coordination.Groups.Offsets;

/// <summary>The offsets of transactions that are still open: they hold when the transaction commits.</summary>
internal sealed class PendingOffsets
{
    private readonly Dictionary<long, Dictionary<OffsetKey, CommittedOffset>> _byProducer = [];
    private readonly Dictionary<OffsetKey, int> _partitions = [];
    private readonly Dictionary<string, int> _groups = new(StringComparer.Ordinal);

    /// <summary>The partitions of a group that open transactions have offsets of.</summary>
    /// <param name="groupId">The group.</param>
    public IEnumerable<OffsetKey> Of(string groupId) =>
        _groups.ContainsKey(groupId) ? _partitions.Keys.Where(key => key.GroupId == groupId) : [];

    /// <summary>All partitions that open transactions have offsets of.</summary>
    public IReadOnlyCollection<OffsetKey> All => _partitions.Keys;

    /// <summary>Whether an open transaction has an offset of a group.</summary>
    /// <param name="groupId">The group.</param>
    public bool Contains(string groupId) => _groups.ContainsKey(groupId);

    /// <summary>Whether an open transaction has an offset of a partition.</summary>
    /// <param name="key">Group and partition.</param>
    public bool Contains(in OffsetKey key) => _partitions.ContainsKey(key);

    /// <summary>Adds an offset; a later one of the same transaction takes its place.</summary>
    /// <param name="producerId">The transaction's producer.</param>
    /// <param name="key">Group and partition.</param>
    /// <param name="offset">The offset.</param>
    public void Put(long producerId, in OffsetKey key, in CommittedOffset offset)
    {
        ref var offsets = ref CollectionsMarshal.GetValueRefOrAddDefault(_byProducer, producerId, out _);
        offsets ??= [];
        ref var entry = ref CollectionsMarshal.GetValueRefOrAddDefault(offsets, key, out var exists);
        entry = offset;
        if (exists)
            return;
        CollectionsMarshal.GetValueRefOrAddDefault(_partitions, key, out _)++;
        CollectionsMarshal.GetValueRefOrAddDefault(_groups, key.GroupId, out _)++;
    }

    /// <summary>Takes out what a transaction had.</summary>
    /// <param name="producerId">Its producer.</param>
    /// <returns>Its offsets; empty when it had none.</returns>
    public IReadOnlyDictionary<OffsetKey, CommittedOffset> Take(long producerId)
    {
        if (!_byProducer.Remove(producerId, out var offsets))
            return new Dictionary<OffsetKey, CommittedOffset>();
        foreach (var key in offsets.Keys)
        {
            Decrement(_partitions, key);
            Decrement(_groups, key.GroupId);
        }

        return offsets;
    }

    private static void Decrement<TKey>(Dictionary<TKey, int> counts, TKey key)
        where TKey : notnull
    {
        ref var count = ref CollectionsMarshal.GetValueRefOrNullRef(counts, key);
        if (--count == 0)
            counts.Remove(key);
    }
}
