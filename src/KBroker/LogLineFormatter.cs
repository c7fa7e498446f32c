using System.Globalization;
using System.Text;
using Serilog.Events;
using Serilog.Formatting;

namespace KBroker;

/// <summary>
/// Writes an event as one line: <c>2030-01-31 12:00:00.123 INF Net: message</c>. Line breaks and other control
/// characters that come in with a client's data are escaped, so that no client can forge a line. An exception follows
/// its message: its type and text, and at ERR and above where it was thrown.
/// </summary>
internal sealed class LogLineFormatter : ITextFormatter
{
    /// <inheritdoc/>
    public void Format(LogEvent logEvent, TextWriter output)
    {
        output.Write(logEvent.Timestamp.ToString("yyyy-MM-dd HH:mm:ss.fff ", CultureInfo.InvariantCulture));
        output.Write(Abbreviation(logEvent.Level));
        output.Write(' ');
        output.Write(Area(logEvent));
        output.Write(": ");
        Escape(Message(logEvent), output);
        if (logEvent.Exception is { } exception)
        {
            output.Write(" | ");
            Escape(logEvent.Level >= LogEventLevel.Error ? exception.ToString() : Chain(exception), output);
        }

        output.WriteLine();
    }

    private static string Abbreviation(LogEventLevel level) => level switch
    {
        LogEventLevel.Verbose => "VRB",
        LogEventLevel.Debug => "DBG",
        LogEventLevel.Information => "INF",
        LogEventLevel.Warning => "WRN",
        LogEventLevel.Error => "ERR",
        _ => "FTL",
    };

    /// <summary>The class that logs, without its namespace.</summary>
    private static string Area(LogEvent logEvent)
    {
        if (logEvent.Properties.GetValueOrDefault("SourceContext") is not ScalarValue { Value: string source })
        {
            return "Program";
        }

        return source[(source.LastIndexOf('.') + 1)..];
    }

    /// <summary>The message with its values filled in; texts stand there as they are, without quotes.</summary>
    private static string Message(LogEvent logEvent)
    {
        var writer = new StringWriter(new StringBuilder(), CultureInfo.InvariantCulture);
        foreach (var token in logEvent.MessageTemplate.Tokens)
        {
            if (token is Serilog.Parsing.PropertyToken property
                && logEvent.Properties.GetValueOrDefault(property.PropertyName) is ScalarValue { Value: string text })
            {
                writer.Write(text);
            }
            else
            {
                token.Render(logEvent.Properties, writer, CultureInfo.InvariantCulture);
            }
        }

        return writer.ToString();
    }

    private static string Chain(Exception exception)
    {
        var text = $"{exception.GetType().Name}: {exception.Message}";
        return exception.InnerException is { } inner ? $"{text} | {Chain(inner)}" : text;
    }

    private static void Escape(string text, TextWriter output)
    {
        if (!text.Any(BreaksLines))
        {
            output.Write(text);
            return;
        }

        foreach (var c in text)
        {
            switch (c)
            {
                case '\r': break;
                case '\n': output.Write(" | "); break;
                case var _ when BreaksLines(c):
                    output.Write("\\u");
                    output.Write(((int)c).ToString("x4", CultureInfo.InvariantCulture));
                    break;
                default: output.Write(c); break;
            }
        }
    }

    /// <summary>Controls, and the two separators of Unicode that some terminals take for line breaks.</summary>
    private static bool BreaksLines(char c) => char.IsControl(c) || c is '\u2028' or '\u2029';
}
