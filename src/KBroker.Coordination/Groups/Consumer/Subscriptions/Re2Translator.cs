using System.Globalization;
using System.Text;

namespace KBroker.Coordination.Groups.Consumer.Subscriptions;

/// <summary>
/// Translates RE2's syntax (https://github.com/google/re2/wiki/Syntax) to .NET's. What the two read differently is
/// written out: <c>\d</c>, <c>\w</c> and <c>\s</c> are ASCII, <c>^</c> and <c>$</c> are the ends of the text.
/// Lookarounds, back references and the like do not exist in RE2, and are refused.
/// </summary>
/// <param name="text">The expression.</param>
internal sealed class Re2Translator(string text)
{
    private const int MaxDepth = 250;
    private const int MaxRepeat = 1000;

    private readonly StringBuilder _output = new();
    private readonly HashSet<string> _names = [];
    private int _at;
    private int _depth;

    private bool AtEnd => _at >= text.Length;

    /// <summary>Translates the expression.</summary>
    /// <exception cref="Re2Exception">RE2 does not accept it.</exception>
    public string Translate()
    {
        Alternation();

        // An unexpected closing parenthesis; the words are RE2/J's.
        if (!AtEnd)
            throw new Re2Exception("regexp/syntax: internal error");
        return _output.ToString();
    }

    private int Alternation()
    {
        var repeats = 1;
        while (true)
        {
            repeats = Math.Max(repeats, Concatenation());
            if (AtEnd || text[_at] != '|')
                return repeats;
            _at++;
            _output.Append('|');
        }
    }

    // Gives the largest product of nested repeat counts, which RE2 limits.
    private int Concatenation()
    {
        var largest = 1;
        while (!AtEnd && text[_at] is not ('|' or ')'))
        {
            if (text[_at] is '*' or '+' or '?' || IsRepeat(_at, out _, out _, out _))
                throw new Re2Exception("missing argument to repetition operator");
            var start = _output.Length;
            var repeats = Atom(out var isAtom);
            if (isAtom)
                repeats *= Quantifier(start);
            if (repeats > MaxRepeat)
                throw new Re2Exception("invalid repeat count");
            largest = Math.Max(largest, repeats);
        }

        return largest;
    }

    private int Quantifier(int start)
    {
        if (AtEnd)
            return 1;
        string quantifier;
        var count = 1;
        if (text[_at] is '*' or '+' or '?')
        {
            quantifier = text[_at++].ToString();
        }
        else if (IsRepeat(_at, out var minimum, out var maximum, out var length))
        {
            if (minimum > MaxRepeat || maximum > MaxRepeat || (maximum >= 0 && minimum > maximum))
                throw new Re2Exception("invalid repeat count");
            quantifier = text.Substring(_at, length);
            count = Math.Max(1, Math.Max(minimum, maximum));
            _at += length;
        }
        else
        {
            return 1;
        }

        if (!AtEnd && text[_at] == '?')
            _at++;
        if (!AtEnd && (text[_at] is '*' or '+' or '?' || IsRepeat(_at, out _, out _, out _)))
            throw new Re2Exception("invalid nested repetition operator");
        _output.Insert(start, "(?:").Append(')').Append(quantifier);
        return count;
    }

    // {n}, {n,} or {n,m}; any other brace is a plain character. maximum is -1 when there is none.
    private bool IsRepeat(int at, out int minimum, out int maximum, out int length)
    {
        minimum = maximum = length = 0;
        var close = at < text.Length && text[at] == '{' ? text.IndexOf('}', at) : -1;
        if (close < 0)
            return false;
        var parts = text[(at + 1)..close].Split(',');
        if (parts.Length > 2 || !Number(parts[0], out minimum))
            return false;
        maximum = minimum;
        if (parts.Length == 2 && parts[1].Length == 0)
            maximum = -1;
        else if (parts.Length == 2 && !Number(parts[1], out maximum))
            return false;
        length = close + 1 - at;
        return true;

        static bool Number(string digits, out int value)
        {
            value = 0;
            if (digits.Length == 0 || !digits.All(char.IsAsciiDigit) || (digits.Length > 1 && digits[0] == '0'))
                return false;
            value = digits.Length > 6 ? int.MaxValue : int.Parse(digits, CultureInfo.InvariantCulture);
            return true;
        }
    }

