using FsCheck;
using FsCheck.Fluent;

namespace KBroker.Timing.Tests;

/// <summary>Random histories of the timer beside a model that is a dictionary of expirations.</summary>
public sealed class SystemTimerModelTests
{
    private const int Tasks = 12;

    private enum Kind
    {
        Add,
        Cancel,
        Advance,
        Jump,
    }

    [Theory]
    [InlineData(20)]
    [InlineData(3)]
    [InlineData(2)]
    public void Every_history_expires_each_task_exactly_on_its_tick(int slots)
    {
        var histories = Arb.From(Gen.ArrayOf(Steps()), Shrink);
        Prop.ForAll(histories, history => Run(history, slots))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(400).WithStartSize(5).WithEndSize(200));
    }

    private static Gen<Step> Steps()
    {
        var boundary = from level in Gen.Choose(1, 8)
                       from offset in Gen.Choose(-2, 2)
                       select (long)Math.Pow(20, level) + offset;
        var ms = Gen.Frequency(
            (4, Gen.Choose(0, 25).Select(value => (long)value)),
            (4, Gen.Choose(0, 500).Select(value => (long)value)),
            (2, Gen.Choose(0, 10_000).Select(value => (long)value)),
            (1, Gen.Choose(0, 100_000_000).Select(value => (long)value)),
            (2, boundary));
        var delay = Gen.Frequency((30, ms), (1, Gen.Constant(-1L)), (1, Gen.Constant(long.MaxValue)));
        var id = Gen.Choose(0, Tasks - 1);
        return Gen.Frequency(
            (6, from task in id from wait in delay select new Step(Kind.Add, task, wait)),
            (2, from task in id select new Step(Kind.Cancel, task, 0)),
            (4, from wait in ms select new Step(Kind.Advance, 0, wait)),
            (1, from wait in ms select new Step(Kind.Jump, 0, wait)));
    }

    // First without whole stretches, then without single steps.
    private static IEnumerable<Step[]> Shrink(Step[] history)
    {
        for (var size = history.Length / 2; size >= 1; size /= 2)
        {
            for (var at = 0; at + size <= history.Length; at += size)
                yield return [.. history[..at], .. history[(at + size)..]];
        }
    }

    private static void Run(Step[] history, int slots)
    {
        var time = new ManualTimeProvider();
        using var timer = new SystemTimer(time, new InlineExecutor(), null, slots);
        var model = new Dictionary<int, double>();
        var tasks = new ProbeTask[Tasks];
        var runs = new List<(int Id, double AtMs)>();
        for (var i = 0; i < Tasks; i++)
        {
            var id = i;
            tasks[i] = new ProbeTask(0, _ => runs.Add((id, time.NowMs)));
        }

        foreach (var step in history)
        {
            runs.Clear();
            var leaping = step.Kind == Kind.Jump;
            var last = double.MinValue;
            Apply(step);
            foreach (var (id, atMs) in runs)
            {
                Assert.True(model.Remove(id, out var expected), $"{id} ran at {atMs} though it does not wait");
                Assert.Equal(leaping ? time.NowMs : expected, atMs);
                Assert.True(expected >= last, "not in the order of expirations");
                last = expected;
            }

            Assert.DoesNotContain(model, entry => entry.Value <= time.NowMs);
            Assert.Equal(model.Count, timer.Count);
            for (var i = 0; i < Tasks; i++)
                Assert.Equal(model.ContainsKey(i), tasks[i].IsScheduled);
        }

        void Apply(Step step)
        {
            switch (step.Kind)
            {
                case Kind.Add:
                    model[step.Id] = time.NowMs + Math.Max(step.Ms, 0);
                    tasks[step.Id].DelayMs = step.Ms;
                    timer.Add(tasks[step.Id]);
                    break;
                case Kind.Cancel:
                    Assert.Equal(model.Remove(step.Id), tasks[step.Id].Cancel());
                    break;
                case Kind.Advance:
                    time.AdvanceMs(step.Ms);
                    break;
                default:
                    time.JumpMs(step.Ms);
                    break;
            }
        }
    }

    private readonly record struct Step(Kind Kind, int Id, long Ms);
}
