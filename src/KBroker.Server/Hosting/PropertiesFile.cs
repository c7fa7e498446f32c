using System.Globalization;
using System.Text;

namespace KBroker.Server.Hosting;

/// <summary>
/// Reads Java properties, the form of Kafka's server.properties: one <c>key=value</c>, <c>key: value</c> or
/// <c>key value</c> a line; <c>#</c> and <c>!</c> begin comments; a backslash at the end continues a line, its next
/// line's leading blanks dropped; <c>\t \n \r \f \uXXXX</c> are escapes, and before any other character a backslash
/// only takes away that character's meaning. The last of several lines for a key wins.
/// </summary>
public static class PropertiesFile
{
    /// <summary>Reads a file in UTF-8.</summary>
    /// <param name="path">The file.</param>
    /// <param name="warn">Gets one sentence for each key that the file sets more than once.</param>
    /// <exception cref="FormatException">A <c>\u</c> escape is malformed; the message names the line.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static Dictionary<string, string> Read(string path, Action<string>? warn = null) =>
        Parse(File.ReadAllText(path), warn is null ? null : text => warn($"{path}: {text}"));

    /// <summary>Parses the text of a file; see <see cref="Read"/>.</summary>
    public static Dictionary<string, string> Parse(string text, Action<string>? warn = null)
    {
        var properties = new Dictionary<string, string>(StringComparer.Ordinal);
        var reader = new StringReader(text);
        var number = 0;
        while (ReadLogicalLine(reader, ref number, out var first) is { } line)
        {
            var (key, value) = Split(line, first);
            if (properties.TryGetValue(key, out var earlier) && earlier != value)
            {
                warn?.Invoke($"line {first} sets {key} again; the earlier value is not used");
            }

            properties[key] = value;
        }

        return properties;
    }

    /// <summary>The next line that is not blank or a comment, its continuations joined; null at the end.</summary>
    private static string? ReadLogicalLine(StringReader reader, ref int number, out int first)
    {
        first = 0;
        StringBuilder? joined = null;
        while (reader.ReadLine() is { } raw)
        {
            number++;
            var line = raw.TrimStart(' ', '\t', '\f');
            if (joined is null && (line.Length == 0 || line[0] is '#' or '!'))
            {
                continue;
            }

            first = joined is null ? number : first;
            if (!EndsInContinuation(line))
            {
                return joined is null ? line : joined.Append(line).ToString();
            }

            joined = (joined ?? new StringBuilder()).Append(line, 0, line.Length - 1);
        }

        return joined?.ToString();
    }

    private static bool EndsInContinuation(string line)
    {
        var slashes = 0;
        for (var i = line.Length - 1; i >= 0 && line[i] == '\\'; i--)
        {
            slashes++;
        }

        return slashes % 2 == 1;
    }

    private static (string Key, string Value) Split(string line, int number)
    {
        var end = 0;
        while (end < line.Length && line[end] is not ('=' or ':' or ' ' or '\t' or '\f'))
        {
            end += line[end] == '\\' ? 2 : 1;
        }

        end = Math.Min(end, line.Length);
        var start = SkipBlanks(line, end);
        if (start < line.Length && line[start] is '=' or ':')
        {
            start = SkipBlanks(line, start + 1);
        }

        return (Unescape(line[..end], number), Unescape(line[start..], number));
    }

    private static int SkipBlanks(string line, int position)
    {
        while (position < line.Length && line[position] is ' ' or '\t' or '\f')
        {
            position++;
        }

        return position;
    }

    private static string Unescape(string text, int number)
    {
        if (!text.Contains('\\'))
        {
            return text;
        }

        var result = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\' || i + 1 == text.Length)
            {
                result.Append(text[i]);
                continue;
            }

            i++;
            if (text[i] == 'u')
            {
                result.Append(ParseUnicode(text, i + 1, number));
                i += 4;
            }
            else
            {
                result.Append(text[i] switch { 't' => '\t', 'n' => '\n', 'r' => '\r', 'f' => '\f', var c => c });
            }
        }

        return result.ToString();
    }

    private static char ParseUnicode(string text, int start, int number) =>
        start + 4 <= text.Length && ushort.TryParse(
            text.AsSpan(start, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var code)
            ? (char)code
            : throw new FormatException($"line {number}: \\u must be followed by four hexadecimal digits");
}
