using System.Buffers;
using System.Diagnostics.Metrics;
using KBroker.Protocol.Records;
using KBroker.Storage.Cleaning;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>Instruments and switch of compaction; and segments that grew too far.</summary>
public sealed class CleanerOperationTests
{
    [Fact]
    public void The_instruments_tell_what_a_cleaning_did()
    {
        using var meters = new Meters();
        using var storage = new TestStorage(CleaningSample.Compacted, meters: meters);
        for (var i = 0; i < 40; i++)
            storage.Put(($"k{i % 4}", new string('v', 50)));
        storage.Log.RollSegment();
        Assert.True(storage.Manager.Cleaner.CleanNext(CancellationToken.None));
        var stats = storage.Manager.Cleaner.LastStats!;
        Assert.True(stats is { RecordsRead: 40, RecordsKept: 4, BytesWritten: > 0 });
        var seen = meters.Read();
        Assert.Equal(stats.MapBytesRead + stats.BytesRead, seen["log.cleaner.bytes.in"]);
        Assert.Equal(stats.BytesWritten, seen["log.cleaner.bytes.out"]);
        Assert.Equal(100.0 * stats.BytesWritten / stats.BytesRead, seen["log.cleaner.cleaner-recopy-percent"], 6);
        Assert.Equal(100 * stats.MapUtilization, seen["log.cleaner.max-buffer-utilization-percent"], 6);
        Assert.Equal(100, seen["log.cleaner.max-dirty-percent"], 6);
        Assert.Equal(0, seen.GetValueOrDefault("log.cleaner.uncleanable-partitions-count"));
        Assert.Equal(0, seen["log.cleaner.dead-thread-count"]);

        Assert.False(storage.Manager.Cleaner.CleanNext(CancellationToken.None));
        Assert.Equal(0, meters.Read()["log.cleaner.max-dirty-percent"], 6);
    }

    [Fact]
    public void The_instruments_count_logs_that_cannot_be_cleaned()
    {
        using var meters = new Meters();
        using var storage = new TestStorage(CleaningSample.Compacted, meters: meters);
        for (var i = 0; i < 4; i++)
            storage.Put(("k", $"{i}"));
        storage.Log.RollSegment();
        var file = Directory.GetFiles(storage.LogPath, "*.log").Order().First();
        var bytes = File.ReadAllBytes(file);
        bytes[^1] ^= 1;
        File.WriteAllBytes(file, bytes);
        Assert.True(storage.Manager.Cleaner.CleanNext(CancellationToken.None));
        var seen = meters.Read();
        Assert.Equal(1, seen["log.cleaner.uncleanable-partitions-count"]);
        Assert.Equal(bytes.Length, seen["log.cleaner.uncleanable-bytes"]);
        Assert.Equal(0, seen.GetValueOrDefault("log.cleaner.bytes.out"));
    }

    [Fact]
    public void Disabled_it_has_no_threads_whatever_is_reconfigured()
    {
        Assert.Equal((0, 0, false), Threads(enabled: false));
        Assert.Equal((1, 3, true), Threads(enabled: true));
    }

    [Fact]
    public void Offsets_too_far_apart_for_one_segment_make_two()
    {
        const long far = 3_000_000_000;
        using var storage = new TestStorage(CleaningSample.Compacted);
        var group = new[] { storage.Log.State.Segments.Active };
        using var cleaned = new CleanedSegments(
            storage.Log, group, storage.Config, 4096, new CleaningThrottle(TimeProvider.System, double.MaxValue));
        foreach (var offset in new[] { 0, 10, far, far + 10 })
            cleaned.Add(BatchAt(offset), CancellationToken.None);
        cleaned.Complete(CancellationToken.None);

        Assert.Equal([0, far], cleaned.Segments.Select(static s => s.BaseOffset));
        Assert.Equal(cleaned.BytesWritten, cleaned.Segments.Sum(static s => s.SizeInBytes));
        foreach (var (segment, offset) in new[] { (0, 0L), (0, 10), (1, far), (1, far + 10) })
        {
            var size = cleaned.Segments[segment].SizeInBytes;
            Assert.True(cleaned.Segments[segment].TryFindBatch(offset, size, out _, out var header));
            Assert.Equal(offset, header.BaseOffset);
        }

        cleaned.Discard();
        Assert.Empty(storage.FileNames(SegmentPaths.Cleaned));
    }

    private static byte[] BatchAt(long offset)
    {
        var batch = CleaningSample.Batch(RecordBatchOptions.Default, 1_700_000_000_000, ($"k{offset}", "v"));
        RecordBatchEditor.AssignOffsets(new ReadOnlySequence<byte>(batch), offset, 0);
        return batch;
    }

    /// <summary>The threads after the start and after a reconfiguration that asks for three and the opposite.</summary>
    private static (int Started, int Reconfigured, bool IsEnabled) Threads(bool enabled)
    {
        var folder = Directory.CreateTempSubdirectory("kbroker-cleaner-").FullName;
        try
        {
            using var manager = LogManager.Open(new LogManagerOptions
            {
                LogDirectories = [folder],
                NodeId = 1,
                Cleaner = new CleanerSettings { Enabled = enabled },
            });
            manager.LoadLogs(static (_, _) => null);
            manager.Cleaner.Start();
            var started = manager.Cleaner.ThreadCount;
            manager.Cleaner.Reconfigure(new CleanerSettings { Enabled = !enabled, Threads = 3 });
            return (started, manager.Cleaner.ThreadCount, manager.Cleaner.Settings.Enabled);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private sealed class Meters : IMeterFactory
    {
        private readonly Dictionary<string, double> _sums = [];
        private readonly MeterListener _listener = new();
        private readonly List<Meter> _meters = [];

        public Meters()
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (_meters.Contains(instrument.Meter))
                    listener.EnableMeasurementEvents(instrument);
            };
            _listener.SetMeasurementEventCallback<long>((instrument, value, _, _) => Add(instrument, value));
            _listener.SetMeasurementEventCallback<int>((instrument, value, _, _) => Add(instrument, value));
            _listener.SetMeasurementEventCallback<double>((instrument, value, _, _) => Add(instrument, value));
            _listener.Start();
        }

        public Meter Create(MeterOptions options)
        {
            var meter = new Meter(options);
            _meters.Add(meter);
            return meter;
        }

        /// <summary>The sums of counters, and what gauges say now, over all tags.</summary>
        public Dictionary<string, double> Read()
        {
            lock (_sums)
            {
                foreach (var name in _sums.Keys.Where(static n => !n.Contains(".bytes.", StringComparison.Ordinal)))
                    _sums[name] = 0;
            }

            _listener.RecordObservableInstruments();
            lock (_sums)
                return new Dictionary<string, double>(_sums);
        }

        public void Dispose() => _listener.Dispose();

        private void Add(Instrument instrument, double value)
        {
            lock (_sums)
                _sums[instrument.Name] = _sums.GetValueOrDefault(instrument.Name) + value;
        }
    }
}
