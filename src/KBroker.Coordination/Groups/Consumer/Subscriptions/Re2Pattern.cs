using System.Text.RegularExpressions;

namespace KBroker.Coordination.Groups.Consumer.Subscriptions;

/// <summary>
/// A regular expression in RE2's syntax, for topic names. It is checked as RE2 checks it and translated to .NET's
/// syntax, where it runs without backtracking: time in proportion to the name, whatever the expression.
/// </summary>
internal sealed class Re2Pattern
{
    /// <summary>Characters an expression may have.</summary>
    public const int MaxLength = 4096;

    private readonly Regex _regex;

    private Re2Pattern(Regex regex) => _regex = regex;

    /// <summary>Compiles an expression.</summary>
    /// <param name="expression">The expression.</param>
    /// <exception cref="Re2Exception">RE2 does not accept it, or it is too large.</exception>
    public static Re2Pattern Compile(string expression)
    {
        if (expression.Length > MaxLength)
            throw new Re2Exception("expression too long");
        var translated = new Re2Translator(expression).Translate();
        try
        {
            return new Re2Pattern(new Regex(
                $@"\A(?:{translated})\z", RegexOptions.NonBacktracking | RegexOptions.CultureInvariant));
        }
        catch (NotSupportedException)
        {
            // The automaton would be too large; RE2 has such a limit, too.
            throw new Re2Exception("expression too large");
        }
    }

    /// <summary>Whether the expression matches the whole of a topic's name.</summary>
    /// <param name="topic">The name.</param>
    public bool Matches(string topic) => _regex.IsMatch(topic);
}
