using System.Buffers.Binary;

namespace KBroker.Compat.Hostile.Tests;

internal static class Answers
{
    /// <summary>The partition's error code in a Produce 3 answer for the one topic.</summary>
    public static int ProduceError(byte[] answer) =>
        // correlation id, topics, name, partitions, partition index
        BinaryPrimitives.ReadInt16BigEndian(answer.AsSpan(4 + 4 + 2 + Requests.Topic.Length + 4 + 4));

    public static int CorrelationId(byte[] answer) => BinaryPrimitives.ReadInt32BigEndian(answer);
}
