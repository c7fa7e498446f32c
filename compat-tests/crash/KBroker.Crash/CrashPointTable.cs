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
}

/// <summary>A place at which the test build of the broker can die.</summary>
/// <param name="Name">As in <c>KBROKER_CRASH_AT</c>.</param>
/// <param name="By">How to get there.</param>
internal sealed record CrashPlace(string Name, PassedBy By)
{
    /// <summary>The table of all places: src/KBroker.Storage/Crashing/README.md.</summary>
    public static List<CrashPlace> ReadAll()
    {
        var file = Path.Combine(
            CompatEnvironment.RepositoryRoot, "src", "KBroker.Storage", "Crashing", "README.md");
        return [.. Regex.Matches(File.ReadAllText(file), @"^\| `([a-z.-]+)` \| ([a-z ]+) \|", RegexOptions.Multiline)
            .Select(row => new CrashPlace(row.Groups[1].Value, row.Groups[2].Value switch
            {
                "load" => PassedBy.Load,
                "start" => PassedBy.Start,
                "start after a stop" => PassedBy.StartAfterStop,
                "stop" => PassedBy.Stop,
                "move" => PassedBy.Move,
                var other => throw new InvalidDataException($"{file}: '{other}' is no part of a broker's life"),
            }))];
    }

    /// <summary>Whether the load passes it many times a second, so that any of the passes will do.</summary>
    public bool IsFrequent => Name.Split('.')[0] is "append" or "flush" or "replace" or "roll" or "retention" or "segment";
}
