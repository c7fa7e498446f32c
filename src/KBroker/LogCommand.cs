using System.CommandLine;
using System.Globalization;
using KBroker.Storage;
using KBroker.Storage.Files;
using KBroker.Storage.Repair;

namespace KBroker;

/// <summary><c>kbroker log</c>: checks the logs of a stopped broker, and cuts one that is damaged.</summary>
internal static class LogCommand
{
    internal static Command Create() => new("log", "Checks and repairs the logs of a broker that does not run.")
    {
        CreateCheck(),
        CreateTruncate(),
    };

    private static Command CreateCheck()
    {
        var directory = DirectoryOption();
        var partition = new Option<string?>("--partition", "-p")
        {
            Description = "The partition, as TOPIC-NUMBER; without it, all of the directory.",
        };
        var command = new Command(
            "check", "Reads every record batch and its checksum. Changes nothing; exit code 1 when one is damaged.")
        {
            directory,
            partition,
        };
        command.SetAction(parsed => Guard(() => Check(
            parsed.GetValue(directory)!, parsed.GetValue(partition), parsed.InvocationConfiguration.Output)));
        return command;
    }

    private static Command CreateTruncate()
    {
        var directory = DirectoryOption();
        var partition = new Option<string>("--partition", "-p")
        {
            Description = "The partition, as TOPIC-NUMBER.",
            Required = true,
        };
        var command = new Command(
            "truncate", "Cuts a log where its damage begins. What lies behind is lost: try a backup first.")
        {
            directory,
            partition,
        };
        command.SetAction(parsed => Guard(() => Truncate(
            parsed.GetValue(directory)!, parsed.GetValue(partition)!, parsed.InvocationConfiguration.Output)));
        return command;
    }

    private static Option<string> DirectoryOption() => new("--dir", "-d")
    {
        Description = "The log directory: one of log.dirs.",
        Required = true,
    };

    private static int Check(string directory, string? partition, TextWriter output)
    {
        var check = new LogCheck(new PhysicalFileSystem(), Existing(directory));
        using var held = check.Lock();
        var damaged = 0;
        foreach (var one in partition is null ? check.Partitions() : [Parse(partition)])
        {
            var found = check.Check(one);
            damaged += found.Problem is null ? 0 : 1;
            output.WriteLine(Describe(found));
        }

        return damaged == 0 ? ExitCode.Done : ExitCode.Failed;
    }

    private static int Truncate(string directory, string partition, TextWriter output)
    {
        var check = new LogCheck(new PhysicalFileSystem(), Existing(directory));
        using var held = check.Lock();
        var found = check.Check(Parse(partition));
        output.WriteLine(Describe(found));
        if (found.Problem is not { } problem)
        {
            output.WriteLine("Nothing is cut.");
            return ExitCode.Done;
        }

        check.Truncate(found.Partition, problem);
        output.WriteLine($"Cut: the log ends before offset {problem.Offset} now; what was behind is lost.");
        return ExitCode.Done;
    }

    private static string Describe(LogCheckResult found) => found.Problem is { } problem
        ? $"{found.Partition}: damaged at offset {problem.Offset}: {problem.File}, position {problem.Position}: "
            + problem.Reason
        : string.Create(CultureInfo.InvariantCulture,
            $"{found.Partition}: good, {found.Segments} segments, {found.Batches} batches, {found.Bytes} bytes");

    private static string Existing(string directory) => Directory.Exists(directory)
        ? Path.GetFullPath(directory)
        : throw new DirectoryNotFoundException($"There is no directory {directory}.");

    private static TopicPartition Parse(string name) => TopicPartition.TryParse(name, out var partition)
        ? partition
        : throw new FormatException($"'{name}' is not a partition: TOPIC-NUMBER is.");

    private static int Guard(Func<int> run)
    {
        try
        {
            return run();
        }
        catch (Exception exception) when (
            exception is IOException or UnauthorizedAccessException or FormatException or LogDirectoryException)
        {
            Console.Error.WriteLine($"kbroker: {exception.Message}");
            return exception is LogDirectoryException ? ExitCode.CannotStart : ExitCode.BadUsage;
        }
    }
}
