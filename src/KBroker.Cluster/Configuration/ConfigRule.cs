using System.Globalization;
using System.Text.RegularExpressions;

namespace KBroker.Cluster.Configuration;

/// <summary>
/// What a config allows beyond its type. The phrases are Kafka's, because clients and tests look at them.
/// </summary>
internal abstract class ConfigRule
{
    internal static readonly ConfigRule Any = new AnyRule();

    /// <exception cref="ConfigException">The value breaks the rule.</exception>
    internal abstract void Check(string name, object value);

    /// <summary>The rule as a phrase for people; empty when everything is allowed.</summary>
    internal abstract string Describe();

    /// <summary>
    /// Reads the "allowed" column of a table; the notation is described on <see cref="ConfigTable"/>.
    /// </summary>
    internal static ConfigRule Parse(string text)
    {
        const string oneOf = "one of ";
        const string oneOfAnyCase = "one of, any case: ";
        const string nonEmpty = "non-empty";
        if (text.Length == 0)
        {
            return Any;
        }

        if (text.StartsWith(">= ", StringComparison.Ordinal))
        {
            return new RangeRule(Number(text[3..]), null, null);
        }

        if (text.StartsWith(oneOfAnyCase, StringComparison.Ordinal))
        {
            return new OneOfRule(text[oneOfAnyCase.Length..], anyCase: true, mayBeEmpty: true);
        }

        if (text.StartsWith(oneOf, StringComparison.Ordinal))
        {
            return new OneOfRule(text[oneOf.Length..], anyCase: false, mayBeEmpty: true);
        }

        if (text.StartsWith(nonEmpty + ", " + oneOf, StringComparison.Ordinal))
        {
            return new OneOfRule(text[(nonEmpty.Length + 2 + oneOf.Length)..], anyCase: false, mayBeEmpty: false);
        }

        return text switch
        {
            nonEmpty => new NonEmptyRule(mayBeEmptyList: false),
            "no empty elements" => new NonEmptyRule(mayBeEmptyList: true),
            "replicas" => new ReplicasRule(),
            "delay levels" => new DelayLevelsRule(),
            "offset reset" => new OffsetResetRule(),
            _ => ParseRange(text),
        };
    }

