using System.Diagnostics.Metrics;

namespace KBroker.Timing;

/// <summary>
/// The measurements of this project, under the meter <c>KBroker.Timing</c>: the gauges <c>PurgatorySize</c>
/// (watches) and <c>NumDelayedOperations</c> (operations), with a tag <c>delayedOperation</c> that names the
/// purgatory. These are the names that Kafka uses under <c>kafka.server:type=DelayedOperationPurgatory</c>.
/// </summary>
public sealed class TimingMetrics : IDisposable
{
    /// <summary>The name of the meter.</summary>
    public const string MeterName = "KBroker.Timing";

    private readonly Lock _lock = new();
    private readonly Meter _meter;
    private readonly bool _ownsMeter;
    private volatile Registration[] _registrations = [];

    /// <summary>Creates the instruments of one broker.</summary>
    /// <param name="meterFactory">Makes the meter, and disposes of it; the instance itself does both when null.</param>
    public TimingMetrics(IMeterFactory? meterFactory = null)
    {
        _ownsMeter = meterFactory == null;
        _meter = meterFactory?.Create(new MeterOptions(MeterName)) ?? new Meter(MeterName);
        _meter.CreateObservableGauge(
            "PurgatorySize", () => Observe(static r => r.Watched()), "{watch}",
            "Watches: each waiting operation counts once for each of its keys.");
        _meter.CreateObservableGauge(
            "NumDelayedOperations", () => Observe(static r => r.Delayed()), "{operation}",
            "Operations that wait for their condition or their time-out.");
    }

    /// <summary>Ends the measurements.</summary>
    public void Dispose()
    {
        _registrations = [];
        if (_ownsMeter)
            _meter.Dispose();
    }

    internal bool Owns(Meter meter) => meter == _meter;

    internal IDisposable Register(string name, Func<int> watched, Func<int> delayed)
    {
        var registration = new Registration(this, name, watched, delayed);
        lock (_lock)
            _registrations = [.. _registrations, registration];
        return registration;
    }

    private void Unregister(Registration registration)
    {
        lock (_lock)
            _registrations = Array.FindAll(_registrations, r => r != registration);
    }

    private Measurement<int>[] Observe(Func<Registration, int> value) =>
        Array.ConvertAll(_registrations, r => new Measurement<int>(value(r), r.Tag));

    private sealed class Registration(TimingMetrics metrics, string name, Func<int> watched, Func<int> delayed)
        : IDisposable
    {
        internal Func<int> Watched { get; } = watched;

        internal Func<int> Delayed { get; } = delayed;

        internal KeyValuePair<string, object?> Tag { get; } = new("delayedOperation", name);

        public void Dispose() => metrics.Unregister(this);
    }
}
