using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using Confluent.Kafka;

namespace KBroker.Client.CheckBack;

/// <summary>
/// The record headers of check-back: those by which half messages and decisions are written, and those that checks and
/// expired half messages have. <see cref="CheckBackProducer{TKey, TValue}"/> takes care of them.
/// </summary>
public static class CheckBackHeaders
{
    /// <summary><c>prepare</c> makes the record a half message; <c>commit</c> and <c>rollback</c> decide on
    /// one.</summary>
    public const string Transaction = "kbroker-txn";

    /// <summary>The producer group that is asked what became of a half message.</summary>
    public const string ProducerGroup = "kbroker-producer-group";

    /// <summary>In a decision: the offset of the half message in the same partition.</summary>
    public const string Reference = "kbroker-ref";

    /// <summary>In a half message: ask for the first time after this many milliseconds, instead of the topic's
    /// <c>kbroker.txn.timeout.ms</c>.</summary>
    public const string CheckAfterMs = "kbroker-check-after-ms";

    /// <summary>Written by the broker: the topic of the half message.</summary>
    public const string OriginTopic = "kbroker-origin-topic";

    /// <summary>Written by the broker: the partition of the half message.</summary>
    public const string OriginPartition = "kbroker-origin-partition";

    /// <summary>Written by the broker: the number of the check; of an expired half message, of the last one.</summary>
    public const string Checks = "kbroker-half-checks";

    /// <summary>Written by the broker: why an expired half message is one.</summary>
    public const string DeathReason = "kbroker-death-reason";

    /// <summary>The topic of half messages on which nobody decided.</summary>
    public const string ExpiredTopic = "kbroker.txn.expired";

    private const string BrokerPrefix = "kbroker-";
    private static readonly string[] Requests = [Transaction, ProducerGroup, Reference, CheckAfterMs];

    /// <summary>The topic where a producer group is asked.</summary>
    /// <param name="producerGroup">The group.</param>
    public static string CheckTopic(string producerGroup) => "kbroker.check." + producerGroup;

    /// <summary>Makes the record a half message; a delay that it asks for stays.</summary>
    /// <param name="headers">The record's headers.</param>
    /// <param name="producerGroup">Who is asked when no decision comes.</param>
    /// <param name="checkAfter">When, for the first time; null for the time that the topic has.</param>
    /// <returns>The same headers.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The time is negative.</exception>
    public static Headers SetHalf(this Headers headers, string producerGroup, TimeSpan? checkAfter = null)
    {
        ArgumentNullException.ThrowIfNull(headers);
        ArgumentException.ThrowIfNullOrEmpty(producerGroup);
        if (checkAfter is { } time)
            ArgumentOutOfRangeException.ThrowIfLessThan(time, TimeSpan.Zero, nameof(checkAfter));
        Clear(headers);
        headers.Add(Transaction, "prepare"u8.ToArray());
        headers.Add(ProducerGroup, Encoding.ASCII.GetBytes(producerGroup));
        if (checkAfter is { } wait)
            headers.Add(CheckAfterMs, Number((long)wait.TotalMilliseconds));
        return headers;
    }

    /// <summary>Makes the record a decision on a half message of the same partition.</summary>
    /// <param name="headers">The headers of the decision.</param>
    /// <param name="half">The offset of the half message.</param>
    /// <param name="decision">Commit or rollback.</param>
    /// <param name="producerGroup">The group of the half message, so that the broker refuses a decision on somebody
    /// else's; null to leave that out.</param>
    /// <returns>The same headers.</returns>
    /// <exception cref="ArgumentOutOfRangeException">It is no offset of a record, or no decision.</exception>
    public static Headers SetDecision(
        this Headers headers, Offset half, LocalTransactionState decision, string? producerGroup = null)
    {
        ArgumentNullException.ThrowIfNull(headers);
        ArgumentOutOfRangeException.ThrowIfNegative(half.Value, nameof(half));
        var text = decision switch
        {
            LocalTransactionState.Commit => "commit"u8,
            LocalTransactionState.Rollback => "rollback"u8,
            _ => throw new ArgumentOutOfRangeException(nameof(decision), decision, "It decides nothing."),
        };
        Clear(headers);
        headers.Add(Transaction, text.ToArray());
        headers.Add(Reference, Number(half.Value));
        if (producerGroup is not null)
            headers.Add(ProducerGroup, Encoding.ASCII.GetBytes(producerGroup));
        return headers;
    }

    /// <summary>The half message of which a check, or an expired record, is a copy.</summary>
    /// <param name="headers">The headers of a consumed record.</param>
    /// <param name="half">The half message.</param>
    /// <returns>False when it is a copy of none.</returns>
    public static bool TryGetHalf(this Headers? headers, [NotNullWhen(true)] out HalfMessage? half)
    {
        half = null;
        if (!headers.TryGetOrigin(out var origin)
            || !headers!.TryGetLastBytes(OriginTopic, out var topic)
            || !TryGetNumber(headers!, OriginPartition, out var partition)
            || !TryGetNumber(headers!, Checks, out var checks))
        {
            return false;
        }

        half = new HalfMessage(
            new TopicPartitionOffset(Encoding.UTF8.GetString(topic), (int)partition, origin.Offset),
            origin.Timestamp,
            (int)checks);
        return true;
    }

    /// <summary>A copy of headers; without those of KBroker, when they are of a record that the broker wrote.</summary>
    internal static Headers Copy(Headers? headers, bool userOnly = false)
    {
        var copy = new Headers();
        foreach (var header in headers ?? [])
        {
            if (!userOnly || !header.Key.StartsWith(BrokerPrefix, StringComparison.Ordinal))
                copy.Add(header.Key, header.GetValueBytes());
        }

        return copy;
    }

    private static void Clear(Headers headers)
    {
        foreach (var request in Requests)
            headers.Remove(request);
    }

    private static byte[] Number(long number) => Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    private static bool TryGetNumber(Headers headers, string name, out int number)
    {
        number = 0;
        return headers.TryGetLastBytes(name, out var value) && value is not null
            && Utf8Parser.TryParse(value, out number, out var used) && used == value.Length;
    }
}
