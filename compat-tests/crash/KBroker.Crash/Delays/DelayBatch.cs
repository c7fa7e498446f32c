using System.Globalization;
using System.Text;
using KBroker.Crash.History;
using KBroker.Crash.Transactions;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;

namespace KBroker.Crash.Delays;

/// <summary>A topic whose records may be delayed.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Partitions">How many.</param>
/// <param name="IsStamped">Whether the broker gives the timestamps.</param>
internal sealed record DelayTopic(string Name, int Partitions, bool IsStamped = false)
{
    /// <summary>What the levels mean.</summary>
    public static readonly long[] LevelsMs = [1_000, 2_000, 3_000];
}

/// <summary>Makes the batches of one producer up.</summary>
/// <param name="number">The producer's number.</param>
/// <param name="history">Learns what is sent.</param>
/// <param name="farMs">Around when the far ones are due, epoch ms.</param>
/// <param name="random">Chooses.</param>
internal sealed class DelayBatches(int number, DelayHistory history, long farMs, Random random)
{
    private const int MostRecords = 8;
    private const int CancelPercent = 9;
    private const int DelayPercent = 55;
    private const int FiveRecordsPercent = 25;
    private const long HourMs = 3_600_000;
    private int _sequence;

    /// <summary>The next records for a partition.</summary>
    /// <param name="topic">Its topic.</param>
    /// <param name="place">The partition.</param>
    /// <param name="producerId">Of the batch; -1 without.</param>
    /// <param name="transaction">Null without.</param>
    /// <param name="mayCancel">Whether cancels may be among them.</param>
    public List<DelaySent> Next(
        DelayTopic topic, Place place, long producerId = -1, SentTransaction? transaction = null, bool mayCancel = true)
    {
        var records = new List<DelaySent>();
        // Now and then the batch of which a consumer gets the first two and the last two.
        var isFive = random.Next(100) < FiveRecordsPercent;
        var count = isFive ? 5 : random.Next(1, MostRecords + 1);
        for (var i = 0; i < count; i++)
        {
            var isDelayed = isFive ? i == 2 : random.Next(100) < DelayPercent;
            var nowMs = DelayWire.NowMs;
            var record = Next(topic, place, isDelayed, !isFive && mayCancel, nowMs) with
            {
                TimestampMs = topic.IsStamped ? null : nowMs,
                ProducerId = producerId,
                Transaction = transaction,
            };
            history.Sent(record);
            transaction?.Records.Add((place, record.Id));
            records.Add(record);
        }

        return records;
    }

    /// <summary>Writes records as their producer sends them.</summary>
    public static byte[] Build(IReadOnlyList<DelaySent> records, RecordBatchOptions options, CompressionCodecs codecs)
    {
        using var builder = new RecordBatchBuilder(options, codecs);
        foreach (var record in records)
        {
            builder.Append(
                record.TimestampMs ?? DelayWire.NowMs,
                Encoding.UTF8.GetBytes(KeyOf(record.Id)),
                record.Id.ToValue(),
                RecordHeaders.Create([.. Headers(record).Select(static h =>
                    new RecordHeader(h.Name, Encoding.UTF8.GetBytes(h.Value)))]));
        }

        return builder.Build().ToArray();
    }

    /// <summary>The headers of a record.</summary>
    public static IEnumerable<(string Name, string Value)> Headers(DelaySent record)
    {
        if (record.Request is { } request)
            yield return (request.Name, request.Value.ToString(CultureInfo.InvariantCulture));
        yield return (DelayWire.UserHeader, record.Id.ToString());
    }

    /// <summary>The key that a record has.</summary>
    public static string KeyOf(RecordId id) => $"k{id.Sequence}";

    private DelaySent Next(DelayTopic topic, Place place, bool isDelayed, bool mayCancel, long nowMs)
    {
        var id = new RecordId(number, _sequence++);
        if (mayCancel && random.Next(100) < CancelPercent && history.PickTarget(place, random, nowMs) is { } target)
        {
            return new DelaySent(place, id, DelayKind.Cancel)
            {
                Request = (DeliveryHeaders.Cancel, target.Offset),
                Target = target,
            };
        }

        if (!isDelayed)
            return new DelaySent(place, id, DelayKind.Plain);
        var (name, value, delay) = Delay(nowMs);
        var isInstant = name == DeliveryHeaders.DeliverAt;
        return new DelaySent(place, id, DelayKind.Delayed)
        {
            Request = (name, value),
            DueLeastMs = isInstant ? value : nowMs + delay,
            DelayFromAckMs = topic.IsStamped && !isInstant ? delay : null,
        };
    }

    private (string Name, long Value, long DelayMs) Delay(long nowMs)
    {
        switch (random.Next(100))
        {
            case < 4:
                return (DeliveryHeaders.DelayMs, 0, 0);
            case < 8:
                return (DeliveryHeaders.DeliverAt, nowMs - random.Next(0, 2_000), 0);
            case < 45:
                return After(random.Next(1, 300));
            case < 65:
                return After(random.Next(300, 2_500));
            case < 73:
                var level = random.Next(0, DelayTopic.LevelsMs.Length + 2);
                return (DeliveryHeaders.DelayLevel, level,
                    level == 0 ? 0 : DelayTopic.LevelsMs[Math.Min(level, DelayTopic.LevelsMs.Length) - 1]);
            case < 78:
                return (DeliveryHeaders.DeliverAt, nowMs + random.Next(0, 500), 0);
            case < 95:
                return (DeliveryHeaders.DeliverAt, Math.Max(nowMs, farMs) + random.Next(0, 3_000), 0);
            default:
                return After(HourMs + random.Next(0, 1_000_000));
        }

        static (string Name, long Value, long DelayMs) After(long ms) => (DeliveryHeaders.DelayMs, ms, ms);
    }
}
