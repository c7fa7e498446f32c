using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Classic;

/// <summary>What consumers put into JoinGroup: an int16 version and the message.</summary>
internal static class SubscriptionBytes
{
    public static byte[] Of(short version, ConsumerProtocolSubscription subscription)
    {
        using var writer = new ProtocolWriter();
        writer.WriteInt16(version);
        subscription.Write(writer, version);
        return writer.ToArray();
    }
}
