using System.Globalization;
using KBroker.Compat.Harness;

namespace KBroker.Crash;

/// <summary>How the broker dies.</summary>
internal enum CrashMode
{
    /// <summary>kill -9 at random times and places, now and then a stop in good order.</summary>
    Random,

    /// <summary>Once at each named place.</summary>
    Points,

    /// <summary>A power cut: what was not flushed is gone, or some of it.</summary>
    Power,

    /// <summary>Transactional clients: at each of their named places, then kill -9 at random, and power cuts.</summary>
    Transactions,

    /// <summary>Clients that delay records and cancel them: at each of their named places, then kill -9 at random, and
    /// power cuts.</summary>
    Delays,
}

/// <summary>The command line.</summary>
internal sealed record CrashOptions
{
    public const string Help = """
        Kills a real broker again and again, and checks what its clients were promised.
          compat-tests/crash/run [OPTION]...
            --cycles N        deaths of the broker (default 100)
            --seconds N       ends after that time, or after the cycles
            --seed N          of everything that is chosen by chance (default: the clock); printed
            --mode MODE       random: kill -9 at any time, at named places, and stops in good order
                              points: at every named place once, as often as the cycles allow
                              power: power cuts: what was not flushed is gone, or some of it
                              transactions: transactional producers and pipelines, at every place of a commit, an
                              abort and what leads there, then at random, and power cuts
                              delays: delayed records and cancels, at every place of their way, then at random, and power cuts
              without it: each of the five in turn, ten cycles at a time
            --power           with --mode transactions or delays: power cuts from the first cycle on, and not in every other run
            --point NAME[@DETAIL][:N]  this place only (and pass)
            --kbroker PATH    the broker (default: artifacts/kbroker-crash/kbroker, the test build with named places;
                              another build can only be killed at random)
            --generation N    cycles until topics and clients are made anew (default 10)
            --property K=V    a property of the broker more; kbroker.flush.acks.all=false shows that power cuts are found
            --keep            keeps the data directory, also when nothing was found
            --quick           what ./test runs: every named place once, then some random kills and power cuts; with
                              --mode transactions or delays the same for these
        Exit code 0: nothing found; 1: a violation (the data directory is kept and named); 2: bad command line.
        """;

    public int Cycles { get; init; } = 100;

    public TimeSpan? Limit { get; init; }

    public int Seed { get; init; } = Environment.TickCount & 0x7fffffff;

    public CrashMode? Mode { get; init; }

    public string? Point { get; init; }

    public string Executable { get; init; } = DefaultExecutable;

    public int GenerationCycles { get; init; } = 10;

    public IReadOnlyList<string> Properties { get; init; } = [];

    public bool Keep { get; init; }

    public bool Quick { get; init; }

    public bool PowerCuts { get; init; }

    public bool HasCrashPoints => Executable == DefaultExecutable
        || Executable.Contains("kbroker-crash", StringComparison.Ordinal);

    private static string DefaultExecutable =>
        Path.Combine(CompatEnvironment.RepositoryRoot, "artifacts", "kbroker-crash", "kbroker");

    /// <summary>Reads the command line.</summary>
    /// <exception cref="FormatException">It is not understood.</exception>
    public static CrashOptions Parse(string[] args)
    {
        var options = new CrashOptions();
        for (var i = 0; i < args.Length; i++)
        {
            var name = args[i];
            options = name switch
            {
                "--cycles" => options with { Cycles = Number(Value(args, ref i)) },
                "--seconds" => options with
                {
                    Limit = TimeSpan.FromSeconds(Number(Value(args, ref i))),
                    Cycles = int.MaxValue,
                },
                "--seed" => options with { Seed = Number(Value(args, ref i)) },
                "--generation" => options with { GenerationCycles = Math.Max(1, Number(Value(args, ref i))) },
                "--kbroker" => options with { Executable = Path.GetFullPath(Value(args, ref i)) },
                "--point" => options with { Point = Value(args, ref i), Mode = CrashMode.Points },
                "--property" => options with { Properties = [.. options.Properties, Value(args, ref i)] },
                "--keep" => options with { Keep = true },
                "--power" => options with { PowerCuts = true },
                "--quick" => options with { Quick = true },
                "--mode" => options with
                {
                    Mode = Enum.TryParse<CrashMode>(Value(args, ref i), ignoreCase: true, out var mode)
                        ? mode
                        : throw new FormatException($"--mode is random, points, power, transactions or delays, not {args[i]}"),
                },
                _ => throw new FormatException($"unknown option {name}"),
            };
        }

        if (options is { HasCrashPoints: false, Mode: CrashMode.Points or CrashMode.Power })
            throw new FormatException($"{options.Executable} knows no named places and no power cuts");
        return options;
    }

    private static string Value(string[] args, ref int i) =>
        ++i < args.Length ? args[i] : throw new FormatException($"{args[i - 1]} wants a value");

    private static int Number(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new FormatException($"'{text}' is not a number");
}
