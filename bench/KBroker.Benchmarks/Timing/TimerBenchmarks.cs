using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using KBroker.Timing;

namespace KBroker.Benchmarks.Timing;

/// <summary>
/// One million entries with delays up to an hour: the whole of <see cref="SystemTimer"/> (clock, lock, wheel) beside
/// a binary heap under a lock. Times are for one entry.
/// </summary>
[MemoryDiagnoser]
[GroupBenchmarksBy(BenchmarkLogicalGroupRule.ByCategory)]
[CategoriesColumn]
public class TimerBenchmarks
{
    private const int Entries = 1_000_000;
    private const int HourMs = 3_600_000;

    // Removing from the heap means searching it; a million times would take a quarter of an hour.
    private const int HeapCancels = 100;

    private readonly Lock _lock = new();
    private readonly Entry[] _tasks = new Entry[Entries];
    private readonly int[] _order = [.. Enumerable.Range(0, Entries)];
    private BenchmarkClock _clock = new();
    private SystemTimer _timer = null!;
    private PriorityQueue<Entry, long> _heap = new();

    [GlobalSetup]
    public void CreateEntries()
    {
        var random = new Random(4711);
        random.Shuffle(_order);
        for (var i = 0; i < Entries; i++)
            _tasks[i] = new Entry(random.Next(1, HourMs));
    }

    [IterationSetup(Targets = [nameof(Wheel_insert), nameof(Heap_insert)])]
    public void Empty()
    {
        _clock = new BenchmarkClock();
        _timer?.Dispose();
        _timer = new SystemTimer(_clock, new InlineExecutor());
        foreach (var task in _tasks)
            task.Timer = null;
        _heap = new PriorityQueue<Entry, long>();
    }

    [IterationSetup(Targets =
        [nameof(Wheel_cancel), nameof(Wheel_advance), nameof(Wheel_move), nameof(Heap_cancel), nameof(Heap_advance)])]
    public void Fill()
    {
        Empty();
        Wheel_insert();
        Heap_insert();
    }

    [Benchmark(OperationsPerInvoke = Entries)]
    [BenchmarkCategory("insert")]
    public void Wheel_insert()
    {
        foreach (var task in _tasks)
            _timer.Add(task);
    }

    [Benchmark(OperationsPerInvoke = Entries, Baseline = true)]
    [BenchmarkCategory("insert")]
    public void Heap_insert()
    {
        foreach (var task in _tasks)
        {
            lock (_lock)
                _heap.Enqueue(task, task.DelayMs);
        }
    }

    [Benchmark(OperationsPerInvoke = Entries)]
    [BenchmarkCategory("cancel")]
    public void Wheel_cancel()
    {
        foreach (var i in _order)
            _tasks[i].Cancel();
    }

    [Benchmark(OperationsPerInvoke = HeapCancels, Baseline = true)]
    [BenchmarkCategory("cancel")]
    public void Heap_cancel()
    {
        foreach (var i in _order.AsSpan(0, HeapCancels))
        {
            lock (_lock)
                _heap.Remove(_tasks[i], out _, out _);
        }
    }

    [Benchmark(OperationsPerInvoke = Entries)]
    [BenchmarkCategory("move")]
    public void Wheel_move()
    {
        foreach (var i in _order)
            _timer.Add(_tasks[i]);
    }

    [Benchmark(OperationsPerInvoke = Entries)]
    [BenchmarkCategory("advance")]
    public void Wheel_advance()
    {
        _clock.MoveTo(HourMs + 1);
        if (_timer.Count != 0)
            throw new InvalidOperationException("Not everything has expired.");
    }

    [Benchmark(OperationsPerInvoke = Entries, Baseline = true)]
    [BenchmarkCategory("advance")]
    public void Heap_advance()
    {
        while (true)
        {
            Entry? task;
            lock (_lock)
            {
                if (!_heap.TryDequeue(out task, out _))
                    return;
            }

            task.RunNow();
        }
    }

    private sealed class Entry(long delayMs) : TimerTask(delayMs)
    {
        private int _runs;

        public void RunNow() => Run();

        protected override void Run() => _runs++;
    }
}
