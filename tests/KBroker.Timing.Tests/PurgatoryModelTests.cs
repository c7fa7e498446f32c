using FsCheck;
using FsCheck.Fluent;

namespace KBroker.Timing.Tests;

/// <summary>
/// Random histories of a purgatory beside a model: an operation waits until the counters of its keys add up to
/// enough (a fetch that waits for bytes of its partitions) and one of its keys is signalled.
/// </summary>
public sealed class PurgatoryModelTests
{
    private const int Keys = 5;

    private enum Kind
    {
        Start,
        Append,
        AppendSilently,
        Signal,
        Advance,
        Force,
        CancelKey,
    }

    [Fact]
    public void Every_history_completes_the_operations_that_the_model_completes_at_the_same_step() =>
        Prop.ForAll(Arb.From(Gen.ArrayOf(Steps())), Run)
            .Check(Config.QuickThrowOnFailure.WithMaxTest(500).WithStartSize(5).WithEndSize(150));

    private static Gen<Step> Steps() =>
        from kind in Gen.Frequency(
            (6, Gen.Constant(Kind.Start)),
            (6, Gen.Constant(Kind.Append)),
            (1, Gen.Constant(Kind.AppendSilently)),
            (1, Gen.Constant(Kind.Signal)),
            (3, Gen.Constant(Kind.Advance)),
            (1, Gen.Constant(Kind.Force)),
            (1, Gen.Constant(Kind.CancelKey)))
        from key in Gen.Choose(0, Keys - 1)
        from keys in Gen.Choose(0, (1 << Keys) - 1)
        from amount in Gen.Choose(0, 12)
        from ms in Gen.Choose(0, 40)
        select new Step(kind, key, keys, amount, ms);

    private static void Run(Step[] history)
    {
        var time = new ManualTimeProvider();
        using var timer = new SystemTimer(time, new InlineExecutor());
        using var purgatory = new Purgatory<int>("Model", timer, null, shards: 2);
        var counters = new int[Keys];
        var waiting = new List<Waiter>();
        foreach (var step in history)
        {
            var before = waiting.ToArray();
            Apply(step);
            foreach (var waiter in before.Concat(waiting).Distinct())
            {
                Assert.Equal(!waiting.Contains(waiter) && !waiter.Cancelled, waiter.Operation.IsCompleted);
                Assert.Equal(waiter.Operation.IsCompleted ? 1 : 0, waiter.Operation.Completions);
                Assert.Equal(waiter.Expired, waiter.Operation.IsExpired);
                Assert.Equal(waiter.Expired ? 1 : 0, waiter.Operation.Expirations);
            }

            Assert.Equal(waiting.Count, purgatory.Delayed);
            Assert.Equal(waiting.Count, timer.Count);
            Assert.Equal(waiting.Sum(waiter => waiter.Keys.Length), purgatory.Watched);
        }

        void Apply(Step step)
        {
            switch (step.Kind)
            {
                case Kind.Start:
                    Start(step);
                    break;
                case Kind.Append:
                    counters[step.Key] += step.Amount;
                    Signal(step.Key);
                    break;
                case Kind.AppendSilently:
                    counters[step.Key] += step.Amount;
                    break;
                case Kind.Signal:
                    Signal(step.Key);
                    break;
                case Kind.Advance:
                    time.AdvanceMs(step.Ms);
                    foreach (var waiter in waiting.Where(waiter => waiter.ExpiresMs <= time.NowMs))
                        waiter.Expired = true;
                    waiting.RemoveAll(waiter => waiter.Expired);
                    break;
                case Kind.Force when waiting.Count > 0:
                    var forced = waiting[step.Amount % waiting.Count];
                    waiting.Remove(forced);
                    Assert.True(forced.Operation.ForceComplete());
                    break;
                case Kind.CancelKey:
                    var cancelled = waiting.Where(waiter => waiter.Keys.Contains(step.Key)).ToList();
                    cancelled.ForEach(waiter => waiter.Cancelled = waiting.Remove(waiter));
                    Assert.Equal(cancelled.Select(waiter => waiter.Operation), purgatory.CancelForKey(step.Key));
                    break;
            }
        }

        void Start(Step step)
        {
            var keys = Enumerable.Range(0, Keys).Where(key => (step.KeySet >> key & 1) != 0).ToArray();
            var enough = keys.Sum(key => counters[key]) + step.Amount;
            bool Holds() => keys.Sum(key => counters[key]) >= enough;
            var waiter = new Waiter(new ProbeOperation(step.Ms, Holds), keys, time.NowMs + step.Ms, Holds);
            var completes = Holds();
            if (!completes && step.Ms > 0)
                waiting.Add(waiter);
            Assert.Equal(completes, purgatory.TryCompleteElseWatch(waiter.Operation, keys));
            Assert.Equal(!completes && step.Ms == 0, waiter.Operation.IsExpired);
        }

        void Signal(int key)
        {
            var completing = waiting.Where(waiter => waiter.Keys.Contains(key) && waiter.Holds()).ToList();
            waiting.RemoveAll(completing.Contains);
            Assert.Equal(completing.Count, purgatory.CheckAndComplete(key));
        }
    }

    private readonly record struct Step(Kind Kind, int Key, int KeySet, int Amount, int Ms);

    private sealed class Waiter(ProbeOperation operation, int[] keys, double expiresMs, Func<bool> holds)
    {
        public ProbeOperation Operation { get; } = operation;

        public int[] Keys { get; } = keys;

        public double ExpiresMs { get; } = expiresMs;

        public Func<bool> Holds { get; } = holds;

        public bool Expired { get; set; }

        public bool Cancelled { get; set; }
    }
}
