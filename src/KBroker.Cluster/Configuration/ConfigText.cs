using System.Globalization;

namespace KBroker.Cluster.Configuration;

/// <summary>Values of configs from text and back, with Java's idea of how numbers look.</summary>
internal static class ConfigText
{
    private const NumberStyles Sign = NumberStyles.AllowLeadingSign;

    internal static object Parse(string name, ConfigType type, string text)
    {
        var trimmed = text.Trim();
        return type switch
        {
            ConfigType.Boolean => ParseBoolean(name, text, trimmed),
            ConfigType.Int => int.TryParse(trimmed, Sign, CultureInfo.InvariantCulture, out var i)
                ? i : throw NotANumber(name, text, "INT"),
            ConfigType.Short => short.TryParse(trimmed, Sign, CultureInfo.InvariantCulture, out var s)
                ? s : throw NotANumber(name, text, "SHORT"),
            ConfigType.Long => long.TryParse(trimmed, Sign, CultureInfo.InvariantCulture, out var l)
                ? l : throw NotANumber(name, text, "LONG"),
            ConfigType.Double => double.TryParse(trimmed, NumberStyles.Float, CultureInfo.InvariantCulture, out var d)
                ? d : throw NotANumber(name, text, "DOUBLE"),
            ConfigType.List => ParseList(trimmed),
            _ => trimmed,
        };
    }

    /// <summary>Elements of a list, blanks trimmed, later duplicates dropped; an empty text is an empty list.</summary>
    internal static string[] ParseList(string text)
    {
        var trimmed = text.Trim();
        if (trimmed.Length == 0)
        {
            return [];
        }

        var parts = trimmed.Split(',', StringSplitOptions.TrimEntries);
        return parts.Length == 1 ? parts : parts.Distinct(StringComparer.Ordinal).ToArray();
    }

    internal static string Format(object value) => value switch
    {
        string s => s,
        bool b => b ? "true" : "false",
        string[] list => string.Join(',', list),
        double d => FormatDouble(d),
        IFormattable f => f.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };

    private static bool ParseBoolean(string name, string text, string trimmed)
    {
        if (trimmed.Equals("true", StringComparison.OrdinalIgnoreCase))
        {
            return true;
        }

        return trimmed.Equals("false", StringComparison.OrdinalIgnoreCase)
            ? false
            : throw new ConfigException(name, text, "Expected value to be either true or false");
    }

    private static ConfigException NotANumber(string name, string text, string type) =>
        new(name, text, $"Not a number of type {type}");

    /// <summary>Java writes 0.5, 1.0 and 1.7976931348623157E308 where .NET writes 0.5, 1 and 1.79...E+308.</summary>
    private static string FormatDouble(double value)
    {
        if (!double.IsFinite(value))
        {
            return double.IsNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
        }

        var magnitude = Math.Abs(value);
        if (magnitude != 0 && (magnitude < 1e-3 || magnitude >= 1e7))
        {
            var parts = value.ToString("E16", CultureInfo.InvariantCulture).Split('E');
            var exponent = int.Parse(parts[1], CultureInfo.InvariantCulture);
            var digits = ShortestDigits(value);
            return $"{digits}E{exponent}";
        }

        var text = value.ToString("R", CultureInfo.InvariantCulture);
        return text.Contains('.') ? text : text + ".0";
    }

    /// <summary>The mantissa of the shortest text that reads back as the value, with at least one decimal.</summary>
    private static string ShortestDigits(double value)
    {
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        var sign = text.StartsWith('-') ? "-" : "";
        var mantissa = text.Split('E')[0];
        var digits = string.Concat(mantissa.Where(char.IsAsciiDigit)).TrimStart('0').TrimEnd('0');
        return digits.Length == 1 ? $"{sign}{digits}.0" : $"{sign}{digits[0]}.{digits[1..]}";
    }
}
