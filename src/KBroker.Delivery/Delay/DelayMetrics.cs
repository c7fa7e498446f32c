using System.Diagnostics.Metrics;

namespace KBroker.Delivery.Delay;

/// <summary>What is measured of delayed records, by topic.</summary>
internal sealed class DelayMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "KBroker.Delivery";

    private readonly Meter _meter = new(MeterName);
    private readonly Histogram<double> _lateness;
    private readonly Counter<long> _delivered;
    private readonly Counter<long> _carried;
    private readonly Counter<long> _checks;
    private readonly Counter<long> _expired;
    private readonly Counter<long> _ignored;

    /// <summary>Creates the instruments.</summary>
    /// <param name="schedules">The schedules of the moment.</param>
    /// <param name="nowMs">The clock, epoch ms.</param>
    /// <param name="monotonicMs">The monotonic clock, ms.</param>
    public DelayMetrics(Func<IEnumerable<DelaySchedule>> schedules, Func<long> nowMs, Func<long> monotonicMs)
    {
        _checks = _meter.CreateCounter<long>(
            "halves.checks", "{check}", "Questions to producer groups about their half messages.");
        _expired = _meter.CreateCounter<long>(
            "halves.expired", "{record}", "Half messages given up because no decision came.");
        _ignored = _meter.CreateCounter<long>(
            "halves.decisions.ignored", "{record}", "Decisions on what was decided already, or given up.");
        _meter.CreateObservableGauge(
            "halves.open",
            () => ByTopic(schedules, static all => all.Sum(static s => (long)s.OpenHalvesCount)),
            "{record}",
            "Half messages that nobody has decided on.");
        _meter.CreateObservableGauge(
            "halves.oldest",
            () => ByTopic(
                () => schedules().Where(static s => s.OldestHalfAt >= 0),
                all => monotonicMs() - all.Min(static s => s.OldestHalfAt)),
            "ms",
            "Age of the oldest open half message. None without one.");
        _lateness = _meter.CreateHistogram<double>(
            "delay.lateness", "ms", "Time from when a delayed record was due to when its delivery was appended.");
        _delivered = _meter.CreateCounter<long>("delay.delivered", "{record}", "Delayed records delivered.");
        _carried = _meter.CreateCounter<long>(
            "delay.carried", "{record}", "Pending records copied forward before their segment was deleted.");
        _meter.CreateObservableGauge(
            "delay.pending",
            () => ByTopic(schedules, static all => all.Sum(static s => s.PendingCount)),
            "{record}",
            "Delayed records that are pending.");
        _meter.CreateObservableGauge(
            "delay.next.due",
            () => ByTopic(
                () => schedules().Where(static s => s.PendingCount > 0),
                all => all.Min(static s => s.NextDueMs) - nowMs()),
            "ms",
            "Time until the next delayed record is due; negative when it is late. None without pending records.");
    }

    /// <summary>Whether a meter is this one: several brokers may run in one process.</summary>
    public bool Owns(Meter meter) => ReferenceEquals(meter, _meter);

    public void Dispose() => _meter.Dispose();

    /// <summary>Counts checks.</summary>
    public void Checked(string topic, int count) => _checks.Add(count, Tag(topic));

    /// <summary>Counts half messages that were given up.</summary>
    public void Expired(string topic, int count) => _expired.Add(count, Tag(topic));

    /// <summary>Counts a decision on what is no open half message.</summary>
    public void DecisionIgnored(string topic) => _ignored.Add(1, Tag(topic));

    /// <summary>Counts a delivery.</summary>
    public void Delivered(string topic, IReadOnlyList<PendingRecord> records, long nowMs)
    {
        var tag = Tag(topic);
        _delivered.Add(records.Count, tag);
        if (!_lateness.Enabled)
            return;
        foreach (var record in records)
        {
            // A half message without a delay is due when it is committed.
            if (record.DueMs > 0)
                _lateness.Record(nowMs - record.DueMs, tag);
        }
    }

    /// <summary>Counts records carried forward.</summary>
    public void Carried(string topic, int count) => _carried.Add(count, Tag(topic));

    private static KeyValuePair<string, object?> Tag(string topic) => new("topic", topic);

    private static IEnumerable<Measurement<long>> ByTopic(
        Func<IEnumerable<DelaySchedule>> schedules, Func<IEnumerable<DelaySchedule>, long> value) =>
        schedules().GroupBy(static s => s.Partition.TopicPartition.Topic)
            .Select(all => new Measurement<long>(value(all), Tag(all.Key)));
}
