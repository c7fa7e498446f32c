using KBroker.Protocol.Generator;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using static KBroker.Protocol.Tests.Generation.GeneratorHarness;

namespace KBroker.Protocol.Tests.Generation;

/// <summary>What the generator does again after a change, and what it takes from its cache.</summary>
public sealed class IncrementalTests
{
    private static readonly AdditionalText A = Spec("a", "data A, versions 0\n  One: int32\n");
    private static readonly AdditionalText B = Spec("b", "data B, versions 0\n  Two: int32\n");

    [Fact]
    public void A_change_of_code_reads_no_spec_again()
    {
        var driver = NewDriver(Shared(), A, B).RunGenerators(NewCompilation());
        var tree = CSharpSyntaxTree.ParseText("class X { }", cancellationToken: CancellationToken.None);
        var changed = NewCompilation().AddSyntaxTrees(tree);
        var result = driver.RunGenerators(changed).GetRunResult().Results[0];
        Assert.All(Reasons(result, KspecGenerator.ParseStep), r => Assert.Equal(IncrementalStepRunReason.Cached, r));
        Assert.All(Reasons(result, KspecGenerator.EmitStep), r => Assert.Equal(IncrementalStepRunReason.Cached, r));
    }

    [Fact]
    public void A_changed_spec_is_emitted_again_and_the_others_are_not()
    {
        var driver = NewDriver(Shared(), A, B).RunGenerators(NewCompilation());
        var changed = Spec("b", "data B, versions 0\n  Two: int64\n");
        var result = driver.ReplaceAdditionalText(B, changed).RunGenerators(NewCompilation()).GetRunResult().Results[0];
        var emitted = Reasons(result, KspecGenerator.EmitStep);
        Assert.Equal(1, emitted.Count(r => r is IncrementalStepRunReason.Modified));
        Assert.Equal(2, emitted.Count(r => r is IncrementalStepRunReason.Cached or IncrementalStepRunReason.Unchanged));
        Assert.Contains(result.GeneratedSources, s => s.SourceText.ToString().Contains("long Two"));
    }

    [Fact]
    public void A_spec_given_again_with_the_same_text_changes_nothing()
    {
        var driver = NewDriver(Shared(), A, B).RunGenerators(NewCompilation());
        var same = Spec("b", "data B, versions 0\n  Two: int32\n");
        var result = driver.ReplaceAdditionalText(B, same).RunGenerators(NewCompilation()).GetRunResult().Results[0];
        Assert.All(
            Reasons(result, KspecGenerator.EmitStep).Concat(Reasons(result, KspecGenerator.CatalogStep)),
            r => Assert.True(r is IncrementalStepRunReason.Cached or IncrementalStepRunReason.Unchanged, r.ToString()));
    }

    [Fact]
    public void Documentation_of_a_spec_becomes_documentation_of_the_code()
    {
        const string Text = "# What it <is>.\ndata Doc, versions 0\n  # How many.\n  # Two lines.\n  One: int32\n";
        var sources = Sources(Spec("doc", Text));
        string source = sources["Messages/specs.doc.g.cs"];
        Assert.Contains("/// <summary>What it &lt;is&gt;. Versions 0.</summary>", source, StringComparison.Ordinal);
        Assert.Contains("/// <summary>How many. Two lines. (int32, versions 0)</summary>", source);
    }

    private static List<IncrementalStepRunReason> Reasons(GeneratorRunResult result, string step) =>
        [.. result.TrackedSteps[step].SelectMany(s => s.Outputs).Select(o => o.Reason)];
}
