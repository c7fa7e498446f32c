using System.Diagnostics;
using System.Globalization;

namespace KBroker.Crash;

/// <summary>All runs that a command line asks for, and its progress line.</summary>
internal sealed class CrashSession(CrashOptions options, TextWriter output)
{
    private const int CyclesPerTurn = 10;
    private const int QuickRandomCycles = 10;
    private const int QuickPowerCycles = 10;
    private const int QuickClientCycles = 4;
    private const int CyclesOfClients = 30;
    private static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(5);

    private readonly List<CrashPlace> _places = [.. Places(options)
        .Where(static p => p.By is not (PassedBy.Transactions or PassedBy.Delays))];

    private readonly List<CrashPlace> _transactionPlaces =
        [.. Places(options).Where(static p => p.By == PassedBy.Transactions)];

    private readonly List<CrashPlace> _delayPlaces = [.. CrashPlace.OfDelays(Places(options))];

    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly SortedDictionary<string, long> _counts = new(StringComparer.Ordinal);
    private long _reported;
    private int _cycles;
    private int _planned;
    private long _acked;
    private int _nextPlace;
    private int _nextTransactionPlace;
    private int _nextDelayPlace;

    /// <summary>Runs.</summary>
    /// <returns>Whether nothing was found.</returns>
    public bool Run()
    {
        output.WriteLine($"seed {options.Seed}, broker {options.Executable}");
        var good = options switch
        {
            { Quick: true, Mode: CrashMode.Transactions } =>
                RunQuickClients(CrashMode.Transactions, _transactionPlaces.Count),
            { Quick: true, Mode: CrashMode.Delays } => RunQuickClients(CrashMode.Delays, _delayPlaces.Count),
            { Quick: true } => RunQuick(),
            { Mode: CrashMode.Transactions or CrashMode.Delays } => RunClients(options.Mode.Value, options.Cycles),
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

    /// <summary>Every place of these clients once, then some random kills, then some power cuts.</summary>
    private bool RunQuickClients(CrashMode mode, int places)
    {
        _planned = places + (2 * QuickClientCycles);
        return RunOne(mode, places + QuickClientCycles) && RunOne(mode, QuickClientCycles, withPowerCuts: true);
    }

    /// <summary>In turn with power and without, on fresh directories.</summary>
    private bool RunClients(CrashMode mode, int cycles)
    {
        _planned = cycles;
        var withPowerCuts = false;
        for (var left = cycles; left > 0 && !IsOver; left -= CyclesOfClients, withPowerCuts = !withPowerCuts)
        {
            if (!RunOne(
                mode,
                Math.Min(CyclesOfClients, left),
                (withPowerCuts || options.PowerCuts) && options.HasCrashPoints))
                return false;
        }

        return true;
    }

    private bool RunAll()
    {
        _planned = options.Cycles;
        CrashMode[] modes = options.HasCrashPoints
            ? [CrashMode.Random, CrashMode.Points, CrashMode.Power, CrashMode.Transactions, CrashMode.Delays]
            : [CrashMode.Random, CrashMode.Transactions, CrashMode.Delays];
        for (var (left, turn) = (options.Cycles, 0); left > 0 && !IsOver; turn++)
        {
            foreach (var mode in modes)
            {
                var cycles = Math.Min(CyclesPerTurn, left);
                // Some hundred cycles on the same data, then a fresh directory.
                if (!RunOne(mode, cycles, withPowerCuts: mode == CrashMode.Power
                    || (HasOwnClients(mode) && turn % 2 == 1 && options.HasCrashPoints)))
                    return false;
                left -= cycles;
            }
        }

        return true;
    }

    private static List<CrashPlace> Places(CrashOptions options) => options.HasCrashPoints ? CrashPlace.ReadAll() : [];

    private static bool HasOwnClients(CrashMode mode) => mode is CrashMode.Transactions or CrashMode.Delays;

    private bool IsOver => options.Limit is { } limit && Stopwatch.GetElapsedTime(_started) > limit;

    private bool RunOne(CrashMode mode, int cycles, bool withPowerCuts = false)
    {
        if (_planned == 0)
            _planned = cycles;
        withPowerCuts |= mode == CrashMode.Power;
        var seed = unchecked(options.Seed + (_cycles * 7919));
        using var run = new CrashRun(options, seed, LoadOf(mode));
        var random = new Random(seed);
        if (withPowerCuts)
            run.BeginRecord();
        // A place may lie before the first topic.
        if (mode == CrashMode.Points || HasOwnClients(mode))
            run.Cycle(new CyclePlan(Death.Kill, 100, null, 0, null));
        var ackedBefore = _acked;
        for (var i = 0; i < cycles && run.IsGood && !IsOver; i++)
        {
            var plan = Plan(mode, random, withPowerCuts);
            if (HasOwnClients(mode) && withPowerCuts)
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

    private LoadKind LoadOf(CrashMode mode) => mode switch
    {
        CrashMode.Transactions => LoadKind.Transactions,
        CrashMode.Delays => LoadKind.Delays,
        _ when options.Point?.StartsWith("txn.", StringComparison.Ordinal) == true => LoadKind.Transactions,
        _ when options.Point?.StartsWith("delays.", StringComparison.Ordinal) == true
            || options.Point?.Contains("@kbroker-delay", StringComparison.Ordinal) == true => LoadKind.Delays,
        _ => LoadKind.Records,
    };

    private CyclePlan Plan(CrashMode mode, Random random, bool withPowerCuts)
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
                var places = _places.Concat(_transactionPlaces).Concat(_delayPlaces)
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
            case CrashMode.Delays when _nextDelayPlace < _delayPlaces.Count:
                return CyclePlan.At(_delayPlaces[_nextDelayPlace++], random);
            case CrashMode.Delays:
                return CyclePlan.OfTransactions(
                    random, [.. _delayPlaces, .. _places.Where(p => p.IsOfDelayedRecords(withPowerCuts))]);
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
