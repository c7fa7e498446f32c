using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>Reads to which topics the members of a group of consumers subscribe.</summary>
internal static class ClassicSubscriptions
{
    /// <summary>The protocol type of consumers, the only one whose metadata the broker can read.</summary>
    public const string ConsumerProtocolType = "consumer";

    /// <summary>
    /// The topics of all members under the chosen assignor. Any client may put anything there, so what cannot be read
    /// makes the whole answer unknown, as in Kafka.
    /// </summary>
    /// <param name="protocolType">The group's protocol type.</param>
    /// <param name="protocolName">The chosen assignor; null without members.</param>
    /// <param name="members">The members.</param>
    /// <returns>The topics; null when they are not known.</returns>
    public static HashSet<string>? TopicsOf(
        string? protocolType, string? protocolName, IReadOnlyCollection<ClassicMember> members)
    {
        if (protocolType != ConsumerProtocolType)
            return null;
        var topics = new HashSet<string>(StringComparer.Ordinal);
        foreach (var member in members)
        {
            if (!TryAddTopics(member.MetadataOf(protocolName), topics))
                return null;
        }

        return topics;
    }

    /// <summary>
    /// Reads an int16 version and then the fields of version 0, which every version begins with: so a subscription of
    /// a newer client is understood too.
    /// </summary>
    private static bool TryAddTopics(ReadOnlyMemory<byte> metadata, HashSet<string> topics)
    {
        try
        {
            var reader = new ProtocolReader(metadata);
            if (reader.ReadInt16() < 0)
                return false;
            var subscription = ConsumerProtocolSubscription.Read(ref reader, 0);
            topics.UnionWith(subscription.Topics);
            return true;
        }
        catch (ProtocolException)
        {
            return false;
        }
    }
}
