using System.Diagnostics;
using System.Globalization;

namespace KBroker.Crash;

/// <summary>All runs that a command line asks for, and its progress line.</summary>
internal sealed class CrashSession(CrashOptions options, TextWriter output)
{
    private const int CyclesPerTurn = 10;
    private const int QuickRandomCycles = 10;
    private const int QuickPowerCycles = 10;
    private const int QuickTransactionCycles = 4;
    private const int CyclesOfTransactions = 30;
    private static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(5);

    private readonly List<CrashPlace> _places =
        options.HasCrashPoints ? [.. CrashPlace.ReadAll().Where(static p => p.By != PassedBy.Transactions)] : [];

    private readonly List<CrashPlace> _transactionPlaces =
        options.HasCrashPoints ? [.. CrashPlace.ReadAll().Where(static p => p.By == PassedBy.Transactions)] : [];

    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly SortedDictionary<string, long> _counts = new(StringComparer.Ordinal);
    private long _reported;
    private int _cycles;
    private int _planned;
    private long _acked;
    private int _nextPlace;
    private int _nextTransactionPlace;

    /// <summary>Runs.</summary>
    /// <returns>Whether nothing was found.</returns>
    public bool Run()
    {
        output.WriteLine($"seed {options.Seed}, broker {options.Executable}");
        var good = options switch
        {
            { Quick: true, Mode: CrashMode.Transactions } => RunQuickTransactions(),
            { Quick: true } => RunQuick(),
            { Mode: CrashMode.Transactions } => RunTransactions(options.Cycles),
            { Mode: { } mode } => RunOne(mode, options.Cycles),
            _ => RunAll(),
        };
        Progress(violations: good ? 0 : 1, acked: _acked);
        output.WriteLine(string.Join(", ", _counts.Select(static c => $"{c.Key}: {c.Value}")));
        output.WriteLine(good ? "nothing found" : $"FAILED; again with --seed {options.Seed}");
        return good;
    }

    private bool RunQuick()
    {
        _planned = _places.Count + QuickRandomCycles + QuickPowerCycles;
        return RunOne(CrashMode.Points, _places.Count) && RunOne(CrashMode.Random, QuickRandomCycles)
            && RunOne(CrashMode.Power, QuickPowerCycles);
    }

    private bool RunQuickTransactions()
    {
        _planned = _transactionPlaces.Count + (2 * QuickTransactionCycles);
        return RunOne(CrashMode.Transactions, _transactionPlaces.Count + QuickTransactionCycles)
            && RunOne(CrashMode.Transactions, QuickTransactionCycles, withPowerCuts: true);
    }

    /// <summary>In turn with power and without, on fresh directories.</summary>
    private bool RunTransactions(int cycles)
    {
        _planned = cycles;
        var withPowerCuts = false;
        for (var left = cycles; left > 0 && !IsOver; left -= CyclesOfTransactions, withPowerCuts = !withPowerCuts)
        {
            if (!RunOne(
                CrashMode.Transactions,
                Math.Min(CyclesOfTransactions, left),
                (withPowerCuts || options.PowerCuts) && options.HasCrashPoints))
                return false;
        }

        return true;
    }

    private bool RunAll()
    {
        _planned = options.Cycles;
        CrashMode[] modes = options.HasCrashPoints
            ? [CrashMode.Random, CrashMode.Points, CrashMode.Power, CrashMode.Transactions]
            : [CrashMode.Random, CrashMode.Transactions];
        for (var (left, turn) = (options.Cycles, 0); left > 0 && !IsOver; turn++)
        {
            foreach (var mode in modes)
            {
                var cycles = Math.Min(CyclesPerTurn, left);
                // Some hundred cycles on the same data, then a fresh directory.
                if (!RunOne(mode, cycles, withPowerCuts: mode == CrashMode.Power
                    || (mode == CrashMode.Transactions && turn % 2 == 1 && options.HasCrashPoints)))
                    return false;
                left -= cycles;
            }
        }

        return true;
    }

    private bool IsOver => options.Limit is { } limit && Stopwatch.GetElapsedTime(_started) > limit;

    private bool RunOne(CrashMode mode, int cycles, bool withPowerCuts = false)
    {
        if (_planned == 0)
            _planned = cycles;
        withPowerCuts |= mode == CrashMode.Power;
        var seed = unchecked(options.Seed + (_cycles * 7919));
        var withTransactions = mode == CrashMode.Transactions
            || options.Point?.StartsWith("txn.", StringComparison.Ordinal) == true;
        using var run = new CrashRun(options, seed, withTransactions);
        var random = new Random(seed);
        if (withPowerCuts)
            run.BeginRecord();
        // A place may lie before the first topic.
        if (mode is CrashMode.Points or CrashMode.Transactions)
            run.Cycle(new CyclePlan(Death.Kill, 100, null, 0, null));
        var ackedBefore = _acked;
        for (var i = 0; i < cycles && run.IsGood && !IsOver; i++)
        {
            var plan = Plan(mode, random);
            if (mode == CrashMode.Transactions && withPowerCuts)
                plan = plan.WithPowerCut(random);
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
        CrashRun.Add(_counts, run.Counts);
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
                var wanted = colon < 0 ? name : name[..colon];
                var places = _places.Concat(_transactionPlaces)
                    .Where(p => p.ToString() == wanted || p.Name == wanted)
                    .ToList();
                var place = places[random.Next(places.Count)];
                var plan = CyclePlan.At(place, random);
                return colon < 0
                    ? plan
                    : plan with { Pass = int.Parse(name.AsSpan(colon + 1), CultureInfo.InvariantCulture) };
            case CrashMode.Transactions when _nextTransactionPlace < _transactionPlaces.Count:
                return CyclePlan.At(_transactionPlaces[_nextTransactionPlace++], random);
            case CrashMode.Transactions:
                return CyclePlan.OfTransactions(random, _transactionPlaces);
            default:
                return CyclePlan.At(_places[_nextPlace++ % _places.Count], random);
        }
    }

    private void Progress(int violations, long acked)
    {
        _reported = Stopwatch.GetTimestamp();
        var elapsed = Stopwatch.GetElapsedTime(_started);
        var left = options.Limit is { } limit
            ? limit - elapsed
            : elapsed * ((_planned - _cycles) / (double)Math.Max(1, _cycles));
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"cycle {_cycles} of {(options.Limit is null ? _planned : "?")}, {violations} violations, {acked} acknowledged, "
            + $"{_cycles / elapsed.TotalSeconds * 60:0} cycles a minute, {left:hh\\:mm\\:ss} to go"));
    }
}
