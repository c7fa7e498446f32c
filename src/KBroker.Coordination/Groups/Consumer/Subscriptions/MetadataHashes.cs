using System.Buffers;
using System.Buffers.Binary;
using KBroker.Cluster.Metadata;

namespace KBroker.Coordination.Groups.Consumer.Subscriptions;

/// <summary>
/// The hash of a group's topics that is kept with its epoch (KIP-1101): when it differs from what the metadata gives
/// now, topics were created, deleted or grew, and the group needs a new assignment. It is Kafka's own, bit for bit, so
/// that a group that moves between Kafka and KBroker does not rebalance for that.
/// </summary>
/// <remarks>
/// A topic's hash is XXH3 over: a zero byte, the two halves of the topic id, the name, the partition count, then each
/// partition's number followed by its replicas' racks, sorted, each as its length and its text. A group's is XXH3 over
/// the hashes of its existing topics in the order of their names; 0 without topics. Numbers are little-endian; a text
/// is its UTF-16 units, then their number.
/// </remarks>
internal sealed class MetadataHashes
{
    private readonly Dictionary<string, long> _topics = [];

    /// <summary>Forgets the hash of a topic that changed.</summary>
    /// <param name="topic">Its name.</param>
    public void Forget(string topic) => _topics.Remove(topic);

    /// <summary>Forgets all: nodes may have moved to other racks.</summary>
    public void Clear() => _topics.Clear();

    /// <summary>The hash of a group.</summary>
    /// <param name="topics">The topics it is subscribed to, existing or not.</param>
    /// <param name="image">The metadata.</param>
    public long OfGroup(IReadOnlySet<string> topics, MetadataImage image)
    {
        var existing = topics.Where(topic => image.Topics.Find(topic) is not null).ToList();
        if (existing.Count == 0)
            return 0;
        existing.Sort(string.CompareOrdinal);
        var bytes = new byte[existing.Count * sizeof(long)];
        for (var i = 0; i < existing.Count; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(
                bytes.AsSpan(i * sizeof(long)), OfTopic(image.Topics.Find(existing[i])!, image));
        }

        return (long)XxHash3.Hash(bytes);
    }

    private long OfTopic(TopicImage topic, MetadataImage image)
    {
        if (_topics.TryGetValue(topic.Name, out var hash))
            return hash;
        var bytes = new ArrayBufferWriter<byte>();
        bytes.Write([(byte)0]);
        Write(bytes, topic.Id.MostSignificant);
        Write(bytes, topic.Id.LeastSignificant);
        Write(bytes, topic.Name);
        Write(bytes, topic.Partitions.Length);
        foreach (var partition in topic.Partitions)
        {
            Write(bytes, partition.PartitionId);
            foreach (var rack in Racks(partition, image))
            {
                Write(bytes, rack.Length);
                Write(bytes, rack);
            }
        }

        hash = (long)XxHash3.Hash(bytes.WrittenSpan);
        _topics[topic.Name] = hash;
        return hash;
    }

    private static List<string> Racks(PartitionImage partition, MetadataImage image)
    {
        var racks = new List<string>();
        foreach (var replica in partition.Replicas)
        {
            if (image.Brokers.TryGetValue(replica, out var broker) && broker.Rack is { } rack)
                racks.Add(rack);
        }

        racks.Sort(string.CompareOrdinal);
        return racks;
    }

    private static void Write(ArrayBufferWriter<byte> to, long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(to.GetSpan(sizeof(long)), value);
        to.Advance(sizeof(long));
    }

    private static void Write(ArrayBufferWriter<byte> to, int value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(to.GetSpan(sizeof(int)), value);
        to.Advance(sizeof(int));
    }

    private static void Write(ArrayBufferWriter<byte> to, string text)
    {
        foreach (var unit in text)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(to.GetSpan(sizeof(ushort)), unit);
            to.Advance(sizeof(ushort));
        }

        Write(to, text.Length);
    }
}
