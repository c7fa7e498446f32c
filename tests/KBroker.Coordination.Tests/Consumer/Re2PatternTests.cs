using KBroker.Coordination.Groups.Consumer.Subscriptions;

namespace KBroker.Coordination.Tests.Consumer;

public sealed class Re2PatternTests
{
    [Theory]
    [InlineData("foo", "foo", true)]
    [InlineData("foo", "foobar", false)]
    [InlineData("foo.*", "foobar", true)]
    [InlineData("foo|bar.*", "barx", true)]
    [InlineData("foo|bar.*", "foox", false)]
    [InlineData("^foo$", "foo", true)]
    [InlineData("(?i)FOO", "foo", true)]
    [InlineData("(?i:F)oo", "foo", true)]
    [InlineData("(?i:F)OO", "foo", false)]
    [InlineData("(?P<x>a+)(?<y>b)", "aab", true)]
    [InlineData(@"\d{2,3}", "12", true)]
    [InlineData(@"\d{2,3}", "1234", false)]
    [InlineData(@"\Qa.b\E+", "a.bb", true)]
    [InlineData(@"\Qa.b\E+", "aXb", false)]
    [InlineData("[[:alpha:]]+[[:^alpha:]]", "abc1", true)]
    [InlineData("[[:^alpha:]]", "a", false)]
    [InlineData("[]a]", "]", true)]
    [InlineData("[^]a]", "]", false)]
    [InlineData("[a-c-]+", "a-c", true)]
    [InlineData("[a-z-[aeiou]]", "b]", true)]
    [InlineData("[a-z-[aeiou]]", "b", false)]
    [InlineData(@"[\d\-x]+", "1-x", true)]
    [InlineData(@"\pL+", "abc", true)]
    [InlineData(@"\p{Greek}", "a", false)]
    [InlineData(@"\x41\x{42}\103", "ABC", true)]
    [InlineData("a{,2}", "a{,2}", true)]
    [InlineData("a{2", "a{2", true)]
    [InlineData("a#b c", "a#b c", true)]
    [InlineData("(|a)*", "aa", true)]
    [InlineData(@"\bfoo\b", "foo", true)]
    [InlineData(".", "-", true)]
    [InlineData("(a+)+", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false)]
    public void Expressions_match_whole_names(string expression, string topic, bool expected) =>
        Assert.Equal(expected, Re2Pattern.Compile(expression).Matches(topic));

    // The words are those of RE2/J 1.8, which Kafka puts into its answer.
    [Theory]
    [InlineData("[", "missing closing ]")]
    [InlineData("[a", "missing closing ]")]
    [InlineData("[z-a]", "invalid character class range")]
    [InlineData("[[:foo:]]", "invalid character class range")]
    [InlineData(@"\p{Foo}", "invalid character class range")]
    [InlineData("(", "missing closing )")]
    [InlineData("a)", "regexp/syntax: internal error")]
    [InlineData("*a", "missing argument to repetition operator")]
    [InlineData("a|*", "missing argument to repetition operator")]
    [InlineData("(?i)*", "missing argument to repetition operator")]
    [InlineData("a**", "invalid nested repetition operator")]
    [InlineData("a{2}{3}", "invalid nested repetition operator")]
    [InlineData("a{1001}", "invalid repeat count")]
    [InlineData("a{3,2}", "invalid repeat count")]
    [InlineData("((a{100}){100}){100}", "invalid repeat count")]
    [InlineData("a\\", "trailing backslash at end of expression")]
    [InlineData(@"\1", "invalid escape sequence")]
    [InlineData(@"\y", "invalid escape sequence")]
    [InlineData(@"[\b]", "invalid escape sequence")]
    [InlineData("(?=a)", "invalid or unsupported Perl syntax")]
    [InlineData("(?!a)", "invalid or unsupported Perl syntax")]
    [InlineData("(?>a)", "invalid or unsupported Perl syntax")]
    [InlineData("(?<=a)", "invalid named capture")]
    [InlineData("(?i", "invalid or unsupported Perl syntax")]
    [InlineData("(?#c)", "invalid or unsupported Perl syntax")]
    [InlineData("(?P<n>a)(?P<n>b)", "duplicate capture group name")]
    [InlineData("(?P<>a)", "invalid named capture")]
    public void What_re2_does_not_accept_is_refused_in_its_words(string expression, string description)
    {
        var refusal = Assert.Throws<Re2Exception>(() => Re2Pattern.Compile(expression));
        Assert.Equal(description, refusal.Message);
    }

    [Fact]
    public void Expressions_are_bounded()
    {
        Assert.Throws<Re2Exception>(() => Re2Pattern.Compile(new string('a', Re2Pattern.MaxLength + 1)));
        Assert.Throws<Re2Exception>(() => Re2Pattern.Compile(new string('(', 2000)));
        Assert.Throws<Re2Exception>(() => Re2Pattern.Compile(
            string.Concat(Enumerable.Repeat("(?:a{30}){30}", 100))));
    }
}
