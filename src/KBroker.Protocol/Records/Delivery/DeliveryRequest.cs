using System.Buffers.Text;

namespace KBroker.Protocol.Records.Delivery;

/// <summary>What a record's headers ask the broker for.</summary>
public enum DeliveryRequestKind
{
    /// <summary>Nothing: an ordinary record.</summary>
    None,

    /// <summary>Delivery after the time of a level.</summary>
    Level,

    /// <summary>Delivery some time after the record's timestamp.</summary>
    After,

    /// <summary>Delivery at an instant.</summary>
    At,

    /// <summary>No delivery of another record.</summary>
    Cancel,

    /// <summary>Something that cannot be understood: <see cref="DeliveryRequest.Problem"/>.</summary>
    Invalid,
}

/// <summary>
/// The request in the headers of one record. What it hides depends on nothing but the record itself, so every replica,
/// and every broker that opens the log later, hides the same.
/// </summary>
/// <remarks>
/// A record is hidden when it asks for a delivery after its own timestamp (any level or delay above 0, or an instant
/// behind the timestamp), or for a cancel. It asks for one thing at most; a header may not come twice.
/// </remarks>
public readonly record struct DeliveryRequest
{
    private const int ShownValueBytes = 32;

    /// <summary>What is asked for.</summary>
    public DeliveryRequestKind Kind { get; private init; }

    /// <summary>The level, the delay in ms, the instant in epoch ms, or the offset to cancel.</summary>
    public long Value { get; private init; }

    /// <summary>The offset of the record that this one is a copy of; -1 without. Only the broker writes it.</summary>
    public long OriginOffset { get; private init; }

    /// <summary>Whether there are headers that only the broker may write.</summary>
    public bool HasBrokerHeaders { get; private init; }

    /// <summary>Names the value and the rule it breaks; null when all is well.</summary>
    public string? Problem { get; private init; }

    /// <summary>Reads the headers of a record.</summary>
    /// <param name="headers">The headers, encoded; see <see cref="RecordHeaders"/>.</param>
    /// <param name="count">How many.</param>
    /// <returns>The request; it never throws on headers that a validated record has.</returns>
    public static DeliveryRequest Parse(ReadOnlySpan<byte> headers, int count)
    {
        var request = new DeliveryRequest { OriginOffset = -1 };
        var position = 0;
        for (var i = 0; i < count; i++)
        {
            var key = Next(headers, ref position, out _);
            var value = Next(headers, ref position, out var isNull);
            if (!key.StartsWith(DeliveryHeaders.PrefixUtf8))
                continue;
            if (DeliveryHeaders.IsBrokerWritten(key))
            {
                request = request with { HasBrokerHeaders = true };
                if (key.SequenceEqual("kbroker-origin-offset"u8) && TryParse(value, out var origin))
                    request = request with { OriginOffset = origin };
                continue;
            }

            if (key.SequenceEqual("kbroker-txn"u8))
                return Invalid(request, $"{DeliveryHeaders.Transaction}: check-back is not enabled for this topic");
            var kind = KindOf(key);
            if (kind == DeliveryRequestKind.None)
                continue;
            if (request.Kind != DeliveryRequestKind.None)
                return Invalid(request, Conflict(request.Kind, kind));
            if (isNull || !TryParse(value, out var number) || (number < 0 && kind != DeliveryRequestKind.At))
                return Invalid(request, NotANumber(kind, value, isNull));
            request = request with { Kind = kind, Value = number };
        }

        return request;
    }

    /// <summary>Reads the headers of a record.</summary>
    /// <param name="headers">The headers.</param>
    /// <returns>The request; it never throws on headers that a validated record has.</returns>
    public static DeliveryRequest Parse(RecordHeaders headers) => Parse(headers.Encoded.Span, headers.Count);

    /// <summary>Whether consumers do not see the record, because it waits for its time or is a command.</summary>
    /// <param name="timestamp">The record's timestamp, epoch ms.</param>
    public bool Hides(long timestamp) => Kind switch
    {
        DeliveryRequestKind.Level or DeliveryRequestKind.After => Value > 0,
        DeliveryRequestKind.At => Value > timestamp,
        DeliveryRequestKind.Cancel => true,
        _ => false,
    };

    /// <summary>When the record is to be delivered.</summary>
    /// <param name="timestamp">The record's timestamp, epoch ms, from which levels and delays count.</param>
    /// <param name="levelsMs">The time of each level, ms; not empty.</param>
    /// <returns>Epoch ms, at most the largest number.</returns>
    public long DueMs(long timestamp, IReadOnlyList<long> levelsMs)
    {
        ArgumentNullException.ThrowIfNull(levelsMs);
        return Kind switch
        {
            DeliveryRequestKind.Level when Value > 0 =>
                Add(timestamp, levelsMs[(int)Math.Min(Value, levelsMs.Count) - 1]),
            DeliveryRequestKind.After => Add(timestamp, Value),
            DeliveryRequestKind.At => Value,
            _ => timestamp,
        };
    }

    private static long Add(long timestamp, long delayMs) =>
        timestamp > long.MaxValue - delayMs ? long.MaxValue : timestamp + delayMs;

    private static DeliveryRequestKind KindOf(ReadOnlySpan<byte> key)
    {
        if (key.SequenceEqual("kbroker-delay-level"u8))
            return DeliveryRequestKind.Level;
        if (key.SequenceEqual("kbroker-delay-ms"u8))
            return DeliveryRequestKind.After;
        if (key.SequenceEqual("kbroker-deliver-at"u8))
            return DeliveryRequestKind.At;
        return key.SequenceEqual("kbroker-cancel"u8) ? DeliveryRequestKind.Cancel : DeliveryRequestKind.None;
    }

    private static string NameOf(DeliveryRequestKind kind) => kind switch
    {
        DeliveryRequestKind.Level => DeliveryHeaders.DelayLevel,
        DeliveryRequestKind.After => DeliveryHeaders.DelayMs,
        DeliveryRequestKind.At => DeliveryHeaders.DeliverAt,
        _ => DeliveryHeaders.Cancel,
    };

    private static DeliveryRequest Invalid(DeliveryRequest request, string problem) =>
        request with { Kind = DeliveryRequestKind.Invalid, Problem = problem };

    private static string Conflict(DeliveryRequestKind first, DeliveryRequestKind second) => first == second
        ? $"{NameOf(first)} is given twice"
        : $"{NameOf(first)} and {NameOf(second)} exclude each other";

    private static string NotANumber(DeliveryRequestKind kind, ReadOnlySpan<byte> value, bool isNull)
    {
        var shown = isNull ? "null"
            : "'" + new string([.. value[..Math.Min(value.Length, ShownValueBytes)].ToArray().Select(
                static b => b is > 31 and < 127 ? (char)b : '?')]) + "'";
        return $"{NameOf(kind)} is {shown}, but must be decimal digits "
            + kind switch
            {
                DeliveryRequestKind.Level => "(a level: 0 for no delay, 1 for the first)",
                DeliveryRequestKind.After => "(milliseconds, not negative)",
                DeliveryRequestKind.At => "(milliseconds since 1970)",
                _ => "(the offset of a delayed record of the same partition)",
            };
    }

    private static bool TryParse(ReadOnlySpan<byte> text, out long number) =>
        Utf8Parser.TryParse(text, out number, out var used) && used == text.Length && text[0] != '+';

    private static ReadOnlySpan<byte> Next(ReadOnlySpan<byte> headers, ref int position, out bool isNull)
    {
        isNull = true;
        if (!VarInt.TryRead(headers, ref position, out int length) || length > headers.Length - position)
            throw new InvalidRecordException("A record ends within its headers.");
        if (length < 0)
            return [];
        isNull = false;
        position += length;
        return headers.Slice(position - length, length);
    }
}
