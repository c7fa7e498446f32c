using System.Diagnostics.Metrics;

namespace KBroker.Timing.Tests;

public sealed class TimingMetricsTests
{
    [Fact]
    public void The_gauges_show_each_purgatory_under_its_name_until_it_is_disposed()
    {
        using var metrics = new TimingMetrics();
        using var timer = new SystemTimer(new ManualTimeProvider(), new InlineExecutor());
        using var produce = new Purgatory<string>("Produce", timer, metrics);
        var fetch = new Purgatory<string>("Fetch", timer, metrics);
        produce.TryCompleteElseWatch(new ProbeOperation(10, () => false), "a", "b");
        fetch.TryCompleteElseWatch(new ProbeOperation(10, () => false), "a");
        fetch.TryCompleteElseWatch(new ProbeOperation(10, () => false), "a", "b");

        var values = Observe();
        Assert.Equal(2, values["PurgatorySize/Produce"]);
        Assert.Equal(3, values["PurgatorySize/Fetch"]);
        Assert.Equal(1, values["NumDelayedOperations/Produce"]);
        Assert.Equal(2, values["NumDelayedOperations/Fetch"]);

        fetch.Dispose();
        Assert.Equal(["NumDelayedOperations/Produce", "PurgatorySize/Produce"], Observe().Keys.Order());

        Dictionary<string, int> Observe()
        {
            var seen = new Dictionary<string, int>();
            using var listener = new MeterListener();
            listener.InstrumentPublished = (instrument, self) =>
            {
                if (metrics.Owns(instrument.Meter))
                    self.EnableMeasurementEvents(instrument);
            };
            listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) =>
            {
                Assert.Equal("delayedOperation", tags[0].Key);
                seen.Add($"{instrument.Name}/{tags[0].Value}", value);
            });
            listener.Start();
            listener.RecordObservableInstruments();
            return seen;
        }
    }
}
