using System.Reflection;
using KBroker.Protocol.Generator.Spec;
using KBroker.Protocol.Messages;

namespace KBroker.Protocol.Tests.Messages;

/// <summary>The specs the library was generated from, and the generated classes they became.</summary>
internal static class Specs
{
    private static readonly Lazy<Dictionary<string, MessageSpec>> Parsed = new(Parse);

    public delegate IMessage ReadMessage(ref ProtocolReader reader, short version);

    public static string Folder => Path.Combine(AppContext.BaseDirectory, "protocol-spec");

    public static IReadOnlyDictionary<string, MessageSpec> All => Parsed.Value;

    public static Type ClassOf(string message) =>
        typeof(IMessage).Assembly.GetType("KBroker.Protocol.Messages." + message)
        ?? throw new InvalidOperationException("No class was generated for " + message);

    public static ReadMessage ReaderOf(string message) =>
        ClassOf(message).GetMethod("Read", BindingFlags.Public | BindingFlags.Static)!.CreateDelegate<ReadMessage>();

    public static IEnumerable<(MessageSpec Spec, short Version)> MessageVersions()
    {
        foreach (var spec in All.Values.OrderBy(s => s.Name, StringComparer.Ordinal))
        {
            for (int version = spec.Versions.Lowest; version <= spec.Versions.Highest; version++)
                yield return (spec, (short)version);
        }
    }

    private static Dictionary<string, MessageSpec> Parse()
    {
        var all = new Dictionary<string, MessageSpec>();
        foreach (string path in Directory.EnumerateFiles(Folder, "*.kspec", SearchOption.AllDirectories))
        {
            var file = SpecParser.Parse(path, File.ReadAllText(path));
            Assert.Empty(file.Errors);
            foreach (var message in file.Messages) all.Add(message.Name, message);
        }

        return all;
    }
}
