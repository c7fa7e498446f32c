using System.Globalization;
using KBroker.Storage;

namespace KBroker.Cluster.Configuration;

/// <summary>Reads <c>kbroker.delay.levels</c>, which is written as RocketMQ's messageDelayLevel.</summary>
public static class DelayLevels
{
    private const int CountMax = 1000;

    private static readonly Dictionary<char, long> Units = new()
    {
        ['s'] = 1000,
        ['m'] = 60_000,
        ['h'] = 3_600_000,
        ['d'] = 86_400_000,
    };

    // Almost every topic has these, and they are parsed for each.
    private static readonly string DefaultText = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

    /// <summary>Reads a list that was checked before.</summary>
    /// <param name="text">Numbers with a unit, separated by blanks or commas.</param>
    /// <returns>The time of each level, ms; the default list where the text cannot be read.</returns>
    public static IReadOnlyList<long> Parse(string text) =>
        text == DefaultText || TryParse(text, out var levels) is not null ? LogConfig.DefaultDelayLevelsMs : levels;

    /// <summary>Reads and checks a list.</summary>
    /// <param name="text">The list.</param>
    /// <param name="levels">The time of each level, ms.</param>
    /// <returns>What is wrong; null when nothing is.</returns>
    public static string? TryParse(string text, out IReadOnlyList<long> levels)
    {
        ArgumentNullException.ThrowIfNull(text);
        var found = new List<long>();
        levels = found;
        foreach (var word in text.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries))
        {
            if (!Units.TryGetValue(char.ToLowerInvariant(word[^1]), out var unit)
                || !int.TryParse(word.AsSpan(0, word.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture,
                    out var number)
                || number == 0)
            {
                return $"'{word}' is not a number with the unit s, m, h or d, such as 30s";
            }

            if (found.Count > 0 && number * unit <= found[^1])
                return $"'{word}' is not longer than the level before it";
            found.Add(number * unit);
        }

        return found.Count switch
        {
            0 => "there must be one level at least",
            > CountMax => $"there are {found.Count} levels, but at most {CountMax} are possible",
            _ => null,
        };
    }
}
