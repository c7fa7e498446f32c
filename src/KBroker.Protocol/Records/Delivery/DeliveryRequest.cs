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
/// behind the timestamp), or for a cancel, or when it is part of a check-back transaction. It asks for one delay or
/// cancel at most; a header may not come twice. A half message may have a delay, a decision has neither.
/// </remarks>
public readonly record struct DeliveryRequest
{
    /// <summary>The longest name of a producer group, in characters: its checks go to the topic
    /// <c>kbroker.check.GROUP</c>.</summary>
    public const int GroupMaxLength = 249 - 14;

    private const int ShownValueBytes = 32;
    private const string PrepareText = "prepare";
    private const string CommitText = "commit";
    private const string RollbackText = "rollback";

    /// <summary>What is asked for.</summary>
    public DeliveryRequestKind Kind { get; private init; }

    /// <summary>The level, the delay in ms, the instant in epoch ms, or the offset to cancel.</summary>
    public long Value { get; private init; }

    /// <summary>The part that the record has in a check-back transaction.</summary>
    public HalfRequest Half { get; private init; }

    /// <summary>The offset of the half message that a decision is about; -1 without.</summary>
    public long Reference { get; private init; }

    /// <summary>When a half message is asked about for the first time, in ms after it came; -1 where it does not say.
    /// </summary>
    public long CheckAfterMs { get; private init; }

    /// <summary>Whether there is a producer group; see <see cref="GroupOf"/>.</summary>
    public bool HasGroup { get; private init; }

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
        var request = new DeliveryRequest { OriginOffset = -1, Reference = -1, CheckAfterMs = -1 };
        var position = 0;
        for (var i = 0; i < count; i++)
        {
            var key = Next(headers, ref position, out _);
            var value = Next(headers, ref position, out var isNull);
            if (!key.StartsWith(DeliveryHeaders.PrefixUtf8))
                continue;
            request = request.With(key, value, isNull);
            if (request.Kind == DeliveryRequestKind.Invalid)
                return request;
        }

        return request.IncompleteBecause() is { } problem ? Invalid(request, problem) : request;
    }

    /// <summary>Reads the headers of a record.</summary>
    /// <param name="headers">The headers.</param>
    /// <returns>The request; it never throws on headers that a validated record has.</returns>
    public static DeliveryRequest Parse(RecordHeaders headers) => Parse(headers.Encoded.Span, headers.Count);

    /// <summary>The producer group that a half message or a decision names.</summary>
    /// <param name="headers">The headers.</param>
    /// <returns>The group; empty without.</returns>
    public static ReadOnlyMemory<byte> GroupOf(RecordHeaders headers) =>
        headers.TryGetLast("kbroker-producer-group"u8, out var group) ? group.GetValueOrDefault() : default;

    /// <summary>Whether consumers do not see the record, because it waits for its time or is a command.</summary>
    /// <param name="timestamp">The record's timestamp, epoch ms.</param>
    public bool Hides(long timestamp) => Half != HalfRequest.None || Kind switch
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

    /// <summary>The request with one header more.</summary>
    private DeliveryRequest With(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, bool isNull)
    {
        if (DeliveryHeaders.IsBrokerWritten(key))
        {
            var origin = key.SequenceEqual("kbroker-origin-offset"u8) && TryParse(value, out var number)
                ? number
                : OriginOffset;
            return this with { HasBrokerHeaders = true, OriginOffset = origin };
        }

        if (key.SequenceEqual("kbroker-txn"u8))
            return WithHalf(value, isNull);
        if (key.SequenceEqual("kbroker-producer-group"u8))
            return WithGroup(value, isNull);
        if (key.SequenceEqual("kbroker-ref"u8))
            return WithReference(value, isNull);
        if (key.SequenceEqual("kbroker-check-after-ms"u8))
            return WithCheckAfter(value, isNull);
        var kind = KindOf(key);
        return kind == DeliveryRequestKind.None ? this : WithKind(kind, value, isNull);
    }

    private DeliveryRequest WithKind(DeliveryRequestKind kind, ReadOnlySpan<byte> value, bool isNull)
    {
        if (Kind != DeliveryRequestKind.None)
            return Invalid(this, Conflict(Kind, kind));
        if (isNull || !TryParse(value, out var number) || (number < 0 && kind != DeliveryRequestKind.At))
            return Invalid(this, NotANumber(kind, value, isNull));
        return this with { Kind = kind, Value = number };
    }

    private DeliveryRequest WithHalf(ReadOnlySpan<byte> value, bool isNull)
    {
        if (Half != HalfRequest.None)
            return Invalid(this, $"{DeliveryHeaders.Transaction} is given twice");
        var half = value.SequenceEqual("prepare"u8) ? HalfRequest.Prepare
            : value.SequenceEqual("commit"u8) ? HalfRequest.Commit
            : value.SequenceEqual("rollback"u8) ? HalfRequest.Rollback
            : HalfRequest.None;
        return half != HalfRequest.None
            ? this with { Half = half }
            : Invalid(this, $"{DeliveryHeaders.Transaction} is {Shown(value, isNull)}, but must be {PrepareText}, "
                + $"{CommitText} or {RollbackText}");
    }

    private DeliveryRequest WithGroup(ReadOnlySpan<byte> value, bool isNull)
    {
        if (HasGroup)
            return Invalid(this, $"{DeliveryHeaders.ProducerGroup} is given twice");
        var isName = value.Length is > 0 and <= GroupMaxLength;
        foreach (var b in value)
            isName &= char.IsAsciiLetterOrDigit((char)b) || b is (byte)'.' or (byte)'_' or (byte)'-';
        return isName
            ? this with { HasGroup = true }
            : Invalid(this, $"{DeliveryHeaders.ProducerGroup} is {Shown(value, isNull)}, but must be 1 to "
                + $"{GroupMaxLength} ASCII letters, digits, '.', '_' or '-': its checks go to a topic of that name");
    }

    private DeliveryRequest WithReference(ReadOnlySpan<byte> value, bool isNull)
    {
        if (Reference >= 0)
            return Invalid(this, $"{DeliveryHeaders.Reference} is given twice");
        // Without kbroker-txn it has nothing to do with this, whatever it is.
        return !isNull && TryParse(value, out var number) && number >= 0
            ? this with { Reference = number }
            : this;
    }

    private DeliveryRequest WithCheckAfter(ReadOnlySpan<byte> value, bool isNull)
    {
        if (CheckAfterMs >= 0)
            return Invalid(this, $"{DeliveryHeaders.CheckAfterMs} is given twice");
        return !isNull && TryParse(value, out var number) && number >= 0
            ? this with { CheckAfterMs = number }
            : Invalid(this, $"{DeliveryHeaders.CheckAfterMs} is {Shown(value, isNull)}, but must be decimal digits "
                + "(milliseconds, not negative)");
    }

    /// <summary>What is wrong with the headers together.</summary>
    private string? IncompleteBecause()
    {
        if (CheckAfterMs >= 0 && Half != HalfRequest.Prepare)
        {
            return $"{DeliveryHeaders.CheckAfterMs} is for half messages ({DeliveryHeaders.Transaction}: "
                + $"{PrepareText})";
        }

        if (Half == HalfRequest.None)
            return null;
        if (Kind == DeliveryRequestKind.Cancel)
            return $"{DeliveryHeaders.Transaction} and {DeliveryHeaders.Cancel} exclude each other";
        if (Half == HalfRequest.Prepare)
        {
            return HasGroup
                ? null
                : $"a half message needs {DeliveryHeaders.ProducerGroup}: who is asked when no decision comes";
        }

        if (Kind != DeliveryRequestKind.None)
            return $"{NameOf(Kind)} goes with the half message, not with the decision";
        return Reference >= 0
            ? null
            : $"a decision needs {DeliveryHeaders.Reference}: decimal digits, the offset of a half message of the "
                + "same partition";
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
        return $"{NameOf(kind)} is {Shown(value, isNull)}, but must be decimal digits "
            + kind switch
            {
                DeliveryRequestKind.Level => "(a level: 0 for no delay, 1 for the first)",
                DeliveryRequestKind.After => "(milliseconds, not negative)",
                DeliveryRequestKind.At => "(milliseconds since 1970)",
                _ => "(the offset of a delayed record of the same partition)",
            };
    }

    private static string Shown(ReadOnlySpan<byte> value, bool isNull) => isNull ? "null"
        : "'" + new string([.. value[..Math.Min(value.Length, ShownValueBytes)].ToArray().Select(
            static b => b is > 31 and < 127 ? (char)b : '?')]) + "'";

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
