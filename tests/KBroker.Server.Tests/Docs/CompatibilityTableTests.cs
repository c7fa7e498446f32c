using System.Runtime.CompilerServices;
using System.Text;
using KBroker.Protocol;
using KBroker.Server.Dispatch;

namespace KBroker.Server.Tests.Docs;

/// <summary>
/// Keeps docs/compatibility.md equal to what the code serves. KBROKER_WRITE_DOCS=1 writes the file instead of
/// comparing.
/// </summary>
public sealed class CompatibilityTableTests
{
    [Fact]
    public void The_compatibility_table_says_what_is_served()
    {
        var path = Path.Combine(RepositoryRoot(), "docs", "compatibility.md");
        var expected = Render();
        if (Environment.GetEnvironmentVariable("KBROKER_WRITE_DOCS") == "1")
            File.WriteAllText(path, expected);
        Assert.Equal(expected, File.ReadAllText(path));
    }

    private static string Render()
    {
        var served = typeof(IRequestHandler).Assembly.GetTypes()
            .Where(static type => !type.IsAbstract && typeof(IRequestHandler).IsAssignableFrom(type))
            .Select(static type => ((IRequestHandler)RuntimeHelpers.GetUninitializedObject(type)).ApiKey)
            .ToHashSet();
        var text = new StringBuilder(
            """
            # Which Kafka APIs KBroker serves

            Made from the protocol specs and the handlers by a test (`tests/KBroker.Server.Tests/Docs`); do not edit.
            Versions are those of Apache Kafka 4.3. An API without "yes" is described in `protocol-spec/`, but not
            advertised and not answered.

            | key | API | versions | served | broker listener | controller listener |
            |---|---|---|---|---|---|

            """);
        foreach (var api in ApiCatalog.All.Where(static api => !api.IsPrivate))
            AddRow(text, api, served);
        text.Append(
            """

            ## KBroker's own

            Served, but not announced: clients see Kafka's list. Who wants to use one finds the message in
            `protocol-spec/apis/`.

            | key | API | versions | served | broker listener | controller listener |
            |---|---|---|---|---|---|

            """);
        foreach (var api in ApiCatalog.All.Where(static api => api.IsPrivate))
            AddRow(text, api, served);
        return text.ToString();
    }

    private static void AddRow(StringBuilder text, ApiInfo api, HashSet<ApiKey> served)
    {
        var versions = api.LowestVersion == api.LatestStableVersion
            ? $"{api.LowestVersion}"
            : $"{api.LowestVersion}-{api.LatestStableVersion}";
        text.Append(null, $"| {(int)api.Key} | {api.Name} | {versions} | {Mark(served.Contains(api.Key))} | ")
            .Append(null, $"{Mark(api.Listeners.HasFlag(ApiListeners.Broker))} | ")
            .Append(null, $"{Mark(api.Listeners.HasFlag(ApiListeners.Controller))} |\n");
    }

    private static string Mark(bool value) => value ? "yes" : "";

    private static string RepositoryRoot()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "KBroker.sln")))
            directory = directory.Parent;
        return directory?.FullName ?? throw new InvalidOperationException("KBroker.sln is not above the test binary");
    }
}
