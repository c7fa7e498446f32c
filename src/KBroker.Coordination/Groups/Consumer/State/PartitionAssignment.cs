using KBroker.Protocol;

namespace KBroker.Coordination.Groups.Consumer.State;

/// <summary>The partitions of one topic in an assignment.</summary>
/// <param name="TopicId">The topic.</param>
/// <param name="Partitions">The partitions, ascending.</param>
/// <param name="Epochs">For each partition the member epoch with which it was assigned; empty in a target assignment,
/// which has no epochs.</param>
internal readonly record struct TopicSlice(Uuid TopicId, int[] Partitions, int[] Epochs);

/// <summary>
/// Partitions by topic: what a member shall own (its target), owns, or has to give up. Immutable, and small: two arrays
/// a topic, both sorted. What a member owns also says since which member epoch (KIP-1251).
/// </summary>
internal sealed class PartitionAssignment : IEquatable<PartitionAssignment>
{
    /// <summary>No partitions.</summary>
    public static readonly PartitionAssignment Empty = new([]);

    private readonly TopicSlice[] _topics;

    private PartitionAssignment(TopicSlice[] topics) => _topics = topics;

    /// <summary>The topics, by id; none of them without partitions.</summary>
    public ReadOnlySpan<TopicSlice> Topics => _topics;

    /// <summary>Whether it has no partition.</summary>
    public bool IsEmpty => _topics.Length == 0;

    /// <summary>Number of partitions.</summary>
    public int PartitionCount
    {
        get
        {
            var count = 0;
            foreach (var topic in _topics)
                count += topic.Partitions.Length;
            return count;
        }
    }

    /// <summary>Makes one from its topics, in any order; those without partitions are left out.</summary>
    /// <param name="topics">The topics; no topic twice, partitions in any order.</param>
    public static PartitionAssignment Of(List<TopicSlice> topics)
    {
        topics.RemoveAll(static t => t.Partitions.Length == 0);
        if (topics.Count == 0)
            return Empty;
        topics.Sort(static (a, b) => a.TopicId.CompareTo(b.TopicId));
        foreach (var topic in topics)
        {
            if (topic.Epochs.Length > 0)
                Array.Sort(topic.Partitions, topic.Epochs);
            else
                Array.Sort(topic.Partitions);
        }

        return new PartitionAssignment([.. topics]);
    }

    /// <summary>The part of a topic; one without partitions when it has none.</summary>
    /// <param name="topicId">The topic.</param>
    public TopicSlice Of(Uuid topicId)
    {
        int low = 0, high = _topics.Length - 1;
        while (low <= high)
        {
            var middle = (low + high) / 2;
            var order = _topics[middle].TopicId.CompareTo(topicId);
            if (order == 0)
                return _topics[middle];
            if (order < 0)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return new TopicSlice(topicId, [], []);
    }

    /// <summary>Whether it has a partition.</summary>
    /// <param name="topicId">Its topic.</param>
    /// <param name="partition">The partition.</param>
    public bool Contains(Uuid topicId, int partition) => Array.BinarySearch(Of(topicId).Partitions, partition) >= 0;

    /// <summary>The epoch with which a partition was assigned; null when it is not in here.</summary>
    /// <param name="topicId">Its topic.</param>
    /// <param name="partition">The partition.</param>
    public int? EpochOf(Uuid topicId, int partition)
    {
        var topic = Of(topicId);
        var index = Array.BinarySearch(topic.Partitions, partition);
        return index < 0 || topic.Epochs.Length == 0 ? null : topic.Epochs[index];
    }

    /// <summary>The same partitions without epochs, as a target has them.</summary>
    public PartitionAssignment WithoutEpochs() =>
        IsEmpty ? Empty : new([.. _topics.Select(static topic => topic with { Epochs = [] })]);

    /// <summary>The same partitions, all assigned with one epoch.</summary>
    /// <param name="epoch">The epoch.</param>
    public PartitionAssignment WithEpoch(int epoch)
    {
        var topics = new List<TopicSlice>(_topics.Length);
        foreach (var topic in _topics)
        {
            var epochs = new int[topic.Partitions.Length];
            Array.Fill(epochs, epoch);
            topics.Add(topic with { Epochs = epochs });
        }

        return Of(topics);
    }

    /// <inheritdoc/>
    public bool Equals(PartitionAssignment? other)
    {
        if (ReferenceEquals(this, other))
            return true;
        if (other is null || other._topics.Length != _topics.Length)
            return false;
        for (var i = 0; i < _topics.Length; i++)
        {
            var (mine, theirs) = (_topics[i], other._topics[i]);
            if (mine.TopicId != theirs.TopicId || !mine.Partitions.AsSpan().SequenceEqual(theirs.Partitions)
                || !mine.Epochs.AsSpan().SequenceEqual(theirs.Epochs))
            {
                return false;
            }
        }

        return true;
    }

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as PartitionAssignment);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = default(HashCode);
        foreach (var topic in _topics)
        {
            hash.Add(topic.TopicId);
            hash.Add(topic.Partitions.Length);
        }

        return hash.ToHashCode();
    }

    /// <inheritdoc/>
    public override string ToString() => string.Join(
        "; ", _topics.Select(static t => $"{t.TopicId}: {string.Join(',', t.Partitions)}"));
}
