using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Engines;
using KBroker.Delivery.Delay;
using KBroker.Storage.Files;

namespace KBroker.Benchmarks.Delivery;

/// <summary>
/// Adding records to a partition's schedule and taking them out when they are due, for one entry: all in memory
/// (10,000), and most of them in files (300,000). The budget near zero bytes an entry: the heap's array, and pages.
/// </summary>
[MemoryDiagnoser]
[SimpleJob(RunStrategy.Monitoring, launchCount: 1, warmupCount: 2, iterationCount: 8, invocationCount: 1)]
public class ScheduleBenchmarks
{
    private const int NearCount = 10_000;
    private const int FarCount = 300_000;
    private readonly List<PendingRecord> _taken = [];
    private PendingRecord[] _records = [];
    private string _folder = "";

    /// <summary>Whether the due times rise with the offsets, as with levels.</summary>
    [Params(true, false)]
    public bool InOrder { get; set; }

    [IterationSetup]
    public void Setup()
    {
        _folder = Directory.CreateTempSubdirectory("kbroker-bench-").FullName;
        var random = new Random(1);
        _records = [.. Enumerable.Range(0, FarCount).Select(i =>
            new PendingRecord(InOrder ? i : random.Next(FarCount), i, i))];
    }

    [IterationCleanup]
    public void Cleanup() => Directory.Delete(_folder, recursive: true);

    [Benchmark(OperationsPerInvoke = NearCount)]
    public long In_memory() => AddAndTake(NearCount);

    [Benchmark(OperationsPerInvoke = FarCount)]
    public long Most_in_files() => AddAndTake(FarCount);

    private long AddAndTake(int count)
    {
        var schedule = new PendingSchedule(new PhysicalFileSystem(), () => _folder, 16_384, 8_192);
        schedule.BeginLoading([]);
        schedule.FinishLoading();
        foreach (ref readonly var record in _records.AsSpan(0, count))
            schedule.Add(record, isNew: true);
        var sum = 0L;
        do
        {
            _taken.Clear();
            schedule.TakeDue(long.MaxValue, 1000, _taken);
            sum += _taken.Count;
        }
        while (_taken.Count > 0);
        return sum == count ? sum : throw new InvalidOperationException($"{sum} of {count} were taken");
    }
}
