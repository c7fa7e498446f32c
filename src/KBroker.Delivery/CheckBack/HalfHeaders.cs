using System.Globalization;
using System.Text;
using KBroker.Delivery.Delay;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;
using KBroker.Storage;

namespace KBroker.Delivery.CheckBack;

/// <summary>The headers that the broker writes into copies of half messages, and into what it notes of them.</summary>
internal static class HalfHeaders
{
    /// <summary>What a check begins with: the rest is the producer group.</summary>
    public const string CheckTopicPrefix = "kbroker.check.";

    /// <summary>Where half messages go that nobody decided on.</summary>
    public const string ExpiredTopic = "kbroker.txn.expired";

    /// <summary>Why they go there.</summary>
    public const string ExpiredReason = "no-decision";

    /// <summary>Of a note of the broker on a half message, which has neither key nor value.</summary>
    public static RecordHeader[] Note(long origin, ReadOnlySpan<byte> state, int checks) =>
    [
        new(DeliveryHeaders.OriginOffset, Number(origin)),
        new(DeliveryHeaders.HalfState, state.ToArray()),
        new(DeliveryHeaders.CheckNumber, Number(checks)),
    ];

    /// <summary>Of a half message carried forward: it stays one.</summary>
    public static RecordHeader[] Carried(in OpenHalf half, in Record record)
    {
        var headers = new List<RecordHeader>
        {
            new(DeliveryHeaders.Transaction, "prepare"u8.ToArray()),
            new(DeliveryHeaders.ProducerGroup, DeliveryRequest.GroupOf(record.Headers)),
            new(DeliveryHeaders.OriginOffset, Number(half.Origin)),
            CopyWriter.OriginTimestamp(record),
            new(DeliveryHeaders.CheckNumber, Number(half.Checks)),
        };
        if (half.DueMs != 0)
            headers.Add(new(DeliveryHeaders.DeliverAt, Number(half.DueMs)));
        if (half.IsExpiring)
            headers.Add(new(DeliveryHeaders.HalfState, HalfState.Expiring.ToArray()));
        return [.. headers];
    }

    /// <summary>Of the question to a producer group what became of a half message.</summary>
    public static RecordHeader[] Check(TopicPartition source, in OpenHalf half, in Record record) =>
    [
        .. Origin(source, half, record),
        new(DeliveryHeaders.CheckNumber, Number(half.Checks + 1)),
    ];

    /// <summary>Of a half message that is given up.</summary>
    public static RecordHeader[] Expired(TopicPartition source, in OpenHalf half, in Record record) =>
    [
        .. Origin(source, half, record),
        new(DeliveryHeaders.CheckNumber, Number(half.Checks)),
        new(DeliveryHeaders.DeathReason, Encoding.ASCII.GetBytes(ExpiredReason)),
    ];

    private static RecordHeader[] Origin(TopicPartition source, in OpenHalf half, in Record record) =>
    [
        new(DeliveryHeaders.ProducerGroup, DeliveryRequest.GroupOf(record.Headers)),
        new(DeliveryHeaders.OriginTopic, Encoding.ASCII.GetBytes(source.Topic)),
        new(DeliveryHeaders.OriginPartition, Number(source.Partition)),
        new(DeliveryHeaders.OriginOffset, Number(half.Origin)),
        CopyWriter.OriginTimestamp(record),
    ];

    private static ReadOnlyMemory<byte> Number(long number) =>
        Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));
}
