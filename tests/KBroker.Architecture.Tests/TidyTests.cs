using System.Text.RegularExpressions;

namespace KBroker.Architecture.Tests;

/// <summary>The house rules that a machine can check (DESIGN, Style).</summary>
public sealed partial class TidyTests
{
    private const int LinesMax = 600;
    private const int ColumnsMax = 120;

    [Fact]
    public void No_file_is_longer_than_600_lines() => Check(
        Repository.CodeFiles("src", "tests", "bench"),
        lines => lines.Length > LinesMax ? [(LinesMax + 1, $"{lines.Length} lines")] : []);

    /// <summary>Test data may stand on one line, so that a message can be found by searching for it.</summary>
    [Fact]
    public void No_line_is_longer_than_120_columns() => Check(
        Repository.CodeFiles("src", "tests", "bench"),
        lines => Find(lines, line => line.Length > ColumnsMax && !line.TrimStart().StartsWith("[InlineData(")));

    [Fact]
    public void Nothing_is_left_open_in_src() => Check(
        Repository.CodeFiles("src"), lines => Find(lines, LeftOpen().IsMatch));

    /// <summary>The other part of a partial type is generated: nobody spreads a type over files by hand.</summary>
    [Fact]
    public void Partial_is_for_generated_code_only()
    {
        var spread = Repository.CodeFiles("src")
            .SelectMany(file => File.ReadLines(file)
                .Select(line => Partial().Match(line))
                .Where(match => match.Success)
                .Select(match => (Type: match.Groups["name"].Value, File: file)))
            .GroupBy(part => (part.Type, Path.GetDirectoryName(part.File)))
            .Where(type => type.Count() > 1)
            .Select(type => string.Join(" and ", type.Select(part => Repository.Relative(part.File))))
            .ToList();
        Assert.True(spread.Count == 0, string.Join('\n', spread));
    }

    /// <summary>A pause of a few milliseconds between two looks at a condition is polling, and allowed.</summary>
    [Fact]
    public void No_test_sleeps() => Check(
        Repository.CodeFiles("tests").Where(file => Path.GetFileName(file) != nameof(TidyTests) + ".cs"),
        lines => Find(lines, Sleep().IsMatch));

    [Fact]
    public void Namespaces_are_file_scoped() => Check(
        Repository.CodeFiles("src", "tests", "bench"), lines => Find(lines, BlockNamespace().IsMatch));

    [Fact]
    public void Every_project_says_what_it_is() => Assert.All(Repository.Sources, project =>
    {
        var readme = Path.Combine(project.Folder, "README.md");
        Assert.True(File.Exists(readme), $"{project.Name} has no README.md");
        Assert.True(File.ReadAllLines(readme).Length >= 3, $"{project.Name}'s README.md says too little");
    });

    [Fact]
    public void No_text_names_a_place_of_one_machine() => CheckTracked((file, text) =>
        file.EndsWith(nameof(TidyTests) + ".cs", StringComparison.Ordinal) ? null : MachinePlace().Match(text) switch
        {
            { Success: true } match => match.Value,
            _ => null,
        });

    [Fact]
    public void Nothing_built_or_third_party_is_committed()
    {
        var tracked = Tracked();
        Assert.DoesNotContain(tracked, file => BuiltFile().IsMatch(file));
        Assert.DoesNotContain(tracked, file => IsBinary(Path.Combine(Repository.Root, file)));
    }

    [Fact]
    public void Text_ends_lines_with_a_line_feed() => CheckTracked((_, text) =>
        text.Contains('\r') ? "a carriage return"
            : text.Length > 0 && text[^1] != '\n' ? "no line feed at its end"
            : null);

    private static void Check(IEnumerable<string> files, Func<string[], IEnumerable<(int Line, string What)>> rule)
    {
        var found = files
            .SelectMany(file => rule(File.ReadAllLines(file))
                .Select(place => $"{Repository.Relative(file)}:{place.Line}: {place.What}"))
            .ToList();
        Assert.True(found.Count == 0, string.Join('\n', found));
    }

    private static IEnumerable<(int Line, string What)> Find(string[] lines, Func<string, bool> isBad) =>
        lines.Select((line, index) => (Line: index + 1, What: line.Trim()))
            .Where(place => isBad(lines[place.Line - 1]));

    private static void CheckTracked(Func<string, string, string?> rule)
    {
        var found = Tracked()
            .Where(file => !IsBinary(Path.Combine(Repository.Root, file)))
            .Select(file => (File: file, What: rule(file, File.ReadAllText(Path.Combine(Repository.Root, file)))))
            .Where(place => place.What is not null)
            .Select(place => $"{place.File}: {place.What}")
            .ToList();
        Assert.True(found.Count == 0, string.Join('\n', found));
    }

    private static IReadOnlyList<string> Tracked()
    {
        var tracked = Repository.TrackedFiles();
        if (tracked is null)
        {
            Assert.Skip("this is not a git clone");
        }

        return tracked;
    }

    /// <summary>As git sees it: a file with a zero byte near its beginning.</summary>
    private static bool IsBinary(string file)
    {
        using var stream = File.OpenRead(file);
        var head = new byte[8000];
        return head.AsSpan(0, stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false)).Contains((byte)0);
    }

    [GeneratedRegex(@"\b(TODO|FIXME|HACK|XXX)\b|NotImplementedException")]
    private static partial Regex LeftOpen();

    [GeneratedRegex(@"^\s*[\w\s]*\bpartial\b[\w\s]*\b(class|struct|record|interface)\s+(?<name>\w+)")]
    private static partial Regex Partial();

    [GeneratedRegex(@"Thread\.Sleep|Task\.Delay\(\s*(\d{3}|TimeSpan)")]
    private static partial Regex Sleep();

    [GeneratedRegex(@"^\s*namespace\s+[\w.]+\s*(\{|$)")]
    private static partial Regex BlockNamespace();

    [GeneratedRegex(
        @"(?<![\w.])/(work|root|home/\w+|Users/\w+)/|[A-Z]:\\Users\\"
        + @"|https?://[\w.-]*(nexus|artifactory|mirror|proxy)[\w.-]*")]
    private static partial Regex MachinePlace();

    [GeneratedRegex(
        @"^(artifacts|data|logs)/|(^|/)(bin|obj|node_modules|TestResults)/"
        + @"|\.(so|dll|exe|jar|class|nupkg|pdb|o|a)$")]
    private static partial Regex BuiltFile();
}
