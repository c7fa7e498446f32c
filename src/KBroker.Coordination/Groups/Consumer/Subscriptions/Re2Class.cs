using System.Globalization;
using System.Text;

namespace KBroker.Coordination.Groups.Consumer.Subscriptions;

/// <summary>Translates a bracket expression of RE2, such as <c>[a-z[:digit:]\-]</c>.</summary>
/// <param name="text">The expression.</param>
/// <param name="start">Where the bracket opens.</param>
internal sealed class Re2Class(string text, int start)
{
    private static readonly Dictionary<string, string> Posix = new()
    {
        ["alnum"] = "0-9A-Za-z",
        ["alpha"] = "A-Za-z",
        ["ascii"] = @"\u0000-\u007F",
        ["blank"] = @"\t ",
        ["cntrl"] = @"\u0000-\u001F\u007F",
        ["digit"] = "0-9",
        ["graph"] = "!-~",
        ["lower"] = "a-z",
        ["print"] = " -~",
        ["punct"] = @"!-/:-@\[-`{-~",
        ["space"] = @"\t-\r ",
        ["upper"] = "A-Z",
        ["word"] = "0-9A-Za-z_",
        ["xdigit"] = "0-9A-Fa-f",
    };

    // Topic names are ASCII. Of the scripts, only these two have ASCII characters.
    private static readonly Dictionary<string, string> Scripts = new()
    {
        ["Latin"] = "A-Za-z",
        ["Common"] = @"\u0000-@\[-`{-\u007F",
        ["Any"] = @"\u0000-\uFFFF",
    };

    private static readonly HashSet<string> OtherScripts =
    [
        "Arabic", "Armenian", "Bengali", "Cyrillic", "Devanagari", "Ethiopic", "Georgian", "Greek", "Han", "Hangul",
        "Hebrew", "Hiragana", "Inherited", "Katakana", "Khmer", "Lao", "Mongolian", "Tamil", "Thai", "Tibetan",
    ];

    private static readonly HashSet<string> Categories =
    [
        "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No",
        "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
    ];

    private int _at = start + 1;

    /// <summary>Translates it.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="end">Behind the closing bracket.</param>
    /// <exception cref="Re2Exception">RE2 does not accept it.</exception>
    public void Translate(StringBuilder output, out int end)
    {
        output.Append('[');
        if (_at < text.Length && text[_at] == '^')
        {
            _at++;
            output.Append('^');
        }

        for (var first = true; ; first = false)
        {
            if (_at >= text.Length)
                throw new Re2Exception("missing closing ]");
            if (text[_at] == ']' && !first)
                break;
            Item(output);
        }

        output.Append(']');
        end = _at + 1;
    }

    /// <summary>A class with a letter: <c>\d</c>, <c>\pL</c>, ...</summary>
    /// <param name="text">The expression.</param>
    /// <param name="at">At the backslash; behind the class when it is one.</param>
    /// <returns>Its members as they stand between brackets; null when it is none.</returns>
    /// <exception cref="Re2Exception">A Unicode class that does not exist.</exception>
    public static string? PerlOrUnicodeClass(string text, ref int at)
    {
        if (at + 1 >= text.Length)
            return null;
        var members = text[at + 1] switch
        {
            'd' => "0-9",
            'D' => @"\u0000-/:-\uFFFF",
            's' => @"\t\n\f\r ",
            'S' => @"\u0000-\u0008\u000B\u000E-\u001F!-\uFFFF",
            'w' => "0-9A-Za-z_",
            'W' => @"\u0000-/:-@\[-\^`{-\uFFFF",
            _ => null,
        };
        if (members is not null)
        {
            at += 2;
            return members;
        }

        return text[at + 1] is 'p' or 'P' ? UnicodeClass(text, ref at) : null;
    }

    /// <summary>An escape that stands for one character.</summary>
    /// <param name="text">The expression.</param>
    /// <param name="at">At the backslash; behind the escape afterwards.</param>
    /// <exception cref="Re2Exception">There is no such escape.</exception>
    public static int EscapedCharacter(string text, ref int at)
    {
        if (at + 1 >= text.Length)
            throw new Re2Exception("trailing backslash at end of expression");
        var escaped = text[at + 1];
        at += 2;
        switch (escaped)
        {
            case 'a': return 7;
            case 'f': return 12;
            case 'n': return 10;
            case 'r': return 13;
            case 't': return 9;
            case 'v': return 11;
            case 'x': return Hexadecimal(text, ref at);
            case >= '1' and <= '7' when at >= text.Length || text[at] is < '0' or > '7':
                // A back reference.
                throw new Re2Exception("invalid escape sequence");
            case >= '0' and <= '7':
                var value = escaped - '0';
                for (var i = 0; i < 2 && at < text.Length && text[at] is >= '0' and <= '7'; i++)
                    value = (value * 8) + text[at++] - '0';
                return value;
            default:
                if (escaped < 128 && !char.IsAsciiLetterOrDigit(escaped))
                    return escaped;
                throw new Re2Exception("invalid escape sequence");
        }
    }

