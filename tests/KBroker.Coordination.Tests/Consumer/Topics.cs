using KBroker.Cluster.Metadata;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Consumer;

/// <summary>Topics and configs in the metadata of a <see cref="ShardDriver"/>.</summary>
internal static class Topics
{
    /// <summary>The id that a topic of this name has, the first time it is created.</summary>
    public static Uuid IdOf(string name, int generation = 1) =>
        new(0x4000L + generation, name.Aggregate(7L, static (hash, c) => (hash * 31) + c));

    public static void Create(this ShardDriver driver, string name, int partitions, int generation = 1)
    {
        var id = IdOf(name, generation);
        var records = new List<IMessage> { new TopicRecord { Name = name, TopicId = id } };
        records.AddRange(Partitions(id, 0, partitions));
        driver.Change([.. records]);
    }

    public static void Grow(this ShardDriver driver, string name, int partitions)
    {
        var topic = driver.Metadata.Topics.Find(name)!;
        driver.Change([.. Partitions(topic.Id, topic.Partitions.Length, partitions)]);
    }

    public static void Delete(this ShardDriver driver, string name) =>
        driver.Change(new RemoveTopicRecord { TopicId = driver.Metadata.Topics.Find(name)!.Id });

    public static void Configure(this ShardDriver driver, string group, string name, string? value) =>
        driver.Change(new ConfigRecord
        {
            ResourceType = (sbyte)ConfigResourceType.Group,
            ResourceName = group,
            Name = name,
            Value = value,
        });

    public static void Change(this ShardDriver driver, params IMessage[] records)
    {
        var delta = new MetadataDelta(driver.Metadata);
        foreach (var record in records)
            delta.Replay(record);
        var offset = driver.Metadata.Provenance.LastContainedOffset + records.Length;
        driver.SetMetadata(
            delta.Apply(driver.Metadata.Provenance with { LastContainedOffset = offset }), delta);
    }

    private static IEnumerable<IMessage> Partitions(Uuid id, int from, int to) => Enumerable.Range(from, to - from)
        .Select(partition => new PartitionRecord
        {
            TopicId = id,
            PartitionId = partition,
            Replicas = [1],
            Isr = [1],
            Leader = 1,
        });
}
