using System.Diagnostics.Metrics;
using KBroker.Storage.Cleaning;

namespace KBroker.Storage;

/// <summary>The instruments of storage: meter <c>KBroker.Storage</c>, names after Kafka's metrics.</summary>
public sealed class StorageMetrics : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "KBroker.Storage";

    private readonly Meter _meter;
    private readonly Histogram<double> _flushTime;
    private readonly Counter<long> _bytesIn;
    private readonly Counter<long> _recordsIn;
    private readonly Counter<long> _rolls;
    private int _offlineDirectories;

    /// <summary>Creates the instruments.</summary>
    /// <param name="factory">Makes the meter; null for one without a container.</param>
    public StorageMetrics(IMeterFactory? factory = null)
    {
        _meter = factory?.Create(new MeterOptions(MeterName)) ?? new Meter(MeterName);
        _flushTime = _meter.CreateHistogram<double>(
            "log.flush.time", "ms", "Time of one flush of a log to stable storage; its count is the flush rate.");
        _bytesIn = _meter.CreateCounter<long>("log.bytes.in", "By", "Bytes appended to logs.");
        _recordsIn = _meter.CreateCounter<long>("log.messages.in", "{record}", "Records appended to logs.");
        _rolls = _meter.CreateCounter<long>("log.segment.rolls", "{segment}", "Segments rolled.");
        _meter.CreateObservableGauge(
            "log.offline.directory.count",
            () => Volatile.Read(ref _offlineDirectories),
            "{directory}",
            "Log directories that failed.");
        Cleaner = new CleanerMetrics(_meter);
    }

    /// <summary>Those of compaction.</summary>
    internal CleanerMetrics Cleaner { get; }

    /// <summary>Ends the instruments.</summary>
    public void Dispose() => _meter.Dispose();

    internal void Appended(int bytes, int records)
    {
        _bytesIn.Add(bytes);
        _recordsIn.Add(records);
    }

    internal void Flushed(TimeSpan elapsed) => _flushTime.Record(elapsed.TotalMilliseconds);

    internal void Rolled() => _rolls.Add(1);

    internal void DirectoryFailed() => Interlocked.Increment(ref _offlineDirectories);
}
