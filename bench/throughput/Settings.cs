using System.Globalization;

namespace KBroker.Throughput;

/// <summary>What the command line asks for. Every value has a default that suits a small machine.</summary>
internal sealed record Settings
{
    internal const string Help = """
        bench/throughput/run [MODE] [OPTION VALUE]...

        Modes
          throughput   produce and fetch of the same data on every target, in turns (the default)
          partitions   produce and fetch over 1, 100, 1,000, 5,000 partitions (Kafka: up to 1,000)
          startup      process start to the first acknowledged produce, and idle memory
          open         many partitions: create, stop, start after a clean stop and after SIGKILL, descriptors, memory
          recovery     MB/s of a start after SIGKILL beside a plain read and the CRC-32C of the same bytes
          acks         acks=1, acks=all with and without the flush, raw write+fdatasync, for several loads
          replay       seconds until the coordinator serves its groups again, beside a plain read of its log
          commits      offset commits per second of 1, 16 and 128 committers
          transactions small and large transactions, idempotent beside plain produce
          delays       delayed records: memory, delivery, lateness, cost where there are none, fetch, start
          crossover    from which size on a fetch answer is cheaper by sendfile than copied
          sendfile     which system calls carry the bytes of a fetch (needs strace)
          groups       10,000 members of groups: heartbeats, memory; rebalance of 100 members
          hold         starts the first target, prints port and pid, stops at end of input: for other tools

        Options
          --targets kbroker,kafka,raw     what is measured; Kafka is left out where there is none
          --drivers direct,librdkafka     direct speaks the protocol itself with batches built beforehand
          --record-bytes 100,1000         sizes of a record's value
          --acks 1                        0, 1 or all
          --megabytes 1000                volume of one measurement (direct, raw), MB of batches
          --librdkafka-megabytes 200      volume of one measurement of librdkafka, MB of values
          --batch-kilobytes 64            size of a batch that the direct driver sends
          --connections 2                 connections of the direct driver, each with a partition of its own
          --in-flight 8                   produce requests under way on a connection
          --fetch-kilobytes 4096          most bytes of one fetch
          --partitions 1,100,1000,5000    how many (partitions; open: 1000,2500,5000,10000; recovery: 1,4)
          --answers 20000                 answers of a connection of 16 KB, fewer of larger ones (crossover)
          --sizes 2,4,8,...,256           KB of an answer (crossover)
          --linger-kilobytes 256          what all partitions of a connection get in one linger (partitions)
          --records 1000000               committed offsets in the log (replay), pending records (delays)
          --seconds 3                     time of one measurement (commits, acks, transactions)
          --load TEXT                     only the loads whose name has this in it (acks; for partitions 'linger';
                                          transactions; for groups 'heartbeats' or 'rebalance'; for delays
                                          memory, due, lateness, opted-in, fetch, start)
          --members 10000                 members in groups of ten (groups)
          --rounds 3                      rounds; the table holds medians
          --kafka-home DIR                Apache Kafka (else KAFKA_HOME, else ../shared/peers/kafka)
          --kbroker FILE                  the broker (else KBROKER_EXE, else artifacts/kbroker/kbroker)
          --override key=value            a broker property, for both brokers; may be given several times
          --directory DIR                 where the temporary data goes (else the system's temporary folder)
        """;

    internal string Mode { get; init; } = "throughput";
    internal string[] Targets { get; init; } = ["kbroker", "kafka", "raw"];
    internal string[] Drivers { get; init; } = ["direct", "librdkafka"];
    internal int[] RecordBytes { get; init; } = [100, 1000];
    internal short Acks { get; init; } = 1;
    internal long Bytes { get; init; } = 1_000_000_000;
    internal long LibrdkafkaBytes { get; init; } = 200_000_000;
    internal int BatchBytes { get; init; } = 64 * 1024;
    internal int Connections { get; init; } = 2;
    internal int InFlight { get; init; } = 8;
    internal int FetchBytes { get; init; } = 4096 * 1024;
    internal int Answers { get; init; } = 20_000;
    internal int[] Kilobytes { get; init; } = [2, 4, 8, 16, 32, 64, 96, 128, 192, 256];
    internal int LingerBytes { get; init; } = 256 * 1024;
    internal int Records { get; init; } = 1_000_000;
    internal int Seconds { get; init; } = 3;
    internal string Load { get; init; } = "";
    internal int Rounds { get; init; } = 3;
    internal int Members { get; init; } = 10_000;
    internal int[] Partitions { get; init; } = [];
    internal bool PartitionsGiven { get; init; }
    internal string? KafkaHome { get; init; }
    internal string KBroker { get; init; } = "";
    internal string[] Overrides { get; init; } = [];
    internal string Directory { get; init; } = Path.GetTempPath();