    private static RangeRule ParseRange(string text)
    {
        var dots = text.IndexOf(" .. ", StringComparison.Ordinal);
        if (dots < 0)
        {
            throw new FormatException($"Unknown rule '{text}' in a table of configs");
        }

        var or = text.IndexOf(" or ", StringComparison.Ordinal);
        var maximum = or < 0 ? text[(dots + 4)..] : text[(dots + 4)..or];
        return new RangeRule(Number(text[..dots]), Number(maximum), or < 0 ? null : Number(text[(or + 4)..]));
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    private static string Show(double number) => number.ToString("R", CultureInfo.InvariantCulture);

    private sealed class AnyRule : ConfigRule
    {
        internal override void Check(string name, object value)
        {
        }

        internal override string Describe() => "";
    }

    private sealed class RangeRule(double minimum, double? maximum, double? or) : ConfigRule
    {
        internal override void Check(string name, object value)
        {
            var number = Convert.ToDouble(value, CultureInfo.InvariantCulture);
            if (number == or)
            {
                return;
            }

            if (or is not null && (number < minimum || number > maximum))
            {
                throw new ConfigException(
                    name,
                    ConfigText.Format(value),
                    $"Value must be between {Show(minimum)} and {Show(maximum ?? 0)} or equal to {Show(or.Value)}");
            }

            if (number < minimum)
            {
                throw new ConfigException(name, ConfigText.Format(value), $"Value must be at least {Show(minimum)}");
            }

            if (number > maximum)
            {
                var atMost = $"Value must be no more than {Show(maximum.Value)}";
                throw new ConfigException(name, ConfigText.Format(value), atMost);
            }
        }

        internal override string Describe() => (maximum, or) switch
        {
            (null, _) => $"at least {Show(minimum)}",
            (_, null) => $"{Show(minimum)} to {Show(maximum.Value)}",
            _ => $"{Show(minimum)} to {Show(maximum.Value)}, or {Show(or.Value)}",
        };
    }

    private sealed class OneOfRule(string text, bool anyCase, bool mayBeEmpty) : ConfigRule
    {
        private readonly string[] _values = text.Split(", ");

        internal override void Check(string name, object value)
        {
            var comparer = anyCase ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal;
            if (value is string[] { Length: 0 } && !mayBeEmpty)
            {
                throw new ConfigException(
                    $"Configuration '{name}' must not be empty. Valid values include: [{string.Join(", ", _values)}]");
            }

            foreach (var element in value as string[] ?? [(string)value])
            {
                if (!_values.Contains(element, comparer))
                {
                    var how = anyCase ? " (case insensitive)" : "";
                    throw new ConfigException(
                        name, element, $"String must be one of{how}: {string.Join(", ", _values)}");
                }
            }
        }

        internal override string Describe() => string.Join(", ", _values);
    }

    private sealed class NonEmptyRule(bool mayBeEmptyList) : ConfigRule
    {
        internal override void Check(string name, object value)
        {
            if (value is string[] list)
            {
                if (list.Length == 0 && !mayBeEmptyList)
                {
                    throw new ConfigException(
                        $"Configuration '{name}' must not be empty. Valid values include: any non-empty value");
                }

                if (list.Contains(""))
                {
                    throw new ConfigException($"Configuration '{name}' values must not be empty.");
                }
            }
            else if (value is string { Length: 0 })
            {
                throw new ConfigException(name, "", "String must be non-empty");
            }
        }

        internal override string Describe() => mayBeEmptyList ? "no empty elements" : "not empty";
    }

    /// <summary><c>*</c>, nothing, or a list of partition:broker pairs.</summary>
    private sealed class DelayLevelsRule : ConfigRule
    {
        internal override void Check(string name, object value)
        {
            var text = (string)value;
            if (DelayLevels.TryParse(text, out _) is { } problem)
                throw new ConfigException(name, text, problem);
        }

        internal override string Describe() => "1 to 1000 times such as 30s, 5m, 2h or 1d, rising";
    }

    private sealed class ReplicasRule : ConfigRule
    {
        internal override void Check(string name, object value)
        {
            var list = (string[])value;
            if (list is [] or ["*"])
            {
                return;
            }

            foreach (var pair in list)
            {
                var colon = pair.IndexOf(':', StringComparison.Ordinal);
                if (colon <= 0 || !IsNumber(pair.AsSpan(0, colon)) || !IsNumber(pair.AsSpan(colon + 1)))
                {
                    throw new ConfigException(
                        name,
                        $"[{string.Join(", ", list)}]",
                        $"{name} must be the literal '*' or a list of replicas in the following format: "
                        + "[partitionId]:[brokerId],[partitionId]:[brokerId],...");
                }
            }
        }

        internal override string Describe() => "* or partition:broker,partition:broker,...";

        private static bool IsNumber(ReadOnlySpan<char> text) =>
            text.Length > 0 && text.IndexOfAnyExceptInRange('0', '9') < 0;
    }

    /// <summary>latest, earliest or by_duration: and a duration that is not negative.</summary>
    private sealed class OffsetResetRule : ConfigRule
    {
        private const string DurationPrefix = "by_duration:";

        internal override void Check(string name, object value)
        {
            var text = (string)value;
            if (text is "latest" or "earliest")
            {
                return;
            }

            if (!text.StartsWith(DurationPrefix, StringComparison.Ordinal)
                || !IsDuration(text[DurationPrefix.Length..]))
            {
                throw new ConfigException(
                    name,
                    text,
                    $"Invalid value `{text}` for configuration {name}. The value must be either 'earliest', 'latest' "
                    + "or of the format 'by_duration:<PnDTnHnMn.nS>'.");
            }
        }

        internal override string Describe() => "latest, earliest, by_duration:PnDTnHnMn.nS";

        private static bool IsDuration(string text) => Regex.IsMatch(
            text,
            @"^P(?=.)(\d{1,18}D)?(T(?=\d)(\d{1,18}H)?(\d{1,18}M)?(\d{1,18}([.,]\d{0,9})?S)?)?$",
            RegexOptions.IgnoreCase | RegexOptions.CultureInvariant,
            TimeSpan.FromSeconds(1));
    }
}
