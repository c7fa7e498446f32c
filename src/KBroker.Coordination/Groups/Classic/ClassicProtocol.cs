using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>One assignor that a member supports, and what the member tells the leader under it.</summary>
/// <param name="Name">The assignor's name, such as <c>range</c> or <c>cooperative-sticky</c>.</param>
/// <param name="Metadata">For consumers a <see cref="ConsumerProtocolSubscription"/>; the broker hands it on.</param>
internal readonly record struct ClassicProtocol(string Name, ReadOnlyMemory<byte> Metadata)
{
    /// <summary>The assignors of a JoinGroup in the member's order; of two with one name the first counts.</summary>
    /// <param name="request">The request.</param>
    public static ClassicProtocol[] Of(JoinGroupRequest request)
    {
        var seen = new HashSet<string>(request.Protocols.Count, StringComparer.Ordinal);
        var protocols = new List<ClassicProtocol>(request.Protocols.Count);
        foreach (var protocol in request.Protocols)
        {
            if (seen.Add(protocol.Name))
                protocols.Add(new ClassicProtocol(protocol.Name, protocol.Metadata));
        }

        return [.. protocols];
    }

    /// <summary>Whether two lists say the same, in the same order.</summary>
    /// <param name="first">One list.</param>
    /// <param name="second">The other.</param>
    public static bool AreEqual(ClassicProtocol[] first, ClassicProtocol[] second)
    {
        if (first.Length != second.Length)
            return false;
        for (var i = 0; i < first.Length; i++)
        {
            if (first[i].Name != second[i].Name || !first[i].Metadata.Span.SequenceEqual(second[i].Metadata.Span))
                return false;
        }

        return true;
    }
}
