using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using KBroker;
using KBroker.Delayed;

var root = new RootCommand("KBroker: a message broker that speaks the Apache Kafka protocol.")
{
    ServeCommand.Create(),
    ConfigsCommand.Create(),
    LogCommand.Create(),
    DelayedCommand.Create(),
};
var help = root.Options.OfType<HelpOption>().Single();
help.Action = new HelpWithDetails((SynchronousCommandLineAction)help.Action!);

var parsed = root.Parse(args);
if (parsed.Errors.Count > 0)
{
    foreach (var error in parsed.Errors)
    {
        await Console.Error.WriteLineAsync($"kbroker: {error.Message}").ConfigureAwait(false);
    }

    await Console.Error.WriteLineAsync("kbroker: --help shows what is possible").ConfigureAwait(false);
    return ExitCode.BadUsage;
}

// The host turns SIGTERM and SIGINT into a stop in good order; System.CommandLine must not act on them as well.
var invocation = new InvocationConfiguration { ProcessTerminationTimeout = null };
return await parsed.InvokeAsync(invocation).ConfigureAwait(false);
