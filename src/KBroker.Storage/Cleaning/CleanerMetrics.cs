using System.Diagnostics.Metrics;

namespace KBroker.Storage.Cleaning;

/// <summary>The instruments of compaction, with the names that Kafka's LogCleaner and LogCleanerManager have.</summary>
internal sealed class CleanerMetrics
{
    private readonly Lock _lock = new();
    private readonly Counter<long> _read;
    private readonly Counter<long> _written;
    private CleaningStats? _last;
    private double _lastOverdueSecs;
    private double _dirtyPercent;

    public CleanerMetrics(Meter meter)
    {
        Gauge("max-clean-time-secs", "s", "Time of the last cleaning.", () => _last?.Elapsed.TotalSeconds ?? 0);
        Gauge("max-buffer-utilization-percent", "%", "How full the offset map of the last cleaning was.",
            () => 100 * (_last?.MapUtilization ?? 0));
        Gauge("cleaner-recopy-percent", "%", "Bytes that the last cleaning wrote, of those it read.",
            () => _last is { BytesRead: > 0 } last ? 100.0 * last.BytesWritten / last.BytesRead : 0);
        Gauge("max-compaction-delay-secs", "s", "How long records have waited beyond max.compaction.lag.ms.",
            () => _lastOverdueSecs);
        Gauge("max-dirty-percent", "%", "The share of dirty bytes in the dirtiest log.", () => _dirtyPercent);
        Gauge("time-since-last-run-ms", "ms", "Time since a cleaner thread last looked for work.",
            () => TimeSinceLastRunMs());
        meter.CreateObservableGauge("log.cleaner.uncleanable-partitions-count", () => Uncleanable(false),
            "{partition}", "Logs that are left alone because cleaning them failed, by log directory.");
        meter.CreateObservableGauge("log.cleaner.uncleanable-bytes", () => Uncleanable(true),
            "By", "Bytes of those logs that would be cleaned.");
        meter.CreateObservableGauge("log.cleaner.dead-thread-count", () => DeadThreads(),
            "{thread}", "Cleaner threads that ended by an error.");
        _read = meter.CreateCounter<long>("log.cleaner.bytes.in", "By", "Bytes that cleanings read.");
        _written = meter.CreateCounter<long>("log.cleaner.bytes.out", "By", "Bytes that cleanings wrote.");

        void Gauge(string name, string unit, string description, Func<double> value) =>
            meter.CreateObservableGauge("log.cleaner." + name, Locked(value), unit, description);
    }

    /// <summary>Time since the last run, ms; set by the cleaner.</summary>
    public Func<double> TimeSinceLastRunMs { get; set; } = static () => 0;

    /// <summary>Directory, number and bytes of the logs that are left alone; set by the cleaner.</summary>
    public Func<IEnumerable<(string Directory, int Count, long Bytes)>> UncleanableLogs { get; set; } =
        static () => [];

    /// <summary>Number of threads that ended by an error; set by the cleaner.</summary>
    public Func<int> DeadThreads { get; set; } = static () => 0;

    /// <summary>Notes the end of a cleaning.</summary>
    public void Cleaned(CleaningStats stats)
    {
        lock (_lock)
            _last = stats;
        _read.Add(stats.MapBytesRead + stats.BytesRead);
        _written.Add(stats.BytesWritten);
    }

    /// <summary>Notes what a look at all logs found.</summary>
    public void Looked(double dirtyRatio, long overdueMs)
    {
        lock (_lock)
        {
            _dirtyPercent = 100 * dirtyRatio;
            _lastOverdueSecs = overdueMs / 1000.0;
        }
    }

    private Func<double> Locked(Func<double> value) => () =>
    {
        lock (_lock)
            return value();
    };

    private IEnumerable<Measurement<long>> Uncleanable(bool inBytes) => UncleanableLogs().Select(
        u => new Measurement<long>(inBytes ? u.Bytes : u.Count, new KeyValuePair<string, object?>(
            "directory", u.Directory)));
}
