using System.CommandLine;
using System.CommandLine.Invocation;

namespace KBroker;

/// <summary>The usual help, and below it for <c>serve</c> what its properties and exit codes are.</summary>
internal sealed class HelpWithDetails(SynchronousCommandLineAction usual) : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        var code = usual.Invoke(parseResult);
        if (parseResult.CommandResult.Command.Name == ServeCommand.Name)
        {
            parseResult.InvocationConfiguration.Output.WriteLine(ServeCommand.Details);
        }

        return code;
    }
}
