using System.Diagnostics;
using System.Globalization;

namespace KBroker.Crash;

/// <summary>All runs that a command line asks for, and its progress line.</summary>
internal sealed class CrashSession(CrashOptions options, TextWriter output)
{
    private const int CyclesPerTurn = 10;
    private const int QuickRandomCycles = 10;
    private const int QuickPowerCycles = 10;
    private static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(5);

    private readonly List<CrashPlace> _places = options.HasCrashPoints ? CrashPlace.ReadAll() : [];
    private readonly long _started = Stopwatch.GetTimestamp();
    private long _reported;
    private int _cycles;
    private int _planned;
    private long _acked;
    private int _nextPlace;

    /// <summary>Runs.</summary>
    /// <returns>Whether nothing was found.</returns>
    public bool Run()
    {
        output.WriteLine($"seed {options.Seed}, broker {options.Executable}");
        var good = options.Quick ? RunQuick() : options.Mode is { } mode ? RunOne(mode, options.Cycles) : RunAll();
        Progress(violations: good ? 0 : 1, acked: _acked);
        output.WriteLine(good ? "nothing found" : $"FAILED; again with --seed {options.Seed}");
        return good;
    }

    private bool RunQuick()
    {
        _planned = _places.Count + QuickRandomCycles + QuickPowerCycles;
        return RunOne(CrashMode.Points, _places.Count) && RunOne(CrashMode.Random, QuickRandomCycles)
            && RunOne(CrashMode.Power, QuickPowerCycles);
    }

    private bool RunAll()
    {
        _planned = options.Cycles;
        CrashMode[] modes = options.HasCrashPoints
            ? [CrashMode.Random, CrashMode.Points, CrashMode.Power]
            : [CrashMode.Random];
        for (var (left, turn) = (options.Cycles, 0); left > 0; left -= CyclesPerTurn * modes.Length, turn++)
        {
            foreach (var mode in modes)
            {
                // Some hundred cycles on the same data, then a fresh directory.
                if (!RunOne(mode, Math.Min(CyclesPerTurn, left)))
                    return false;
            }
        }

        return true;
    }

    private bool RunOne(CrashMode mode, int cycles)
    {
        if (_planned == 0)
            _planned = cycles;
        var seed = unchecked(options.Seed + (_cycles * 7919));
        using var run = new CrashRun(options, seed);
        var random = new Random(seed);
        if (mode == CrashMode.Power)
            run.BeginRecord();
        // A place may lie before the first topic.
        if (mode == CrashMode.Points)
            run.Cycle(new CyclePlan(Death.Kill, 100, null, 0, null));
        var ackedBefore = _acked;
        for (var i = 0; i < cycles && run.IsGood; i++)
        {
            var plan = Plan(mode, random);
            run.Cycle(plan);
            _cycles++;
            _acked = ackedBefore + run.Acked;
            if (!run.IsGood)
                output.WriteLine($"cycle {_cycles} ({mode}, the {i + 1}. of its run): {plan}");
            else if (Stopwatch.GetElapsedTime(_reported == 0 ? _started : _reported) > ReportEvery)
                Progress(0, _acked);
        }

        run.Finish();
        _acked = ackedBefore + run.Acked;
        if (!run.IsGood)
            output.WriteLine(run.Report());
        return run.IsGood;
    }

    private CyclePlan Plan(CrashMode mode, Random random)
    {
        switch (mode)
        {
            case CrashMode.Random:
                return CyclePlan.AtRandom(random, [.. _places.Where(static p => p.By == PassedBy.Load)]);
            case CrashMode.Power:
                return CyclePlan.WithPowerCut(random, [.. _places.Where(static p => p.By == PassedBy.Load)]);
            case CrashMode.Points when options.Point is { } name:
                var colon = name.IndexOf(':', StringComparison.Ordinal);
                var place = _places.Single(p => p.Name == (colon < 0 ? name : name[..colon]));
                var plan = CyclePlan.At(place, random);
                return colon < 0
                    ? plan
                    : plan with { Pass = int.Parse(name.AsSpan(colon + 1), CultureInfo.InvariantCulture) };
            default:
                return CyclePlan.At(_places[_nextPlace++ % _places.Count], random);
        }
    }

    private void Progress(int violations, long acked)
    {
        _reported = Stopwatch.GetTimestamp();
        var elapsed = Stopwatch.GetElapsedTime(_started);
        var left = elapsed * ((_planned - _cycles) / (double)Math.Max(1, _cycles));
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"cycle {_cycles} of {_planned}, {violations} violations, {acked} records acknowledged, "
            + $"{_cycles / elapsed.TotalSeconds * 60:0} cycles a minute, {left:hh\\:mm\\:ss} to go"));
    }
}
