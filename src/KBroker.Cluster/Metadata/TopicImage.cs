using System.Collections.Immutable;
using KBroker.Protocol;

namespace KBroker.Cluster.Metadata;

/// <summary>A topic and its partitions. Immutable.</summary>
/// <param name="Name">The topic's name.</param>
/// <param name="Id">The topic's id; never zero.</param>
/// <param name="Partitions">The partitions; the index is the partition id.</param>
public sealed record TopicImage(string Name, Uuid Id, ImmutableArray<PartitionImage> Partitions)
{
    /// <summary>The partition with this id, or null.</summary>
    public PartitionImage? Partition(int partitionId) =>
        (uint)partitionId < (uint)Partitions.Length ? Partitions[partitionId] : null;
}

/// <summary>All topics, by name and by id. Immutable; images share structure.</summary>
public sealed class TopicsImage
{
    /// <summary>No topics.</summary>
    public static readonly TopicsImage Empty = new(
        ImmutableDictionary.Create<string, TopicImage>(StringComparer.Ordinal), ImmutableDictionary<Uuid,
            TopicImage>.Empty);

    internal TopicsImage(ImmutableDictionary<string, TopicImage> byName, ImmutableDictionary<Uuid, TopicImage> byId)
    {
        ByName = byName;
        ById = byId;
    }

    /// <summary>The topics by name, in no particular order.</summary>
    public ImmutableDictionary<string, TopicImage> ByName { get; }

    /// <summary>The topics by id.</summary>
    public ImmutableDictionary<Uuid, TopicImage> ById { get; }

    /// <summary>Number of topics.</summary>
    public int Count => ByName.Count;

    /// <summary>The topic of this name, or null.</summary>
    public TopicImage? Find(string name) => ByName.GetValueOrDefault(name);

    /// <summary>The topic with this id, or null.</summary>
    public TopicImage? Find(Uuid id) => ById.GetValueOrDefault(id);

    /// <summary>The partition, or null when the topic or the partition does not exist.</summary>
    public PartitionImage? FindPartition(string name, int partitionId) => Find(name)?.Partition(partitionId);
}
