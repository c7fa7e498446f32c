using System.Collections.Immutable;
using KBroker.Protocol.Generator;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;

namespace KBroker.Protocol.Tests.Generation;

/// <summary>Runs the generator through Roslyn over specs given as text.</summary>
internal static class GeneratorHarness
{
    private const string Domains = """
        domain TopicName: string
        domain ErrorCode: int16, enum ErrorCode
        """;

    public static GeneratorDriver NewDriver(params AdditionalText[] specs) => CSharpGeneratorDriver.Create(
        [new KspecGenerator().AsSourceGenerator()],
        specs,
        driverOptions: new GeneratorDriverOptions(
            IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));

    public static CSharpCompilation NewCompilation() => CSharpCompilation.Create("Generated");

    public static AdditionalText Shared() => new SpecText("/specs/shared.kspec", Domains);

    public static AdditionalText Spec(string name, string text) => new SpecText($"/specs/{name}.kspec", text);

    /// <summary>The diagnostics as "KSPEC000 file.kspec(line,column): text", lines and columns from 1.</summary>
    public static string[] Diagnostics(params AdditionalText[] specs)
    {
        var result = NewDriver([Shared(), .. specs]).RunGenerators(NewCompilation()).GetRunResult();
        Assert.All(result.Results, r => Assert.Null(r.Exception));
        return [.. result.Diagnostics.Select(Show).Order(StringComparer.Ordinal)];
    }

    /// <summary>The diagnostics of one spec named "test".</summary>
    public static string[] Diagnostics(string text) => Diagnostics(Spec("test", text));

    /// <summary>The generated sources by hint name.</summary>
    public static ImmutableDictionary<string, string> Sources(params AdditionalText[] specs) =>
        NewDriver([Shared(), .. specs])
            .RunGenerators(NewCompilation())
            .GetRunResult()
            .Results[0]
            .GeneratedSources
            .ToImmutableDictionary(s => s.HintName, s => s.SourceText.ToString());

    private static string Show(Diagnostic diagnostic)
    {
        var at = diagnostic.Location.GetLineSpan();
        Assert.Equal(DiagnosticSeverity.Error, diagnostic.Severity);
        return $"{diagnostic.Id} {Path.GetFileName(at.Path)}({at.StartLinePosition.Line + 1},"
            + $"{at.StartLinePosition.Character + 1}): {diagnostic.GetMessage()}";
    }

    /// <summary>A spec file in memory.</summary>
    public sealed class SpecText(string path, string text) : AdditionalText
    {
        public override string Path => path;

        public override SourceText GetText(CancellationToken cancellationToken = default) => SourceText.From(text);
    }
}
