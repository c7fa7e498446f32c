using static KBroker.Protocol.Tests.Generation.GeneratorHarness;

namespace KBroker.Protocol.Tests.Generation;

/// <summary>Every error in a spec is a compiler error at its line and column.</summary>
public sealed class DiagnosticTests
{
    private const string DataHead = "data Test, versions 1-4, flexible 3+\n";

    [Theory]
    [InlineData("  Name string", "KSPEC001 test.kspec(2,8): Expected ':' and a type.")]
    [InlineData("  name: string", "KSPEC001 test.kspec(2,3): Expected a name")]
    [InlineData("  Name:", "KSPEC001 test.kspec(2,8): Expected a type.")]
    [InlineData("  Name: [int32", "KSPEC001 test.kspec(2,15): Expected ']'.")]
    [InlineData("  Name: int32 = 5 bogus", "KSPEC001 test.kspec(2,19): Unknown word 'bogus'")]
    [InlineData("  Name: int32 @2+ = 5", "KSPEC001 test.kspec(2,19): Expected: Name: type")]
    [InlineData("  Name: int32 tag x @3+", "KSPEC001 test.kspec(2,19): Expected a number")]
    [InlineData("   Name: int32", "KSPEC002 test.kspec(2,1): Indent by two spaces")]
    [InlineData("\tName: int32", "KSPEC002 test.kspec(2,1): Indent with spaces")]
    [InlineData("    Name: int32", "KSPEC002 test.kspec(2,5): This line is indented deeper")]
    [InlineData("  Name: int32\n    Child: int32", "KSPEC002 test.kspec(3,5): A field of type int32 has no fields")]
    [InlineData("  Name: int12", "KSPEC003 test.kspec(2,9): 'int12' is neither")]
    [InlineData("  Name: Missing", "KSPEC003 test.kspec(2,9): There is no type or struct Missing.")]
    [InlineData("  Name: [Missing]", "KSPEC003 test.kspec(2,10): There is no type or struct Missing.")]
    [InlineData("  Name: [records]", "KSPEC003 test.kspec(2,10): There are no arrays of records.")]
    [InlineData("  Name: int32?", "KSPEC003 test.kspec(2,14): int32 cannot be null.")]
    [InlineData("  A: [S]\n    F: int8\n  B: [S]", "KSPEC003 test.kspec(4,7): S is defined in line elsewhere")]
    [InlineData("  Name: int32\n  Name: int8", "KSPEC004 test.kspec(3,3): There is already a field Name.")]
    [InlineData("  struct S\n    F: int8\n  struct S\n    G: int8", "KSPEC004 test.kspec(4,10): Another struct")]
    [InlineData("  Name: int32 @0-2", "KSPEC005 test.kspec(2,16): Versions 0-2 of Name are not within 1-4 of Test.")]
    [InlineData("  Name: int32 @5+", "KSPEC005 test.kspec(2,16): Versions 5+ of Name")]
    [InlineData("  Name: int32 @3-2", "KSPEC005 test.kspec(2,16): '3-2' is not a version range")]
    [InlineData("  Name: int32 @x", "KSPEC005 test.kspec(2,16): 'x' is not a version range")]
    [InlineData("  A: [S] @2-3\n    F: int8 @2-4", "KSPEC005 test.kspec(3,14): Versions 2-4 of F are not")]
    [InlineData("  Name: string?5+", "KSPEC005 test.kspec(2,16): Nullable versions 5+")]
    [InlineData("  Name: string?1-2 @2+", "KSPEC005 test.kspec(2,16): Nullable versions 1-2")]
    [InlineData("  struct S @3+\n    F: int8\n  A: S @2+", "KSPEC005 test.kspec(4,3): A is in versions 2-4, its")]
    [InlineData("  Name: int8 = 128", "KSPEC006 test.kspec(2,16): 128 does not fit int8.")]
    [InlineData("  Name: int8 = many", "KSPEC006 test.kspec(2,16): 'many' is not an integer.")]
    [InlineData("  Name: uint16 = -1", "KSPEC006 test.kspec(2,18): -1 does not fit uint16.")]
    [InlineData("  Name: bool = 1", "KSPEC006 test.kspec(2,16): The default of a bool is true or false.")]
    [InlineData("  Name: string = null", "KSPEC006 test.kspec(2,18): Name is never null")]
    [InlineData("  Name: string = text", "KSPEC006 test.kspec(2,18): The default of a string")]
    [InlineData("  Name: uuid = 5", "KSPEC006 test.kspec(2,16): Only null")]
    [InlineData("  Name: float64 = x", "KSPEC006 test.kspec(2,19): 'x' is not a number.")]
    [InlineData("  Name: int32 =", "KSPEC006 test.kspec(2,16): Expected a default value.")]
    [InlineData("  Name: int32 @2+ tag 0", "KSPEC007 test.kspec(2,23): Name is in versions 2-4, but tags")]
    [InlineData("  A: int32 @3+ tag 0\n  B: int32 @3+ tag 0", "KSPEC007 test.kspec(3,20): Tag 0 is already taken.")]
    [InlineData("  A: records @3+ tag 0", "KSPEC007 test.kspec(2,22): Records cannot be a tagged field.")]
    [InlineData("  Name: int32 as Nobody", "KSPEC009 test.kspec(2,18): There is no domain Nobody.")]
    [InlineData("  Name: int32 as TopicName", "KSPEC009 test.kspec(2,18): TopicName is a string, not a int32.")]
    [InlineData("  Name: string zero-copy", "KSPEC010 test.kspec(2,3): Only a field of type bytes can be zero-copy.")]
    [InlineData("  Name: bytes inflexible", "KSPEC010 test.kspec(2,3): Only an untagged string can be inflexible.")]
    [InlineData("  struct S\n    A: [S]\n  B: S", "KSPEC010 test.kspec(2,10): S contains itself.")]
    [InlineData("  struct S\n  A: S", "KSPEC010 test.kspec(2,10): S has no fields.")]
    public void An_error_in_a_field_is_reported_where_it_stands(string body, string expected)
    {
        string found = Assert.Single(Diagnostics(DataHead + body + "\n"));
        Assert.StartsWith(expected, found, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("api Fetch, versions 0", "KSPEC001 test.kspec(1,5): Expected a number")]
    [InlineData("api 1 Fetch versions 0", "KSPEC001 test.kspec(1,13): Expected ','")]
    [InlineData("api 1 Fetch, version 0", "KSPEC001 test.kspec(1,14): Unknown clause 'version'")]
    [InlineData("api 1 Fetch, versions 0, listeners client", "KSPEC001 test.kspec(1,36): A listener is broker or")]
    [InlineData("thing X, versions 0", "KSPEC001 test.kspec(1,1): Expected api,")]
    [InlineData("key 1 X, versions 0", "KSPEC001 test.kspec(1,7): X needs a clause 'catalog <name>'.")]
    [InlineData("domain X: int31", "KSPEC003 test.kspec(1,11): 'int31' is not a wire type.")]
    [InlineData("data X", "KSPEC005 test.kspec(1,6): X needs 'versions'")]
    [InlineData("data X, versions 0+", "KSPEC005 test.kspec(1,6): X needs 'versions'")]
    [InlineData("data X, versions 2-1", "KSPEC005 test.kspec(1,18): '2-1' is not a version range")]
    [InlineData("data X, versions 0-3, flexible 1-2", "KSPEC005 test.kspec(1,6): The flexible versions of X")]
    [InlineData("domain TopicName: string", "KSPEC004 test.kspec(1,8): There is already a domain TopicName.")]
    [InlineData("  Name: int32", "KSPEC002 test.kspec(1,3): This line is not inside anything.")]
    [InlineData(
        "api 1 Fetch, versions 0, listeners broker\nrequest\n  A: int8",
        "KSPEC010 test.kspec(1,7): Fetch needs a request and a response.")]
    [InlineData(
        "api 1 Fetch, versions 0\nrequest\n  A: int8\nresponse\n  A: int8",
        "KSPEC010 test.kspec(1,7): Fetch needs a clause 'listeners'.")]
    [InlineData(
        "api 1 Fetch, versions 0, listeners broker, private",
        "KSPEC010 test.kspec(1,7): An api has the clause 'private' if, and only if, its key is 20000 or larger.")]
    [InlineData("api 20000 Own, versions 0, listeners broker", "KSPEC010 test.kspec(1,11): An api has the clause")]
    [InlineData(
        "api 1 Fetch, versions 0, listeners broker, latest-unstable\nrequest\nresponse",
        "KSPEC005 test.kspec(1,7): The only version of an api cannot be unstable.")]
    public void An_error_in_a_head_line_is_reported_where_it_stands(string text, string expected)
    {
        string found = Assert.Single(Diagnostics(text + "\n"));
        Assert.StartsWith(expected, found, StringComparison.Ordinal);
    }

    [Fact]
    public void Numbers_and_names_taken_in_another_file_are_reported_at_the_later_file()
    {
        const string Head = ", versions 0, listeners broker\n";
        const string Key = ", catalog group, versions 0\n  A: int8\n";
        const string Body = "request\n  A: int8\nresponse\n  A: int8\n";
        string[] found = Diagnostics(
            Spec("a", "api 7 First" + Head + Body + "\nkey 3 K" + Key),
            Spec("b", "\napi 7 Second" + Head + Body + "\nkey 3 L" + Key),
            Spec("c", "data K, versions 0\n  A: int8\n"));
        Assert.Equal(
        [
            "KSPEC004 c.kspec(1,6): There is already a message K.",
            "KSPEC008 b.kspec(2,7): Api key 7 is already taken by another api.",
            "KSPEC008 b.kspec(8,7): The catalog group already has a key 3.",
        ],
        found);
    }

    [Fact]
    public void All_errors_of_a_file_are_reported_not_only_the_first()
    {
        string[] found = Diagnostics(DataHead + "  A: int99\n  B: int32\n  C: int8 = 1000\n\n  D: int32 @9+\n");
        Assert.Equal(3, found.Length);
        Assert.Contains(found, f => f.StartsWith("KSPEC003 test.kspec(2,6)", StringComparison.Ordinal));
        Assert.Contains(found, f => f.StartsWith("KSPEC006 test.kspec(4,13)", StringComparison.Ordinal));
        Assert.Contains(found, f => f.StartsWith("KSPEC005 test.kspec(6,13)", StringComparison.Ordinal));
    }

    [Fact]
    public void A_spec_without_errors_has_no_diagnostics() =>
        Assert.Empty(Diagnostics(DataHead + "  Name: string? as TopicName = null @3+ tag 1 key ignorable\n"));
}
