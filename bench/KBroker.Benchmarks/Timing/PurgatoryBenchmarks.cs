using BenchmarkDotNet.Attributes;
using KBroker.Timing;

namespace KBroker.Benchmarks.Timing;

/// <summary>
/// What a wait costs: the operation is made, watched under its keys, put on the timer, and completed by a signal of
/// the last key, while a thousand others wait.
/// </summary>
[MemoryDiagnoser]
public class PurgatoryBenchmarks
{
    private SystemTimer _timer = null!;
    private Purgatory<int> _purgatory = null!;
    private int[] _keys = null!;

    [Params(1, 10)]
    public int Keys { get; set; }

    [GlobalSetup]
    public void Fill()
    {
        _timer = new SystemTimer(TimeProvider.System);
        _purgatory = new Purgatory<int>("Benchmark", _timer);
        _keys = [.. Enumerable.Range(0, Keys)];
        for (var i = 0; i < 1000; i++)
            _purgatory.TryCompleteElseWatch(new Wait(int.MaxValue), 1000 + i);
    }

    [GlobalCleanup]
    public void Stop() => _timer.Dispose();

    [Benchmark]
    public int Wait_then_signal()
    {
        var wait = new Wait(500);
        _purgatory.TryCompleteElseWatch(wait, _keys);
        wait.Open = true;
        return _purgatory.CheckAndComplete(Keys - 1);
    }

    [Benchmark]
    public int Signal_that_completes_nothing() => _purgatory.CheckAndComplete(1500);

    [Benchmark]
    public int Signal_that_nobody_watches() => _purgatory.CheckAndComplete(-1);

    private sealed class Wait(long delayMs) : DelayedOperation(delayMs)
    {
        public bool Open { get; set; }

        public override bool TryComplete() => Open && ForceComplete();

        protected override void OnComplete()
        {
        }
    }
}
