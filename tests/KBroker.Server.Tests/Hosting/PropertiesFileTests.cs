using KBroker.Server.Hosting;

namespace KBroker.Server.Tests.Hosting;

public sealed class PropertiesFileTests
{
    [Theory]
    [InlineData("a=b", "a", "b")]
    [InlineData("a = b ", "a", "b ")]
    [InlineData("  a:b", "a", "b")]
    [InlineData("a b c", "a", "b c")]
    [InlineData("a\t=\tb=c", "a", "b=c")]
    [InlineData("a", "a", "")]
    [InlineData("a=", "a", "")]
    [InlineData("a\\=b=c", "a=b", "c")]
    [InlineData("a\\ b\\:c d", "a b:c", "d")]
    [InlineData("a=x\\ty\\nz\\\\", "a", "x\ty\nz\\")]
    [InlineData("a=\\u0041\\u00e9", "a", "A\u00e9")]
    [InlineData("a=\\q", "a", "q")]
    [InlineData("a=b \\\n   c\\\n\td", "a", "b cd")]
    [InlineData("a=b\\\\\nx=y", "a", "b\\")]
    [InlineData("a=b\r\n", "a", "b")]
    [InlineData("a=b\\\n#c", "a", "b#c")]
    [InlineData("a=b\\", "a", "b")]
    public void A_line_is_read_as_Java_reads_it(string text, string key, string value)
    {
        var properties = PropertiesFile.Parse(text);
        Assert.Equal(value, properties[key]);
    }

    [Theory]
    [InlineData("")]
    [InlineData("# comment=1\n! comment=2\n\n   \t\n  # comment \\\n")]
    public void Comments_and_blank_lines_hold_nothing(string text) => Assert.Empty(PropertiesFile.Parse(text));

    [Fact]
    public void A_comment_does_not_continue() =>
        Assert.Equal("1", PropertiesFile.Parse("# comment \\\na=1")["a"]);

    [Fact]
    public void The_last_of_several_values_wins_and_is_reported()
    {
        var warnings = new List<string>();
        var properties = PropertiesFile.Parse("a=1\nb=1\na=2\nb=1\n", warnings.Add);
        Assert.Equal("2", properties["a"]);
        Assert.Equal("line 3 sets a again; the earlier value is not used", Assert.Single(warnings));
    }

    [Theory]
    [InlineData("x=1\na=\\u12")]
    [InlineData("x=1\na=\\u12zz")]
    public void A_malformed_escape_is_an_error_that_names_the_line(string text) =>
        Assert.Contains("line 2", Assert.Throws<FormatException>(() => PropertiesFile.Parse(text)).Message);
}
