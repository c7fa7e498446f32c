using System.Globalization;
using KBroker.Crash.PowerCut;

namespace KBroker.Crash;

/// <summary>How a broker ends.</summary>
internal enum Death
{
    /// <summary>kill -9 after some time under load.</summary>
    Kill,

    /// <summary>kill -9 some time after the start, ready or not.</summary>
    KillStarting,

    /// <summary>At a named place.</summary>
    AtPlace,

    /// <summary>SIGTERM.</summary>
    Stop,
}

/// <summary>What one cycle does, chosen before it begins.</summary>
/// <param name="Death">How the broker ends.</param>
/// <param name="AfterMs">How long it has worked by then.</param>
/// <param name="Place">Where it dies, or null.</param>
/// <param name="Pass">At which pass there.</param>
/// <param name="Fate">What becomes of the unflushed; null when the power stays on.</param>
internal sealed record CyclePlan(Death Death, int AfterMs, CrashPlace? Place, int Pass, UnflushedFate? Fate)
{
    private const int MostMs = 500;
    private const int MostMsOfTransactions = 900;

    /// <summary>The value of <c>KBROKER_CRASH_AT</c>.</summary>
    public string? CrashAt =>
        Place is null ? null : string.Create(CultureInfo.InvariantCulture, $"{Place}:{Pass}");

    public override string ToString() =>
        (Death == Death.AtPlace ? $"at {CrashAt}" : $"{Death} after {AfterMs} ms")
        + (Fate is null ? "" : $", power cut ({Fate})");

    /// <summary>Dies at a place.</summary>
    public static CyclePlan At(CrashPlace place, Random random, UnflushedFate? fate = null) =>
        new(Death.AtPlace, 0, place, place.IsFrequent ? random.Next(1, 12) : 1, fate);

    /// <summary>Dies at any time, sometimes at a place.</summary>
    public static CyclePlan AtRandom(Random random, IReadOnlyList<CrashPlace> places) => random.Next(100) switch
    {
        < 62 => new(Death.Kill, random.Next(20, MostMs), null, 0, null),
        < 72 => new(Death.KillStarting, random.Next(20, MostMs), null, 0, null),
        < 82 => new(Death.Stop, random.Next(20, MostMs), null, 0, null),
        _ when places.Count > 0 => At(places[random.Next(places.Count)], random),
        _ => new(Death.Kill, random.Next(20, MostMs), null, 0, null),
    };

    /// <summary>The power fails, most of the time; else the process dies and what it had not flushed is carried on.</summary>
    public static CyclePlan WithPowerCut(Random random, IReadOnlyList<CrashPlace> places) =>
        AtRandom(random, places).WithPowerCut(random);

    /// <summary>Dies in the middle of transactions, or of delayed records, at a place or anywhere.</summary>
    public static CyclePlan OfTransactions(Random random, IReadOnlyList<CrashPlace> places) => random.Next(100) switch
    {
        < 50 => new(Death.Kill, random.Next(20, MostMsOfTransactions), null, 0, null),
        < 60 => new(Death.KillStarting, random.Next(50, MostMsOfTransactions), null, 0, null),
        < 67 => new(Death.Stop, random.Next(20, MostMsOfTransactions), null, 0, null),
        _ when places.Count > 0 => At(places[random.Next(places.Count)], random),
        _ => new(Death.Kill, random.Next(20, MostMsOfTransactions), null, 0, null),
    };

    /// <summary>The same end, with the power failing, most of the time.</summary>
    public CyclePlan WithPowerCut(Random random) =>
        random.Next(100) < 75 ? this with { Fate = AnyFate(random) } : this;

    private static UnflushedFate AnyFate(Random random) => random.Next(100) switch
    {
        < 35 => UnflushedFate.Lost,
        < 80 => UnflushedFate.Mixed,
        < 90 => UnflushedFate.NamesOnly,
        _ => UnflushedFate.Kept,
    };
}
