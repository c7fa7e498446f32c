using System.Diagnostics.Metrics;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// The instruments of coordination: meter <c>KBroker.Coordination</c>, names after Kafka's
/// <c>group-coordinator-metrics</c>.
/// </summary>
public sealed class CoordinatorMetrics : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "KBroker.Coordination";

    private readonly Meter _meter;
    private readonly Histogram<double> _loadTime;
    private readonly Histogram<double> _queueTime;
    private readonly Histogram<double> _processingTime;

    /// <summary>Creates the instruments of one broker.</summary>
    /// <param name="factory">Makes the meter; null for one without a container.</param>
    public CoordinatorMetrics(IMeterFactory? factory = null)
    {
        _meter = factory?.Create(new MeterOptions(MeterName)) ?? new Meter(MeterName);
        _loadTime = _meter.CreateHistogram<double>(
            "partition-load-time", "ms", "Time to read one partition of a coordinator's topic and replay it.");
        _queueTime = _meter.CreateHistogram<double>(
            "event-queue-time-ms", "ms", "How long a step waited in its shard's mailbox.");
        _processingTime = _meter.CreateHistogram<double>(
            "event-processing-time-ms", "ms", "Time of one drain of a mailbox, the append included.");
    }

    /// <summary>Ends the instruments.</summary>
    public void Dispose() => _meter.Dispose();

    /// <summary>Adds a gauge whose value is read when somebody looks.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="unit">Its unit.</param>
    /// <param name="description">What it says.</param>
    /// <param name="observe">Reads it; from any thread.</param>
    internal void AddGauge(
        string name, string unit, string description, Func<IEnumerable<Measurement<long>>> observe) =>
        _meter.CreateObservableGauge(name, observe, unit, description);

    internal void Loaded(TimeSpan elapsed) => _loadTime.Record(elapsed.TotalMilliseconds);

    internal bool MeasuresQueue => _queueTime.Enabled;

    internal void Dequeued(TimeSpan waited) => _queueTime.Record(waited.TotalMilliseconds);

    internal bool MeasuresDrains => _processingTime.Enabled;

    internal void Drained(TimeSpan elapsed) => _processingTime.Record(elapsed.TotalMilliseconds);
}
