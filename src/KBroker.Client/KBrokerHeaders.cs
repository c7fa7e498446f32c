using System.Buffers.Text;
using System.Globalization;
using System.Text;
using Confluent.Kafka;

namespace KBroker.Client;

/// <summary>
/// The record headers by which KBroker is asked for what Kafka does not have, and those by which it tells where a
/// record comes from. Values are decimal digits as text.
/// </summary>
/// <remarks>
/// A record asks for one thing, once: what is set here takes the place of what was set before. The topic must allow it
/// (<c>kbroker.delay.enable=true</c>); a topic that does not, and Apache Kafka, hand such headers on like any other.
/// </remarks>
public static class KBrokerHeaders
{
    /// <summary>Deliver after the time of a level: 1 is the first of the broker's
    /// <c>kbroker.delay.levels</c>.</summary>
    public const string DelayLevel = "kbroker-delay-level";

    /// <summary>Deliver this many milliseconds after the record's timestamp.</summary>
    public const string DelayMs = "kbroker-delay-ms";

    /// <summary>Deliver at this instant, in milliseconds since 1970.</summary>
    public const string DeliverAt = "kbroker-deliver-at";

    /// <summary>Do not deliver the delayed record that has this offset in the same partition.</summary>
    public const string Cancel = "kbroker-cancel";

    /// <summary>Written by the broker: the offset that the producer of a delayed record was told.</summary>
    public const string OriginOffset = "kbroker-origin-offset";

    /// <summary>Written by the broker: the timestamp that a delayed record had, in milliseconds since 1970.</summary>
    public const string OriginTimestamp = "kbroker-origin-timestamp";

    private static readonly string[] Requests = [DelayLevel, DelayMs, DeliverAt, Cancel];

    /// <summary>Has the record delivered later.</summary>
    /// <param name="headers">The record's headers.</param>
    /// <param name="delay">When; a <see cref="TimeSpan"/> or a <see cref="DateTimeOffset"/> will do.</param>
    /// <returns>The same headers.</returns>
    public static Headers SetDelay(this Headers headers, Delay delay) =>
        Set(headers, delay.HeaderName, delay.Encode());

    /// <summary>Has the record delivered after the time of a level.</summary>
    /// <param name="headers">The record's headers.</param>
    /// <param name="level">1 for the first; 0 for no delay; above the last one it is the last one.</param>
    /// <returns>The same headers.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The level is negative.</exception>
    public static Headers SetDelayLevel(this Headers headers, int level) => SetDelay(headers, Delay.Level(level));

    /// <summary>Has the record delivered at an instant.</summary>
    /// <param name="headers">The record's headers.</param>
    /// <param name="instant">By the broker's clock.</param>
    /// <returns>The same headers.</returns>
    public static Headers SetDeliverAt(this Headers headers, DateTimeOffset instant) =>
        SetDelay(headers, Delay.Until(instant));

    /// <summary>Makes the record a command: a delayed record of the same partition is not to be delivered.</summary>
    /// <param name="headers">The headers of the command.</param>
    /// <param name="offset">The offset that the producer of the delayed record was told.</param>
    /// <returns>The same headers.</returns>
    /// <exception cref="ArgumentOutOfRangeException">It is no offset of a record.</exception>
    public static Headers SetCancel(this Headers headers, Offset offset)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset.Value, nameof(offset));
        return Set(headers, Cancel, Encoding.ASCII.GetBytes(offset.Value.ToString(CultureInfo.InvariantCulture)));
    }

    /// <summary>Where a delivered record comes from.</summary>
    /// <param name="headers">The headers of a consumed record.</param>
    /// <param name="origin">Offset and timestamp of the record that was produced.</param>
    /// <returns>False when it is no delivery of a delayed record.</returns>
    public static bool TryGetOrigin(this Headers? headers, out RecordOrigin origin)
    {
        origin = default;
        if (headers is null || !TryGetNumber(headers, OriginOffset, out var offset))
            return false;
        origin = new RecordOrigin(
            new Offset(offset),
            TryGetNumber(headers, OriginTimestamp, out var timestampMs)
                ? new Timestamp(timestampMs, TimestampType.CreateTime)
                : Timestamp.Default);
        return true;
    }

    private static Headers Set(Headers headers, string name, byte[] value)
    {
        ArgumentNullException.ThrowIfNull(headers);
        foreach (var request in Requests)
            headers.Remove(request);
        headers.Add(name, value);
        return headers;
    }

    private static bool TryGetNumber(Headers headers, string name, out long number)
    {
        number = 0;
        return headers.TryGetLastBytes(name, out var value) && value is not null
            && Utf8Parser.TryParse(value, out number, out var used) && used == value.Length;
    }
}