    private int Atom(out bool isAtom)
    {
        isAtom = true;
        var next = text[_at];
        switch (next)
        {
            case '(':
                return Group(out isAtom);
            case '[':
                new Re2Class(text, _at).Translate(_output, out _at);
                return 1;
            case '.':
                _output.Append('.');
                break;
            case '^':
                _output.Append(@"\A");
                break;
            case '$':
                _output.Append(@"\z");
                break;
            case '\\':
                isAtom = Escape();
                return 1;
            default:
                Literal(_output, next);
                break;
        }

        _at++;
        return 1;
    }

    private int Group(out bool isAtom)
    {
        if (++_depth > MaxDepth)
            throw new Re2Exception("expression nests too deeply");
        _at++;
        isAtom = true;
        if (AtEnd || text[_at] != '?')
        {
            _output.Append("(?:");
        }
        else if (!NamedGroup() && !Flags())
        {
            // (?i) is no group: it holds for what follows.
            isAtom = false;
            _depth--;
            return 1;
        }

        var repeats = Alternation();
        if (AtEnd)
            throw new Re2Exception("missing closing )");
        _at++;
        _output.Append(')');
        _depth--;
        return repeats;
    }

    // (?P<name>...) or (?<name>...); true when it was one, and what follows is the group's body.
    private bool NamedGroup()
    {
        var rest = text.AsSpan(_at);
        var open = rest.StartsWith("?P<") ? 3 : rest.StartsWith("?<") ? 2 : 0;
        if (open == 0)
            return false;
        var close = rest.IndexOf('>');
        var name = close < 0 ? "" : rest[open..close].ToString();
        if (name.Length == 0 || !name.All(static c => char.IsAsciiLetterOrDigit(c) || c == '_'))
            throw new Re2Exception("invalid named capture");
        if (!_names.Add(name))
            throw new Re2Exception("duplicate capture group name");
        _at += close + 1;
        _output.Append("(?:");
        return true;
    }

    // (?i) or (?i:...); true for the latter.
    private bool Flags()
    {
        var set = new StringBuilder();
        var negative = false;
        var any = false;
        for (_at++; !AtEnd; _at++)
        {
            switch (text[_at])
            {
                case 'i' or 's':
                    set.Append(text[_at]);
                    any = true;
                    break;
                case 'm' or 'U':
                    // Names have no line breaks, and what is matched greedily does not matter.
                    any = true;
                    break;
                case '-' when !negative:
                    negative = true;
                    any = false;
                    set.Append('-');
                    break;
                case ':' or ')' when !negative || any:
                    return EndFlags(set.ToString().TrimEnd('-'));
                default:
                    throw new Re2Exception("invalid or unsupported Perl syntax");
            }
        }

        throw new Re2Exception("invalid or unsupported Perl syntax");
    }

    private bool EndFlags(string flags)
    {
        var opens = text[_at++] == ':';
        if (opens)
            _output.Append("(?").Append(flags).Append(':');
        else if (flags.Length > 0)
            _output.Append("(?").Append(flags).Append(')');
        return opens;
    }

    // Gives whether it wrote something that can be repeated.
    private bool Escape()
    {
        if (_at + 1 >= text.Length)
            throw new Re2Exception("trailing backslash at end of expression");
        switch (text[_at + 1])
        {
            case 'A':
                _output.Append(@"\A");
                break;
            case 'z':
                _output.Append(@"\z");
                break;
            case 'b' or 'B':
                // Names are ASCII, but .NET's own word boundary is not only that: it is the same on ASCII.
                _output.Append('\\').Append(text[_at + 1]);
                break;
            case 'Q':
                return Quoted();
            default:
                if (Re2Class.PerlOrUnicodeClass(text, ref _at) is { } members)
                {
                    _output.Append('[').Append(members).Append(']');
                    return true;
                }

                Literal(_output, Re2Class.EscapedCharacter(text, ref _at));
                return true;
        }

        _at += 2;
        return true;
    }

    private bool Quoted()
    {
        var end = text.IndexOf(@"\E", _at + 2, StringComparison.Ordinal);
        var last = end < 0 ? text.Length : end;
        var first = _at + 2;
        _at = end < 0 ? text.Length : end + 2;
        if (first == last)
            return false;

        // What follows repeats the last character alone.
        for (var i = first; i < last - 1; i++)
            Literal(_output, text[i]);
        var start = _output.Length;
        Literal(_output, text[last - 1]);
        Quantifier(start);
        return false;
    }

    private static void Literal(StringBuilder output, int character)
    {
        if (character > char.MaxValue)
            output.Append(char.ConvertFromUtf32(character));
        else if (char.IsAsciiLetterOrDigit((char)character))
            output.Append((char)character);
        else
            output.Append(@"\u").Append(character.ToString("X4", CultureInfo.InvariantCulture));
    }
}