    private static string UnicodeClass(string text, ref int at)
    {
        var negative = text[at + 1] == 'P';
        var from = at + 2;
        if (from >= text.Length)
            throw new Re2Exception("invalid character class range");
        string name;
        if (text[from] == '{')
        {
            var close = text.IndexOf('}', from);
            if (close < 0)
                throw new Re2Exception("invalid character class range");
            name = text[(from + 1)..close];
            at = close + 1;
        }
        else
        {
            name = text[from].ToString();
            at = from + 1;
        }

        if (name.StartsWith('^'))
        {
            negative = !negative;
            name = name[1..];
        }

        if (Categories.Contains(name))
            return (negative ? @"\P{" : @"\p{") + name + "}";
        if (Scripts.TryGetValue(name, out var members))
            return negative ? Complement(name) : members;
        if (OtherScripts.Contains(name))
            return negative ? @"\u0000-\uFFFF" : @"\uFFFF";
        throw new Re2Exception("invalid character class range");
    }

    private static string Complement(string script) => script switch
    {
        "Latin" => @"\u0000-@\[-`{-\uFFFF",
        "Common" => "A-Za-z\u0080-\uFFFF",
        _ => @"\uFFFF",
    };

    private static int Hexadecimal(string text, ref int at)
    {
        string digits;
        if (at < text.Length && text[at] == '{')
        {
            var close = text.IndexOf('}', at);
            digits = close < 0 ? "" : text[(at + 1)..close];
            at = close + 1;
        }
        else
        {
            digits = at + 2 <= text.Length ? text.Substring(at, 2) : "";
            at += 2;
        }

        if (digits.Length is 0 or > 6 || !digits.All(char.IsAsciiHexDigit))
            throw new Re2Exception("invalid escape sequence");
        var value = int.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        return value <= 0x10FFFF && value is < 0xD800 or > 0xDFFF
            ? value
            : throw new Re2Exception("invalid escape sequence");
    }

    private void Item(StringBuilder output)
    {
        if (string.CompareOrdinal(text, _at, "[:", 0, 2) == 0
            && text.IndexOf(":]", _at + 2, StringComparison.Ordinal) is >= 0 and var close)
        {
            PosixClass(output, text[(_at + 2)..close]);
            _at = close + 2;
            return;
        }

        if (text[_at] == '\\' && PerlOrUnicodeClass(text, ref _at) is { } members)
        {
            output.Append(members);
            return;
        }

        var low = Character();
        var high = low;
        if (_at + 1 < text.Length && text[_at] == '-' && text[_at + 1] != ']')
        {
            _at++;
            high = Character();
            if (high < low)
                throw new Re2Exception("invalid character class range");
        }

        // Beyond 16 bits there is nothing that a topic's name could have.
        low = Math.Min(low, char.MaxValue);
        output.Append(@"\u").Append(low.ToString("X4", CultureInfo.InvariantCulture));
        output.Append(@"-\u").Append(Math.Min(high, char.MaxValue).ToString("X4", CultureInfo.InvariantCulture));
    }

    private void PosixClass(StringBuilder output, string name)
    {
        var negative = name.StartsWith('^');
        if (!Posix.TryGetValue(negative ? name[1..] : name, out var members))
            throw new Re2Exception("invalid character class range");
        if (!negative)
        {
            output.Append(members);
            return;
        }

        // A complement inside brackets: written out over ASCII, which is all that names have.
        for (var c = '\0'; c < 128; c++)
        {
            if (!System.Text.RegularExpressions.Regex.IsMatch(c.ToString(), $@"\A[{members}]\z"))
                output.Append(@"\u").Append(((int)c).ToString("X4", CultureInfo.InvariantCulture));
        }

        output.Append(@"\u0080-\uFFFF");
    }

    private int Character()
    {
        if (_at >= text.Length)
            throw new Re2Exception("missing closing ]");
        return text[_at] == '\\' ? EscapedCharacter(text, ref _at) : text[_at++];
    }
}
