namespace KBroker.Protocol.Records.Delivery;

/// <summary>
/// The record headers by which stock clients ask for what Kafka does not have, and those by which the broker tells
/// where a record comes from. Keys are lowercase ASCII; numbers are decimal ASCII text.
/// </summary>
public static class DeliveryHeaders
{
    /// <summary>What all of them begin with.</summary>
    public const string Prefix = "kbroker-";

    /// <summary>Deliver after the time of a level, 1 for the first of <c>kbroker.delay.levels</c>; 0 for no delay;
    /// a level above the last one is the last one (RocketMQ's DELAY property).</summary>
    public const string DelayLevel = "kbroker-delay-level";

    /// <summary>Deliver this many milliseconds after the record's timestamp; 0 for no delay.</summary>
    public const string DelayMs = "kbroker-delay-ms";

    /// <summary>Deliver at this instant, epoch milliseconds.</summary>
    public const string DeliverAt = "kbroker-deliver-at";

    /// <summary>Do not deliver the delayed record that has this offset in the same partition.</summary>
    public const string Cancel = "kbroker-cancel";

    /// <summary>Check-back transactions: not served yet.</summary>
    public const string Transaction = "kbroker-txn";

    /// <summary>Written by the broker: the offset of the record that this one is a copy of.</summary>
    public const string OriginOffset = "kbroker-origin-offset";

    /// <summary>Written by the broker: the timestamp that the record had, epoch milliseconds.</summary>
    public const string OriginTimestamp = "kbroker-origin-timestamp";

    internal static ReadOnlySpan<byte> PrefixUtf8 => "kbroker-"u8;

    /// <summary>Whether only the broker writes a header of this name: what clients send of it is taken out.</summary>
    /// <param name="keyUtf8">The header's key.</param>
    public static bool IsBrokerWritten(ReadOnlySpan<byte> keyUtf8) =>
        keyUtf8.StartsWith("kbroker-origin-"u8)
        || keyUtf8.SequenceEqual("kbroker-attempt"u8)
        || keyUtf8.SequenceEqual("kbroker-death-reason"u8);

    /// <summary>Whether a header asks the broker for something, so that a delivered copy does not carry it.</summary>
    /// <param name="keyUtf8">The header's key.</param>
    public static bool IsDelayRequest(ReadOnlySpan<byte> keyUtf8) =>
        keyUtf8.SequenceEqual("kbroker-delay-level"u8)
        || keyUtf8.SequenceEqual("kbroker-delay-ms"u8)
        || keyUtf8.SequenceEqual("kbroker-deliver-at"u8)
        || keyUtf8.SequenceEqual("kbroker-cancel"u8);
}
