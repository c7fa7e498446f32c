using System.Text.RegularExpressions;
using KBroker.Compat.Harness;

namespace KBroker.Crash;

/// <summary>Which part of a broker's life gets to a crash point.</summary>
internal enum PassedBy
{
    Load,
    Start,
    StartAfterStop,
    Stop,

    /// <summary>A move of a replica to another log directory, which the load does, too.</summary>
    Move,

    /// <summary>Transactional clients.</summary>
    Transactions,

    /// <summary>Clients that delay records.</summary>
    Delays,
}

/// <summary>A place at which the test build of the broker can die.</summary>
/// <param name="Name">As in <c>KBROKER_CRASH_AT</c>.</param>
/// <param name="By">How to get there.</param>
/// <param name="Detail">With which detail, or null.</param>
internal sealed record CrashPlace(string Name, PassedBy By, string? Detail = null)
{
    public override string ToString() => Detail is null ? Name : $"{Name}@{Detail}";

    /// <summary>The table of all places: src/KBroker.Storage/Crashing/README.md.</summary>
    public static List<CrashPlace> ReadAll()
    {
        var file = Path.Combine(
            CompatEnvironment.RepositoryRoot, "src", "KBroker.Storage", "Crashing", "README.md");
        var rows = Regex.Matches(
            File.ReadAllText(file), @"^\| `([a-z.-]+)` \| ([a-z ]+)(?:: ([a-z, ]+))? \|", RegexOptions.Multiline);
        return [.. rows.SelectMany(row =>
        {
            var by = row.Groups[2].Value switch
            {
                "load" => PassedBy.Load,
                "start" => PassedBy.Start,
                "start after a stop" => PassedBy.StartAfterStop,
                "stop" => PassedBy.Stop,
                "move" => PassedBy.Move,
                "transactions" => PassedBy.Transactions,
                "delays" => PassedBy.Delays,
                var other => throw new InvalidDataException($"{file}: '{other}' is no part of a broker's life"),
            };
            string?[] details = row.Groups[3].Success ? [.. row.Groups[3].Value.Split(", ")] : [null];
            return details.Select(detail => new CrashPlace(row.Groups[1].Value, by, detail));
        })];
    }

    /// <summary>The places of the delays: their own, and those of the replacement of their checkpoint.</summary>
    public static IEnumerable<CrashPlace> OfDelays(IReadOnlyList<CrashPlace> all) =>
    [
        .. all.Where(static p => p.By == PassedBy.Delays),
        .. all.Where(static p => p.Name.StartsWith("replace.", StringComparison.Ordinal))
            .Select(static p => new CrashPlace(p.Name, PassedBy.Delays, "kbroker-delay.checkpoint")),
    ];

    /// <summary>Whether a place of the storage is one through which what is delayed goes, too.</summary>
    /// <param name="withPowerCuts">Then there is no retention.</param>
    public bool IsOfDelayedRecords(bool withPowerCuts) => By == PassedBy.Load && Name.Split('.')[0] is var area
        && (area is "append" or "flush" or "roll" or "delete-records"
            || (area == "retention" && !withPowerCuts)
            || (area == "segment" && !Name.Contains("moved", StringComparison.Ordinal)));

    /// <summary>Whether the load passes it many times a second, so that any of the passes will do.</summary>
    public bool IsFrequent => By == PassedBy.Delays ? IsFrequentDelay
        : Name.Split('.')[0] is "append" or "flush" or "replace" or "roll" or "retention" or "segment"
        || (By == PassedBy.Transactions && Name is not ("txn.init-appended" or "txn.fence-appended"));

    private bool IsFrequentDelay => Name is "delays.requests-followed" or "delays.cancels-followed"
        or "delays.delivery-ready" or "delays.delivery-appended" or "delays.run-written" or "delays.carry-appended";
}
