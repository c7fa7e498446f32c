using System.Text.RegularExpressions;

namespace KBroker.Architecture.Tests;

/// <summary>
/// References run downward only: KBroker, Server, {Coordination, Delivery}, Cluster, {Storage, Timing}, Protocol.
/// </summary>
public sealed partial class LayeringTests
{
    /// <summary>
    /// What each project may reference, directly or through another. A new project needs a line here.
    /// </summary>
    private static readonly Dictionary<string, string[]> Below = new()
    {
        ["KBroker.Protocol.Generator"] = [],
        ["KBroker.Protocol"] = [],
        ["KBroker.Timing"] = [],
        // For the processes of others: it knows Confluent.Kafka, and nothing of the broker.
        ["KBroker.Client"] = [],
        ["KBroker.Storage"] = ["KBroker.Protocol"],
        ["KBroker.Cluster"] = ["KBroker.Storage", "KBroker.Timing", "KBroker.Protocol"],
        ["KBroker.Coordination"] = ["KBroker.Cluster", "KBroker.Storage", "KBroker.Timing", "KBroker.Protocol"],
        ["KBroker.Delivery"] = ["KBroker.Cluster", "KBroker.Storage", "KBroker.Timing", "KBroker.Protocol"],
        ["KBroker.Server"] =
        [
            "KBroker.Coordination", "KBroker.Delivery", "KBroker.Cluster", "KBroker.Storage", "KBroker.Timing",
            "KBroker.Protocol",
        ],
        ["KBroker"] =
        [
            "KBroker.Server", "KBroker.Coordination", "KBroker.Delivery", "KBroker.Cluster", "KBroker.Storage",
            "KBroker.Timing", "KBroker.Protocol",
        ],
    };

    [Fact]
    public void Every_project_has_its_place_in_the_layers() =>
        Assert.All(Repository.Sources, project => Assert.True(Below.ContainsKey(project.Name), project.Name));

    [Fact]
    public void References_run_downward_only() => Assert.All(Repository.Sources, project =>
    {
        foreach (var reference in project.References)
        {
            Assert.True(Below[project.Name].Contains(reference), $"{project.Name} must not reference {reference}");
        }
    });

    [Fact]
    public void Code_names_only_namespaces_of_the_layers_below() => Assert.All(Repository.Sources, project =>
    {
        foreach (var (file, line, name) in NamespacesUsed(project))
        {
            Assert.True(
                OwnerOf(name) is var owner && (owner == project.Name || Below[project.Name].Contains(owner)),
                $"{file}:{line}: {project.Name} must not use {name}");
        }
    });

    [Fact]
    public void Storage_uses_only_the_records_part_of_Protocol()
    {
        var storage = Repository.Sources.Single(project => project.Name == "KBroker.Storage");
        Assert.All(
            NamespacesUsed(storage).Where(use => OwnerOf(use.Name) == "KBroker.Protocol"),
            use => Assert.True(
                use.Name is "KBroker.Protocol.Records" or "KBroker.Protocol.Records.Delivery" or "KBroker.Protocol",
                $"{use.File}:{use.Line}: Storage must not use {use.Name}"));

        // Uuid is the one type of the namespace above Records that storage shares with the protocol.
        foreach (var file in Repository.CodeFiles(Repository.Relative(storage.Folder)))
        {
            var number = 0;
            foreach (var line in File.ReadLines(file))
            {
                number++;
                Assert.False(
                    RequestType().IsMatch(line), $"{Repository.Relative(file)}:{number}: Storage must not use: {line}");
            }
        }
    }

    [Theory]
    [InlineData("Common")]
    [InlineData("Utils")]
    [InlineData("Util")]
    [InlineData("Core")]
    [InlineData("Helpers")]
    [InlineData("Shared")]
    public void No_project_is_a_drawer_for_everything(string name) => Assert.DoesNotContain(
        Repository.Sources, project => project.Name.Split('.').Contains(name, StringComparer.OrdinalIgnoreCase));

    [Fact]
    public void Tests_mirror_the_projects_under_src()
    {
        var names = Repository.Sources.Select(project => project.Name + ".Tests").ToHashSet();
        foreach (var folder in Directory.GetDirectories(Path.Combine(Repository.Root, "tests")))
        {
            var name = Path.GetFileName(folder);
            if (Directory.EnumerateFiles(folder, "*.csproj").Any() && name != "KBroker.Architecture.Tests")
            {
                Assert.Contains(name, names);
            }
        }
    }

    /// <summary>The longest project name that a namespace begins with; usings of KBroker's own only.</summary>
    private static string OwnerOf(string name) => Below.Keys
        .Where(project => name == project || name.StartsWith(project + ".", StringComparison.Ordinal))
        .MaxBy(project => project.Length) ?? name;

    private static IEnumerable<(string File, int Line, string Name)> NamespacesUsed(Project project)
    {
        foreach (var file in Repository.CodeFiles(Repository.Relative(project.Folder)))
        {
            var number = 0;
            foreach (var line in File.ReadLines(file))
            {
                number++;
                if (Using().Match(line) is { Success: true } match)
                {
                    yield return (Repository.Relative(file), number, match.Groups["name"].Value);
                }
            }
        }
    }

    [GeneratedRegex(@"\b(ErrorCode|ApiKey|ApiCatalog|ApiInfo|Protocol(Reader|Writer)|I(Request|Response)Message)\b")]
    private static partial Regex RequestType();

    [GeneratedRegex(@"^\s*(global\s+)?using\s+(static\s+|\w+\s*=\s*)?(?<name>KBroker(\.\w+)*)\s*;")]
    private static partial Regex Using();
}
