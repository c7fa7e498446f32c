using System.CommandLine;
using System.CommandLine.Invocation;

namespace KBroker;

/// <summary>The usual help, and below it what a command has to say beside its options.</summary>
internal sealed class HelpWithDetails(SynchronousCommandLineAction usual) : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        var code = usual.Invoke(parseResult);
        if (parseResult.CommandResult.Command is DetailedCommand detailed)
        {
            parseResult.InvocationConfiguration.Output.WriteLine(detailed.Details);
        }

        return code;
    }
}
