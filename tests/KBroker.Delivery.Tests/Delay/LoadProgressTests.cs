using KBroker.Delivery.Delay;
using KBroker.Storage;
using KBroker.Storage.Tests;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.Tests.Delay;

public sealed class LoadProgressTests
{
    [Fact]
    public void A_long_start_tells_every_five_seconds_how_far_it_is()
    {
        var clock = new ManualClock(1_700_000_000_000);
        var lines = new Lines();
        var progress = new LoadProgress(clock, lines, new TopicPartition("later", 0), endOffset: 1000);
        clock.Advance(4_999);
        progress.Report(10);
        Assert.Empty(lines.All);
        clock.Advance(1);
        progress.Report(20);
        progress.Report(30);
        Assert.Equal(["Looking for delayed records of later-0: at offset 20 of 1000."], lines.All);
        clock.Advance(5_000);
        progress.ReportCounted(65_536);
        Assert.Equal(2, lines.All.Count);
        Assert.Contains("65536 so far", lines.All[1]);
    }

    private sealed class Lines : ILogger
    {
        public List<string> All { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter) => All.Add(formatter(state, exception));
    }
}
