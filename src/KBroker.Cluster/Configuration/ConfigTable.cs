using System.Text;

namespace KBroker.Cluster.Configuration;

/// <summary>
/// Reads a table of configs: the <c>*.configs</c> files in this folder, which are embedded in the assembly. Lines that
/// start with <c>#</c> are comments. An entry is
/// <code>
/// name | type | default | allowed | importance | notes
///     Documentation, on indented lines.
/// </code>
/// where <c>default</c> is a value, nothing for an empty one, <c>null</c> for none, or <c>required</c>; <c>allowed</c>
/// is empty, <c>&gt;= 1</c>, <c>1 .. 9</c>, <c>1 .. 9 or -1</c>, <c>one of a, b</c>, <c>one of, any case: a, b</c>,
/// <c>non-empty</c>, <c>non-empty, one of a, b</c>, <c>no empty elements</c>, <c>replicas</c> or
/// <c>offset reset</c>; and <c>notes</c> are words: <c>internal</c>, <c>inert</c> (accepted, not acted upon),
/// <c>per-broker</c> or <c>cluster-wide</c> (can be changed at run time), <c>dynamic-only</c>, and last
/// <c>from other.config third.config:hours</c>, the broker configs that serve when this one is not set, first match
/// first, the unit being that of their number where milliseconds are wanted.
/// </summary>
internal static class ConfigTable
{
    private const int Columns = 6;

    internal static Dictionary<string, ConfigDefinition> Load(ConfigScope scope, string file)
    {
        var assembly = typeof(ConfigTable).Assembly;
        using var stream = assembly.GetManifestResourceStream(file)
            ?? throw new InvalidOperationException($"The table {file} is not embedded in {assembly.GetName().Name}");
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return Parse(scope, reader.ReadToEnd());
    }

    internal static Dictionary<string, ConfigDefinition> Parse(ConfigScope scope, string table)
    {
        var definitions = new Dictionary<string, ConfigDefinition>(StringComparer.Ordinal);
        var rules = new Dictionary<string, ConfigRule>(StringComparer.Ordinal) { [""] = ConfigRule.Any };
        var position = 0;
        while (position < table.Length)
        {
            var end = EndOfLine(table, position);
            var line = table.AsSpan(position, end - position);
            position = end + 1;
            if (line.IsEmpty || line[0] == '#')
            {
                continue;
            }

            var documentation = position;
            while (position < table.Length && table[position] == ' ')
            {
                position = EndOfLine(table, position) + 1;
            }

            var length = Math.Max(0, Math.Min(position, table.Length) - documentation);
            var row = ParseRow(line.ToString(), new Text(table, documentation, length), rules);
            definitions.Add(row.Name, new ConfigDefinition(scope, row));
        }

        return definitions;
    }

    private static int EndOfLine(string text, int start)
    {
        var end = text.IndexOf('\n', start);
        return end < 0 ? text.Length : end;
    }

    private static Row ParseRow(string line, Text documentation, Dictionary<string, ConfigRule> rules)
    {
        var cells = line.Split('|', StringSplitOptions.TrimEntries);
        if (cells.Length is < 2 or > Columns)
        {
            throw new FormatException($"A line of a table of configs has {cells.Length} columns: {line}");
        }

        string Cell(int index) => index < cells.Length ? cells[index] : "";

        if (!rules.TryGetValue(Cell(3), out var rule))
        {
            rule = ConfigRule.Parse(Cell(3));
            rules.Add(Cell(3), rule);
        }

        var row = new Row
        {
            Name = cells[0],
            Type = ParseType(cells[1]),
            DefaultValue = Cell(2) is "null" or "required" ? null : Cell(2),
            IsRequired = Cell(2) == "required",
            Rule = rule,
            Importance = Cell(4) switch
            {
                "high" => ConfigImportance.High,
                "low" => ConfigImportance.Low,
                "medium" => ConfigImportance.Medium,
                _ => throw new FormatException($"Unknown importance in a table of configs: {line}"),
            },
            Documentation = documentation,
        };
        ParseNotes(row, Cell(5), line);
        return row;
    }

    private static void ParseNotes(Row row, string notes, string line)
    {
        var words = notes.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        for (var i = 0; i < words.Length; i++)
        {
            switch (words[i])
            {
                case "internal": row.IsInternal = true; break;
                case "inert": row.IsInert = true; break;
                case "dynamic-only": row.IsDynamicOnly = true; break;
                case "per-broker": row.UpdateMode = ConfigUpdateMode.PerBroker; break;
                case "cluster-wide": row.UpdateMode = ConfigUpdateMode.ClusterWide; break;
                case "from":
                    row.Synonyms = words[(i + 1)..].Select(ParseSynonym).ToArray();
                    return;
                default: throw new FormatException($"Unknown note '{words[i]}' in a table of configs: {line}");
            }
        }
    }

    private static ConfigSynonym ParseSynonym(string word)
    {
        var colon = word.IndexOf(':', StringComparison.Ordinal);
        return colon < 0
            ? new ConfigSynonym(word, 1)
            : new ConfigSynonym(word[..colon], word[(colon + 1)..] switch
            {
                "minutes" => 60_000,
                "hours" => 3_600_000,
                _ => throw new FormatException($"Unknown unit in a table of configs: {word}"),
            });
    }

    private static ConfigType ParseType(string text) => text switch
    {
        "boolean" => ConfigType.Boolean,
        "string" => ConfigType.String,
        "int" => ConfigType.Int,
        "short" => ConfigType.Short,
        "long" => ConfigType.Long,
        "double" => ConfigType.Double,
        "list" => ConfigType.List,
        "class" => ConfigType.Class,
        "password" => ConfigType.Password,
        _ => throw new FormatException($"Unknown type '{text}' in a table of configs"),
    };

    /// <summary>The columns of one entry.</summary>
    internal sealed class Row
    {
        internal required string Name { get; init; }

        internal required ConfigType Type { get; init; }

        internal required string? DefaultValue { get; init; }

        internal required bool IsRequired { get; init; }

        internal required ConfigRule Rule { get; init; }

        internal required ConfigImportance Importance { get; init; }

        internal required Text Documentation { get; init; }

        internal bool IsInternal { get; set; }

        internal bool IsInert { get; set; }

        internal bool IsDynamicOnly { get; set; }

        internal ConfigUpdateMode UpdateMode { get; set; }

        internal ConfigSynonym[] Synonyms { get; set; } = [];
    }

    /// <summary>Documentation still in the table's text: it is put together only when somebody asks for it.</summary>
    internal readonly struct Text(string table, int start, int length)
    {
        private const StringSplitOptions Tidy = StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries;

        public override string ToString() => string.Join(' ', table.Substring(start, length).Split('\n', Tidy));
    }
}
