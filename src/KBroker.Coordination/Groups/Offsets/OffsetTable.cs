using System.Runtime.InteropServices;

namespace KBroker.Coordination.Groups.Offsets;

/// <summary>The committed offsets of a shard by group, topic and partition.</summary>
internal sealed class OffsetTable
{
    private readonly Dictionary<string, Dictionary<string, Dictionary<int, CommittedOffset>>> _groups =
        new(StringComparer.Ordinal);

    private int _count;

    /// <summary>Number of offsets; may be read from any thread.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>The groups that have offsets.</summary>
    public IReadOnlyCollection<string> GroupIds => _groups.Keys;

    /// <summary>Whether a group has any.</summary>
    /// <param name="groupId">The group.</param>
    public bool Contains(string groupId) => _groups.ContainsKey(groupId);

    /// <summary>The topics of which a group has offsets, and those.</summary>
    /// <param name="groupId">The group.</param>
    public IReadOnlyDictionary<string, Dictionary<int, CommittedOffset>> Of(string groupId) =>
        _groups.TryGetValue(groupId, out var topics) ? topics : Nothing.Topics;

    /// <summary>Finds an offset.</summary>
    /// <param name="groupId">The group.</param>
    /// <param name="topic">The topic.</param>
    /// <param name="partition">The partition.</param>
    /// <param name="offset">The offset.</param>
    public bool TryGet(string groupId, string topic, int partition, out CommittedOffset offset)
    {
        offset = default;
        return _groups.TryGetValue(groupId, out var topics)
            && topics.TryGetValue(topic, out var partitions)
            && partitions.TryGetValue(partition, out offset);
    }

    /// <summary>Sets an offset.</summary>
    /// <param name="groupId">The group.</param>
    /// <param name="topic">The topic.</param>
    /// <param name="partition">The partition.</param>
    /// <param name="offset">The offset.</param>
    public void Put(string groupId, string topic, int partition, in CommittedOffset offset)
    {
        ref var topics = ref CollectionsMarshal.GetValueRefOrAddDefault(_groups, groupId, out _);
        topics ??= new Dictionary<string, Dictionary<int, CommittedOffset>>(StringComparer.Ordinal);
        ref var partitions = ref CollectionsMarshal.GetValueRefOrAddDefault(topics, topic, out _);
        partitions ??= [];
        ref var entry = ref CollectionsMarshal.GetValueRefOrAddDefault(partitions, partition, out var exists);
        entry = offset;
        if (!exists)
            Volatile.Write(ref _count, _count + 1);
    }

    /// <summary>Removes an offset, if it is there.</summary>
    /// <param name="groupId">The group.</param>
    /// <param name="topic">The topic.</param>
    /// <param name="partition">The partition.</param>
    public void Remove(string groupId, string topic, int partition)
    {
        if (!_groups.TryGetValue(groupId, out var topics) || !topics.TryGetValue(topic, out var partitions)
            || !partitions.Remove(partition))
            return;
        Volatile.Write(ref _count, _count - 1);
        if (partitions.Count == 0)
            topics.Remove(topic);
        if (topics.Count == 0)
            _groups.Remove(groupId);
    }

    private static class Nothing
    {
        public static readonly Dictionary<string, Dictionary<int, CommittedOffset>> Topics = [];
    }
}
