namespace KBroker.Protocol.Tests.Messages;

/// <summary>
/// Where the vectors are: the folder that KBROKER_VECTORS names, else ../shared/protocol/vectors beside the
/// repository, else the selection in this project.
/// </summary>
public static class VectorFiles
{
    /// <summary>The folder in use.</summary>
    public static string Folder { get; } = Find();

    /// <summary>The names of all vector files there.</summary>
    public static TheoryData<string> Names()
    {
        var names = new TheoryData<string>();
        foreach (string path in Directory.EnumerateFiles(Folder, "*.tsv").Order(StringComparer.Ordinal))
            names.Add(Path.GetFileName(path));
        return names;
    }

    /// <summary>The rows of a file, each as its columns by name.</summary>
    public static IEnumerable<Dictionary<string, string>> Rows(string name)
    {
        using var lines = File.ReadLines(Path.Combine(Folder, name)).GetEnumerator();
        Assert.True(lines.MoveNext(), $"{name} has no header line");
        string[] columns = lines.Current.Split('\t');
        while (lines.MoveNext())
        {
            string[] cells = lines.Current.Split('\t');
            Assert.Equal(columns.Length, cells.Length);
            yield return columns.Zip(cells).ToDictionary(p => p.First, p => p.Second);
        }
    }

    /// <summary>The header line of a file.</summary>
    public static string Header(string name) => File.ReadLines(Path.Combine(Folder, name)).First();

    private static string Find()
    {
        string? named = Environment.GetEnvironmentVariable("KBROKER_VECTORS");
        if (!string.IsNullOrEmpty(named)) return named;
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            string beside = Path.Combine(at.FullName, "shared", "protocol", "vectors");
            if (Directory.Exists(beside)) return beside;
        }

        return Path.Combine(AppContext.BaseDirectory, "Vectors");
    }
}
