using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;
using System.Text.RegularExpressions;

namespace KBroker.Architecture.Tests;

/// <summary>The crash points: listed, and in no build that a user gets.</summary>
public sealed partial class CrashPointTests
{
    private const string Folder = "src/KBroker.Storage/Crashing";

    [Fact]
    public void Every_crash_point_of_the_source_is_in_the_table_and_the_other_way_round()
    {
        var table = TableRow().Matches(File.ReadAllText(Path.Combine(Repository.Root, Folder, "README.md")))
            .Select(row => row.Groups[1].Value)
            .ToList();
        Assert.Equal(table.Distinct().Count(), table.Count);
        Assert.Equal(NamesInSource().Distinct().Order(StringComparer.Ordinal), table.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void No_build_for_users_knows_a_crash_point()
    {
        var names = NamesInSource().ToList();
        Assert.NotEmpty(names);
        var assemblies = BuiltAssemblies().ToList();
        Assert.SkipWhen(assemblies.Count == 0, "src is not built");
        foreach (var assembly in assemblies)
        {
            var strings = UserStrings(assembly);
            Assert.DoesNotContain("KBROKER_CRASH_AT", strings);
            Assert.DoesNotContain(strings, name => names.Contains(name));
        }
    }

    [Fact]
    public void What_is_left_of_crash_points_are_empty_methods()
    {
        var storage = BuiltAssemblies().Where(file => Path.GetFileName(file) == "KBroker.Storage.dll").ToList();
        Assert.SkipWhen(storage.Count == 0, "src is not built");
        foreach (var file in storage)
        {
            using var portable = new PEReader(File.OpenRead(file));
            var reader = portable.GetMetadataReader();
            var type = reader.TypeDefinitions.Select(reader.GetTypeDefinition)
                .Single(t => reader.GetString(t.Name) == "CrashPoint");
            Assert.Empty(type.GetFields());
            var methods = type.GetMethods().Select(reader.GetMethodDefinition).ToList();
            Assert.NotEmpty(methods);
            // nop (in a debug build) and ret.
            Assert.All(methods, method => Assert.All(
                portable.GetMethodBody(method.RelativeVirtualAddress).GetILBytes()!,
                code => Assert.True(code is 0x00 or 0x2a, $"{file}: 0x{code:x2}")));
        }
    }

    private static IEnumerable<string> NamesInSource() => Repository.CodeFiles("src")
        .SelectMany(file => Call().Matches(File.ReadAllText(file)))
        .Select(call => call.Groups[1].Value);

    /// <summary>The broker's own assemblies in the folders that normal builds write to.</summary>
    private static IEnumerable<string> BuiltAssemblies() => Repository.Sources
        .SelectMany(project => new[] { "Debug", "Release" }
            .Select(configuration => Path.Combine(project.Folder, "bin", configuration)))
        .Append(Path.Combine(Repository.Root, "artifacts", "kbroker"))
        .Where(Directory.Exists)
        .SelectMany(folder => Directory.EnumerateFiles(folder, "*.dll", SearchOption.AllDirectories))
        .Where(file => Path.GetFileName(file).StartsWith("kbroker", StringComparison.OrdinalIgnoreCase));

    private static HashSet<string> UserStrings(string assembly)
    {
        using var portable = new PEReader(File.OpenRead(assembly));
        var strings = new HashSet<string>(StringComparer.Ordinal);
        if (!portable.HasMetadata)
            return strings;
        var reader = portable.GetMetadataReader();
        if (reader.GetHeapSize(HeapIndex.UserString) <= 1)
            return strings;
        for (var handle = MetadataTokens.UserStringHandle(1); !handle.IsNil; handle = reader.GetNextHandle(handle))
            strings.Add(reader.GetUserString(handle));
        return strings;
    }

    [GeneratedRegex("""^\| `([a-z.-]+)` \|""", RegexOptions.Multiline)]
    private static partial Regex TableRow();

    [GeneratedRegex("""CrashPoint\.Reached(?:OnceAppended)?\(\s*"([^"]+)"[,)]""")]
    private static partial Regex Call();
}
