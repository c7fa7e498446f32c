using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using KBroker.Protocol.Generator.Emit;
using KBroker.Protocol.Generator.Spec;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Text;

namespace KBroker.Protocol.Generator;

/// <summary>
/// Turns every <c>.kspec</c> file among the additional files into message classes. Each file is parsed and emitted by
/// itself, so that a change of one spec re-generates that one; only the tables that span all specs are made from all.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class KspecGenerator : IIncrementalGenerator
{
    /// <summary>The names of the pipeline's steps, for the test that checks what is cached.</summary>
    internal const string ParseStep = "KspecParse", EmitStep = "KspecEmit", CatalogStep = "KspecCatalog";

    private static readonly Dictionary<string, DiagnosticDescriptor> Descriptors = SpecErrors.All.ToDictionary(
        id => id,
        id => new DiagnosticDescriptor(
            id, SpecErrors.Title(id), "{0}", "KBroker.Protocol", DiagnosticSeverity.Error, isEnabledByDefault: true));

    /// <inheritdoc/>
    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<SpecFile> files = context.AdditionalTextsProvider
            .Where(static text => text.Path.EndsWith(".kspec", StringComparison.OrdinalIgnoreCase))
            .Select(static (text, cancel) =>
                SpecParser.Parse(text.Path, text.GetText(cancel)?.ToString() ?? ""))
            .WithTrackingName(ParseStep);
        IncrementalValueProvider<EquatableArray<FileEntries>> entries = files
            .Select(static (file, _) => FileEntries.Of(file))
            .Collect()
            .Select(static (all, _) => new EquatableArray<FileEntries>(all))
            .WithTrackingName(CatalogStep);
        IncrementalValueProvider<EquatableArray<DomainSpec>> domains = entries
            .Select(static (all, _) => new EquatableArray<DomainSpec>(all.Items.SelectMany(f => f.Domains.Items)));
        IncrementalValuesProvider<Output> outputs = files.Combine(domains)
            .Select(static (pair, _) => Emit(pair.Left, pair.Right.Items))
            .WithTrackingName(EmitStep);
        context.RegisterSourceOutput(outputs, static (target, output) =>
        {
            foreach (SpecError error in output.Errors.Items) Report(target, error);
            if (output.Source.Length > 0) target.AddSource(output.HintName, output.Source);
        });
        context.RegisterSourceOutput(entries, static (target, all) => EmitCatalog(target, all.Items));
    }

    private static Output Emit(SpecFile file, IReadOnlyList<DomainSpec> domains)
    {
        List<SpecError> errors = file.Errors.Concat(CatalogChecks.CheckDomains(file, domains)).ToList();
        string source = "";
        if (errors.Count == 0 && file.Messages.Count > 0)
        {
            Dictionary<string, string> enums = domains
                .Where(d => d.EnumType is not null)
                .GroupBy(d => d.Name)
                .ToDictionary(g => g.Key, g => g.First().EnumType!);
            source = MessageEmitter.Emit(file, enums);
        }

        string folder = Path.GetFileName(Path.GetDirectoryName(file.Path) ?? "");
        string hint = "Messages/" + folder + "." + Path.GetFileNameWithoutExtension(file.Path) + ".g.cs";
        return new Output(hint, source, new EquatableArray<SpecError>(errors));
    }

    private static void EmitCatalog(SourceProductionContext target, FileEntries[] files)
    {
        List<SpecError> errors = CatalogChecks.Run(files);
        foreach (SpecError error in errors) Report(target, error);
        if (errors.Count > 0) return;
        List<ApiEntry> apis = files.SelectMany(f => f.Apis.Items).OrderBy(a => a.Key).ToList();
        if (apis.Count > 0)
        {
            target.AddSource("ApiKey.g.cs", CatalogEmitter.ApiKeys(apis));
            target.AddSource("ApiCatalog.g.cs", CatalogEmitter.ApiTable(apis));
        }

        List<MessageEntry> messages = files.SelectMany(f => f.Messages.Items).ToList();
        if (messages.Count > 0) target.AddSource("MessageReader.g.cs", CatalogEmitter.Readers(apis, messages));
    }

    private static void Report(SourceProductionContext target, SpecError error)
    {
        SpecPosition at = error.Position;
        var start = new LinePosition(at.Line, at.Column);
        var span = new LinePositionSpan(start, new LinePosition(at.Line, at.Column + at.Length));
        Location location = Location.Create(error.Path, new TextSpan(0, at.Length), span);
        target.ReportDiagnostic(Diagnostic.Create(Descriptors[error.Id], location, error.Message));
    }

    private sealed record Output(string HintName, string Source, EquatableArray<SpecError> Errors);
}
