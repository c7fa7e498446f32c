using System.Text.RegularExpressions;

namespace KBroker.Compat.Interchange.Tests;

/// <summary>
/// Reads the log of an Apache Kafka that started on files of KBroker's: does it complain about them? What it says of
/// the network and of slow events is not about files, and a busy machine brings that.
/// </summary>
internal static partial class KafkaLog
{
    /// <summary>Warnings that are nobody's fault.</summary>
    private static readonly string[] Harmless =
    [
        // After a kill the checkpoint of the high watermarks, some seconds old, may lie below records deleted since.
        "Non-monotonic update of high watermark",
        // What it says of each partition that is added to a topic.
        "to exist, but it was missing. Creating...",
    ];

    /// <summary>
    /// The warnings and errors of everything that reads files, and whatever says that something was damaged or had to
    /// be made anew.
    /// </summary>
    public static List<string> Complaints(string log) =>
    [
        .. log.Split('\n').Where(line => (Damage().IsMatch(line) || (Warning().IsMatch(line) && Reader().IsMatch(line)))
            && !Harmless.Any(h => line.Contains(h, StringComparison.Ordinal))),
    ];

    /// <summary>The errors alone.</summary>
    public static List<string> Errors(string log) =>
        Complaints(log).FindAll(line => !line.Contains("] WARN ", StringComparison.Ordinal));

    /// <summary>
    /// Whether the log directories were opened as cleanly closed ones, nothing read or rebuilt. The metadata log is
    /// always read.
    /// </summary>
    public static bool SkippedRecovery(string log, int directories) =>
        SkippingRecovery().Count(log) == directories && !Recovering().IsMatch(log);

    [GeneratedRegex(@"\] (WARN|ERROR|FATAL) ")]
    private static partial Regex Warning();

    [GeneratedRegex("orrupt|sanity check|Rebuilding producer|Found an orphaned")]
    private static partial Regex Damage();

    /// <summary>The class that speaks stands at the end of a line, in brackets.</summary>
    [GeneratedRegex(
        @"\((org\.apache\.kafka\.(storage|image|metadata|snapshot|raft\.internals|server\.fault|coordinator"
        + @"|controller\.\w+ControlManager)|kafka\.(log|cluster|coordinator|server\.metadata|server\.ReplicaManager)"
        + @"|state\.change\.logger)")]
    private static partial Regex Reader();

    [GeneratedRegex("partition=(?!__cluster_metadata).*Recovering unflushed")]
    private static partial Regex Recovering();

    [GeneratedRegex("Skipping recovery of [0-9]+ logs from .* since clean shutdown file was found")]
    private static partial Regex SkippingRecovery();
}
