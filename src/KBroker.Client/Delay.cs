using System.Globalization;
using System.Text;
using Confluent.Kafka;

namespace KBroker.Client;

/// <summary>
/// When a record is to be delivered: after a time, at an instant, or after the time of one of the broker's levels. A
/// <see cref="TimeSpan"/> and a <see cref="DateTimeOffset"/> convert to it.
/// </summary>
/// <remarks>
/// Times and levels count from the record's timestamp. What is not a whole number of milliseconds is rounded up, so
/// that nothing is delivered early. A delay of nothing, level 0, and instants that are past mean: at once.
/// </remarks>
public readonly record struct Delay
{
    private readonly Kind _kind;
    private readonly long _value;

    private Delay(Kind kind, long value)
    {
        _kind = kind;
        _value = value;
    }

    private enum Kind
    {
        AfterMs,
        AtMs,
        Level,
    }

    /// <summary>The name of the header that asks for it.</summary>
    public string HeaderName => _kind switch
    {
        Kind.AtMs => KBrokerHeaders.DeliverAt,
        Kind.Level => KBrokerHeaders.DelayLevel,
        _ => KBrokerHeaders.DelayMs,
    };

    /// <summary>The value of that header: decimal digits.</summary>
    public string HeaderValue => _value.ToString(CultureInfo.InvariantCulture);

    /// <summary>After a time.</summary>
    /// <param name="delay">From the record's timestamp on.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public static Delay For(TimeSpan delay)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(delay, TimeSpan.Zero);
        return new Delay(Kind.AfterMs, CeilingMs(delay.Ticks));
    }

    /// <summary>At an instant.</summary>
    /// <param name="instant">By the broker's clock.</param>
    public static Delay Until(DateTimeOffset instant) =>
        new(Kind.AtMs, CeilingMs((instant - DateTimeOffset.UnixEpoch).Ticks));

    /// <summary>After the time of a level: the broker's <c>kbroker.delay.levels</c>, which are RocketMQ's 18.</summary>
    /// <param name="level">1 for the first; 0 for no delay; above the last one it is the last one.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public static Delay Level(int level)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(level);
        return new Delay(Kind.Level, level);
    }

    /// <summary>After a time: see <see cref="For"/>.</summary>
    /// <param name="delay">From the record's timestamp on.</param>
    public static implicit operator Delay(TimeSpan delay) => For(delay);

    /// <summary>At an instant: see <see cref="Until"/>.</summary>
    /// <param name="instant">By the broker's clock.</param>
    public static implicit operator Delay(DateTimeOffset instant) => Until(instant);

    /// <summary>When a record is due.</summary>
    /// <param name="timestamp">The record's timestamp, as the producer was told.</param>
    /// <returns>Null when the broker alone knows: the time of a level, or a record without a timestamp.</returns>
    public DateTimeOffset? DueFrom(Timestamp timestamp) => _kind switch
    {
        Kind.AtMs => FromMs(_value),
        Kind.AfterMs when timestamp.Type != TimestampType.NotAvailable => FromMs(timestamp.UnixTimestampMs + _value),
        Kind.Level when _value == 0 && timestamp.Type != TimestampType.NotAvailable =>
            FromMs(timestamp.UnixTimestampMs),
        _ => null,
    };

    /// <inheritdoc/>
    public override string ToString() => $"{HeaderName}: {HeaderValue}";

    internal byte[] Encode() => Encoding.ASCII.GetBytes(HeaderValue);

    private static DateTimeOffset FromMs(long epochMs) => DateTimeOffset.FromUnixTimeMilliseconds(epochMs);

    private static long CeilingMs(long ticks)
    {
        var (ms, rest) = Math.DivRem(ticks, TimeSpan.TicksPerMillisecond);
        return rest > 0 ? ms + 1 : ms;
    }
}
