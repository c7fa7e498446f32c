using System.Buffers.Binary;
using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer.Migration;

/// <summary>
/// What consumers put into JoinGroup and SyncGroup: an int16 version, then a <see cref="ConsumerProtocolSubscription"/>
/// or a <see cref="ConsumerProtocolAssignment"/> of that version. A newer version than is known is read as the newest.
/// </summary>
internal static class EmbeddedProtocol
{
    private const short HighestVersion = 3;

    /// <summary>Reads a subscription.</summary>
    /// <param name="bytes">The bytes.</param>
    /// <exception cref="ProtocolException">They are malformed.</exception>
    public static ConsumerProtocolSubscription ReadSubscription(ReadOnlyMemory<byte> bytes)
    {
        var version = Version(bytes);
        var reader = new ProtocolReader(bytes[sizeof(short)..]);
        return ConsumerProtocolSubscription.Read(ref reader, version);
    }

    /// <summary>Reads an assignment; no bytes at all are one without partitions.</summary>
    /// <param name="bytes">The bytes.</param>
    /// <exception cref="ProtocolException">They are malformed.</exception>
    public static ConsumerProtocolAssignment ReadAssignment(ReadOnlyMemory<byte> bytes)
    {
        if (bytes.Length == 0)
            return new ConsumerProtocolAssignment();
        var version = Version(bytes);
        var reader = new ProtocolReader(bytes[sizeof(short)..]);
        return ConsumerProtocolAssignment.Read(ref reader, version);
    }

    /// <summary>Writes an assignment, in the version in which the member wrote its subscription.</summary>
    /// <param name="assigned">The partitions; of topics that are gone none is written.</param>
    /// <param name="subscription">The member's subscription.</param>
    /// <param name="image">The metadata.</param>
    public static byte[] WriteAssignment(
        PartitionAssignment assigned, ReadOnlyMemory<byte> subscription, MetadataImage image)
    {
        var message = new ConsumerProtocolAssignment();
        foreach (var topic in assigned.Topics)
        {
            if (image.Topics.Find(topic.TopicId) is { } known)
                message.AssignedPartitions.Add(new() { Topic = known.Name, Partitions = [.. topic.Partitions] });
        }

        var version = Version(subscription);
        using var writer = new ProtocolWriter();
        writer.WriteInt16(version);
        message.Write(writer, version);
        return writer.ToArray();
    }

    /// <summary>Partitions by topic id; of topics that do not exist there are none.</summary>
    /// <param name="partitions">Partitions by name.</param>
    /// <param name="image">The metadata.</param>
    public static List<(Uuid TopicId, List<int> Partitions)> ToIds(
        IEnumerable<(string Topic, List<int> Partitions)> partitions, MetadataImage image)
    {
        var ids = new List<(Uuid, List<int>)>();
        foreach (var (name, numbers) in partitions)
        {
            if (image.Topics.Find(name) is { } topic)
                ids.Add((topic.Id, numbers));
        }

        return ids;
    }

    private static short Version(ReadOnlyMemory<byte> bytes)
    {
        if (bytes.Length < sizeof(short) || BinaryPrimitives.ReadInt16BigEndian(bytes.Span) < 0)
            throw new ProtocolException("The embedded consumer protocol has no version.");
        return Math.Min(BinaryPrimitives.ReadInt16BigEndian(bytes.Span), HighestVersion);
    }
}