    /// <summary>The brokers among the targets that there are on this machine.</summary>
    internal IEnumerable<string> Brokers() =>
        Targets.Where(target => target == "kbroker" || (target == "kafka" && KafkaHome is not null));

    /// <exception cref="FormatException">An unknown option, or one with a bad value.</exception>
    internal static Settings Parse(string[] arguments)
    {
        var settings = new Settings();
        int next = 0;
        if (arguments.Length > 0 && !arguments[0].StartsWith('-'))
            settings = settings with { Mode = arguments[next++] };
        for (; next < arguments.Length; next += 2)
        {
            if (next + 1 == arguments.Length) throw new FormatException($"{arguments[next]} has no value");
            settings = settings.With(arguments[next], arguments[next + 1]);
        }

        string root = RepositoryRoot();
        return settings with
        {
            PartitionsGiven = settings.Partitions.Length > 0,
            Partitions = settings.Partitions is { Length: > 0 } given ? given
                : settings.Mode == "open" ? [1000, 2500, 5000, 10_000] : [1, 100, 1000, 5000],
            KBroker = FirstOf(settings.KBroker, "KBROKER_EXE", Path.Combine(root, "artifacts", "kbroker", "kbroker")),
            KafkaHome = Existing(
                FirstOf(settings.KafkaHome, "KAFKA_HOME", Path.Combine(root, "..", "shared", "peers", "kafka"))),
        };
    }

    private Settings With(string option, string value) => option switch
    {
        "--targets" => this with { Targets = value.Split(',') },
        "--drivers" => this with { Drivers = value.Split(',') },
        "--record-bytes" => this with { RecordBytes = [.. value.Split(',').Select(Number)] },
        "--acks" => this with { Acks = value == "all" ? (short)-1 : (short)Number(value) },
        "--megabytes" => this with { Bytes = Number(value) * 1_000_000L },
        "--librdkafka-megabytes" => this with { LibrdkafkaBytes = Number(value) * 1_000_000L },
        "--batch-kilobytes" => this with { BatchBytes = Number(value) * 1024 },
        "--connections" => this with { Connections = Number(value) },
        "--in-flight" => this with { InFlight = Number(value) },
        "--fetch-kilobytes" => this with { FetchBytes = Number(value) * 1024 },
        "--partitions" => this with { Partitions = [.. value.Split(',').Select(Number)] },
        "--sizes" => this with { Kilobytes = [.. value.Split(',').Select(Number)] },
        "--answers" => this with { Answers = Number(value) },
        "--linger-kilobytes" => this with { LingerBytes = Number(value) * 1024 },
        "--load" => this with { Load = value },
        "--records" => this with { Records = Number(value) },
        "--seconds" => this with { Seconds = Number(value) },
        "--members" => this with { Members = Number(value) },
        "--rounds" => this with { Rounds = Number(value) },
        "--kafka-home" => this with { KafkaHome = value },
        "--kbroker" => this with { KBroker = value },
        "--override" => this with { Overrides = [.. Overrides, value] },
        "--directory" => this with { Directory = value },
        _ => throw new FormatException($"unknown option {option}"),
    };

    private static int Number(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value)
            ? value
            : throw new FormatException($"'{text}' is not a number");

    private static string FirstOf(string? given, string variable, string fallback)
    {
        if (!string.IsNullOrEmpty(given)) return given;
        string? named = Environment.GetEnvironmentVariable(variable);
        return string.IsNullOrEmpty(named) ? fallback : named;
    }

    private static string? Existing(string home) =>
        File.Exists(Path.Combine(home, "bin", "kafka-server-start.sh")) ? Path.GetFullPath(home) : null;

    private static string RepositoryRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "KBroker.sln"))) return folder.FullName;
        }

        throw new InvalidOperationException($"KBroker.sln is in no parent of {AppContext.BaseDirectory}");
    }
}
