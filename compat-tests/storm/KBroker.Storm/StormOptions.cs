using System.Globalization;

namespace KBroker.Storm;

/// <summary>What a storm is like.</summary>
internal sealed record StormOptions
{
    public const string Help = """
        storm [--minutes N] [--seconds N] [--members N] [--partitions N] [--processes N] [--protocols LIST] [--seed N]
          --minutes, --seconds  how long each protocol is under storm (15 s)
          --protocols           of classic, cooperative, consumer, mixed; in turns, each with a group of its own
                                (cooperative,consumer)
          --seed                fixes every choice; one is chosen, and printed, when not given
        """;

    public int Members { get; init; } = 100;

    public int Partitions { get; init; } = 200;

    /// <summary>Worker processes; killing one takes all members in it.</summary>
    public int Processes { get; init; } = 10;

    public TimeSpan Storm { get; init; } = TimeSpan.FromSeconds(15);

    public IReadOnlyList<string> Protocols { get; init; } = ["cooperative", "consumer"];

    public int Seed { get; init; } = Random.Shared.Next(1, 1_000_000);

    /// <summary>The options of a command line.</summary>
    /// <exception cref="FormatException">It has others.</exception>
    public static StormOptions Parse(string[] args)
    {
        var options = new StormOptions();
        for (var i = 0; i < args.Length; i++)
        {
            var name = args[i];
            var value = ++i < args.Length ? args[i] : throw new FormatException($"{name} wants a value");
            options = name switch
            {
                "--minutes" => options with { Storm = TimeSpan.FromMinutes(Number()) },
                "--seconds" => options with { Storm = TimeSpan.FromSeconds(Number()) },
                "--members" => options with { Members = Number() },
                "--partitions" => options with { Partitions = Number() },
                "--processes" => options with { Processes = Number() },
                "--protocols" => options with { Protocols = value.Split(',') },
                "--seed" => options with { Seed = Number() },
                _ => throw new FormatException($"unknown option {name}"),
            };

            int Number() => int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                ? number
                : throw new FormatException($"{name} wants a number, not {value}");
        }

        return options.Protocols.All(static p => p is "classic" or "cooperative" or "consumer" or "mixed")
            ? options
            : throw new FormatException($"unknown protocol in {string.Join(',', options.Protocols)}");
    }
}
