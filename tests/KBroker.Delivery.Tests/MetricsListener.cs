using System.Diagnostics.Metrics;
using KBroker.Delivery.Delay;

namespace KBroker.Delivery.Tests;

/// <summary>Hears what one broker measures, of instruments whose names begin alike.</summary>
internal sealed class MetricsListener : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly List<string> _recorded = [];

    public MetricsListener(DelayMetrics metrics, string prefix)
    {
        _listener.InstrumentPublished = (instrument, self) =>
        {
            if (metrics.Owns(instrument.Meter)
                && instrument.Name.StartsWith(prefix, StringComparison.Ordinal))
                self.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((i, value, tags, _) => Note(i, value, tags));
        _listener.SetMeasurementEventCallback<double>((i, value, tags, _) => Note(i, value, tags));
        _listener.Start();
    }

    /// <summary>What the gauges show, by name.</summary>
    public List<string> Observe()
    {
        _recorded.Clear();
        _listener.RecordObservableInstruments();
        return Recorded();
    }

    /// <summary>What was recorded since the last look.</summary>
    public List<string> Recorded()
    {
        var recorded = _recorded.ToList();
        _recorded.Clear();
        return [.. recorded.Order(StringComparer.Ordinal)];
    }

    public void Dispose() => _listener.Dispose();

    private void Note<T>(Instrument instrument, T value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        Assert.Equal("topic", tags[0].Key);
        _recorded.Add(FormattableString.Invariant($"{instrument.Name}/{tags[0].Value} = {value}"));
    }
}
