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

    /// <summary>Check-back (RocketMQ's transactional messages): <c>prepare</c> makes the record a half message,
    /// <c>commit</c> and <c>rollback</c> decide on one.</summary>
    public const string Transaction = "kbroker-txn";

    /// <summary>With <see cref="Transaction"/>: the group of producers that is asked what became of a half message.
    /// </summary>
    public const string ProducerGroup = "kbroker-producer-group";

    /// <summary>With a decision: the offset of the half message, in the same partition.</summary>
    public const string Reference = "kbroker-ref";

    /// <summary>With a half message: ask about it for the first time after this many milliseconds, instead of
    /// <c>kbroker.txn.timeout.ms</c> (RocketMQ's CHECK_IMMUNITY_TIME_IN_SECONDS).</summary>
    public const string CheckAfterMs = "kbroker-check-after-ms";

    /// <summary>Written by the broker, in copies that lie in another topic: the topic of the record.</summary>
    public const string OriginTopic = "kbroker-origin-topic";

    /// <summary>Written by the broker, in copies that lie in another topic: the partition of the record.</summary>
    public const string OriginPartition = "kbroker-origin-partition";

    /// <summary>Written by the broker: the offset of the record that this one is a copy of.</summary>
    public const string OriginOffset = "kbroker-origin-offset";

    /// <summary>Written by the broker: the timestamp that the record had, epoch milliseconds.</summary>
    public const string OriginTimestamp = "kbroker-origin-timestamp";

    /// <summary>Written by the broker, in a check: the how many-th it is for its half message, from 1 on.</summary>
    public const string CheckNumber = "kbroker-half-checks";

    /// <summary>Written by the broker, in records that consumers do not see: what became of a half message.</summary>
    public const string HalfState = "kbroker-half-state";

    /// <summary>Written by the broker: why a record was given up.</summary>
    public const string DeathReason = "kbroker-death-reason";

    internal static ReadOnlySpan<byte> PrefixUtf8 => "kbroker-"u8;

    /// <summary>Whether only the broker writes a header of this name: what clients send of it is taken out.</summary>
    /// <param name="keyUtf8">The header's key.</param>
    public static bool IsBrokerWritten(ReadOnlySpan<byte> keyUtf8) =>
        keyUtf8.StartsWith("kbroker-origin-"u8)
        || keyUtf8.StartsWith("kbroker-half-"u8)
        || keyUtf8.SequenceEqual("kbroker-attempt"u8)
        || keyUtf8.SequenceEqual("kbroker-death-reason"u8);

    /// <summary>Whether a header asks the broker for something, so that a delivered copy does not carry it.</summary>
    /// <param name="keyUtf8">The header's key.</param>
    public static bool IsRequest(ReadOnlySpan<byte> keyUtf8) =>
        keyUtf8.SequenceEqual("kbroker-delay-level"u8)
        || keyUtf8.SequenceEqual("kbroker-delay-ms"u8)
        || keyUtf8.SequenceEqual("kbroker-deliver-at"u8)
        || keyUtf8.SequenceEqual("kbroker-cancel"u8)
        || keyUtf8.SequenceEqual("kbroker-txn"u8)
        || keyUtf8.SequenceEqual("kbroker-producer-group"u8)
        || keyUtf8.SequenceEqual("kbroker-ref"u8)
        || keyUtf8.SequenceEqual("kbroker-check-after-ms"u8);
}
