using System.Diagnostics;
using System.Xml.Linq;

namespace KBroker.Architecture.Tests;

/// <summary>The files of the repository, found by walking up from the test's own assembly to KBroker.sln.</summary>
internal static class Repository
{
    private static readonly string[] Outside = ["bin", "obj", "artifacts", "node_modules", ".git", "data", "logs"];

    internal static string Root { get; } = FindRoot();

    /// <summary>Projects under src, by name.</summary>
    internal static IReadOnlyList<Project> Sources { get; } =
        Directory.GetFiles(Path.Combine(Root, "src"), "*.csproj", SearchOption.AllDirectories)
            .Where(file => !IsOutside(file))
            .Select(Project.Load)
            .OrderBy(project => project.Name, StringComparer.Ordinal)
            .ToList();

    /// <summary>C# files below a folder, without what the build makes.</summary>
    internal static IEnumerable<string> CodeFiles(params string[] folders) => folders
        .Select(folder => Path.Combine(Root, folder))
        .Where(Directory.Exists)
        .SelectMany(folder => Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories))
        .Where(file => !IsOutside(file));

    internal static string Relative(string file) => Path.GetRelativePath(Root, file);

    /// <summary>What is committed, or staged to be; null where this is no git clone.</summary>
    internal static IReadOnlyList<string>? TrackedFiles()
    {
        if (!Path.Exists(Path.Combine(Root, ".git")))
        {
            return null;
        }

        var start = new ProcessStartInfo("git", ["-C", Root, "ls-files", "-z"]) { RedirectStandardOutput = true };
        using var git = Process.Start(start)!;
        var output = git.StandardOutput.ReadToEnd();
        git.WaitForExit();
        Assert.Equal(0, git.ExitCode);
        return output.Split('\0', StringSplitOptions.RemoveEmptyEntries)
            .Where(file => File.Exists(Path.Combine(Root, file)))
            .ToList();
    }

    private static bool IsOutside(string file) =>
        Relative(file).Split(Path.DirectorySeparatorChar).Any(part => Outside.Contains(part));

    private static string FindRoot()
    {
        for (var folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "KBroker.sln")))
            {
                return folder;
            }
        }

        throw new InvalidOperationException("KBroker.sln is not above the test");
    }
}

/// <summary>A project file, with the names of the projects that it references as libraries.</summary>
internal sealed record Project(string Name, string Folder, IReadOnlyList<string> References)
{
    internal static Project Load(string file)
    {
        // A reference to the generator as an analyzer puts nothing into the assembly.
        var references = XDocument.Load(file).Descendants("ProjectReference")
            .Where(reference => (string?)reference.Attribute("OutputItemType") != "Analyzer")
            .Select(reference => Path.GetFileNameWithoutExtension(
                ((string)reference.Attribute("Include")!).Replace('\\', '/')))
            .Order(StringComparer.Ordinal)
            .ToList();
        return new Project(Path.GetFileNameWithoutExtension(file), Path.GetDirectoryName(file)!, references);
    }
}
