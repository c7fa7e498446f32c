using System.CommandLine;
using System.Globalization;
using KBroker.Admin;

namespace KBroker.Delayed;

/// <summary><c>kbroker delayed</c>: shows the delayed records that are pending, and cancels some.</summary>
internal static class DelayedCommand
{
    private const int LimitByDefault = 100;
    private const int OffsetsMax = 1000;

    private const string ListDetails = """
        A line for each pending record, soonest first: the offset that its producer was told (and where it is stored,
        if it was carried forward before its segment was deleted), when it is due, and how long that is from now.
        Then a line for each topic: how many are pending, and when the next is due. Records of a transaction are
        pending from its commit on. How late deliveries are is in the metrics (delay.lateness).

        Exit codes: 0 done, 1 a broker cannot be reached or refuses, 2 bad command line.
        """;

    private const string CancelDetails = """
        Looks whether the records are pending, writes a record with the header kbroker-cancel for each that is, and
        says what became of it. The order in the log decides between a cancel and the delivery: a record that falls
        due in between is delivered.

        Exit codes: 0 all are cancelled, 1 one was not (not pending, or delivered first), or a broker cannot be
        reached or refuses, 2 bad command line.
        """;

    internal static Command Create() => new(
        "delayed", "Shows delayed records that are pending on a running KBroker, and cancels them.")
    {
        CreateList(),
        CreateCancel(),
    };

    private static DetailedCommand CreateList()
    {
        var servers = ServersOption();
        var topics = new Option<string[]>("--topic", "-t")
        {
            Description = "A topic; may be given several times. Without it, all topics that delay records.",
            HelpName = "TOPIC",
            DefaultValueFactory = _ => [],
        };
        var partition = new Option<int?>("--partition", "-p")
        {
            Description = "Only this partition of the topic.",
            HelpName = "NUMBER",
        };
        var limit = new Option<int>("--limit", "-n")
        {
            Description = "Records of each topic that are listed, at most; 0 for the numbers alone.",
            HelpName = "COUNT",
            DefaultValueFactory = _ => LimitByDefault,
        };
        var json = new Option<bool>("--json") { Description = "Writes JSON, with instants in UTC." };
        NotNegative(limit);
        NotNegative(partition);
        var command = new DetailedCommand("list", "Lists delayed records that are pending.", ListDetails)
        {
            servers,
            topics,
            partition,
            limit,
            json,
        };
        command.Validators.Add(result =>
        {
            if (result.GetResult(partition) is not null && result.GetValue(topics) is not { Length: 1 })
                result.AddError("--partition needs one --topic.");
        });
        command.SetAction((parsed, cancellation) => RunAsync(parsed.GetValue(servers)!, async cluster =>
        {
            var list = new DelayedList(cluster)
            {
                Topics = [.. (parsed.GetValue(topics) ?? []).Distinct(StringComparer.Ordinal)],
                Partition = parsed.GetValue(partition),
                Limit = parsed.GetValue(limit),
            };
            var output = parsed.InvocationConfiguration.Output;
            await list.WriteAsync(
                parsed.GetValue(json) ? new DelayedJson(output) : new DelayedTable(output, TimeProvider.System),
                cancellation).ConfigureAwait(false);
            return ExitCode.Done;
        }));
        return command;
    }

    private static DetailedCommand CreateCancel()
    {
        var servers = ServersOption();
        var topic = new Option<string>("--topic", "-t")
        {
            Description = "The topic.",
            HelpName = "TOPIC",
            Required = true,
        };
        var partition = new Option<int>("--partition", "-p")
        {
            Description = "The partition.",
            HelpName = "NUMBER",
            Required = true,
        };
        var offsets = new Option<long[]>("--offset", "-o")
        {
            Description = "Offsets that producers were told, one or more.",
            HelpName = "OFFSET",
            Required = true,
            AllowMultipleArgumentsPerToken = true,
        };
        NotNegative(partition);
        NotNegative(offsets);
        offsets.Validators.Add(result =>
        {
            if (result.Tokens.Count > OffsetsMax)
                result.AddError($"--offset takes 1 to {OffsetsMax} offsets, not {result.Tokens.Count}.");
        });
        var command = new DetailedCommand("cancel", "Cancels delayed records that are pending.", CancelDetails)
        {
            servers,
            topic,
            partition,
            offsets,
        };
        command.SetAction((parsed, cancellation) => RunAsync(parsed.GetValue(servers)!, cluster =>
        {
            var cancel = new DelayedCancel(cluster, parsed.InvocationConfiguration.Output, TimeProvider.System);
            return cancel.RunAsync(
                parsed.GetValue(topic)!,
                parsed.GetValue(partition),
                [.. parsed.GetValue(offsets)!.Distinct().Order()],
                cancellation);
        }));
        return command;
    }

    private static Option<string> ServersOption()
    {
        var servers = new Option<string>("--bootstrap-server", "-b")
        {
            Description = "A broker of the cluster, or several with commas between them.",
            HelpName = "HOST:PORT",
            Required = true,
        };
        servers.Validators.Add(result =>
        {
            foreach (var server in result.Tokens.SelectMany(static token => token.Value.Split(',')))
            {
                if (!AdminCluster.TryParse(server, out _, out _))
                    result.AddError($"--bootstrap-server takes HOST:PORT, not '{server}'.");
            }
        });
        return servers;
    }

    private static void NotNegative<T>(Option<T> option) => option.Validators.Add(result =>
    {
        foreach (var token in result.Tokens)
        {
            if (long.TryParse(token.Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
                && number < 0)
                result.AddError($"{option.Name} is {number}, but must not be negative.");
        }
    });

    private static async Task<int> RunAsync(string servers, Func<AdminCluster, Task<int>> run)
    {
        using var cluster = new AdminCluster(servers.Split(','));
        try
        {
            return await run(cluster).ConfigureAwait(false);
        }
        catch (AdminException failure)
        {
            await Console.Error.WriteLineAsync($"kbroker: {failure.Message}").ConfigureAwait(false);
            return ExitCode.Failed;
        }
    }
}
