namespace KBroker.Protocol.Tests.Wire;

public sealed class UuidTests
{
    [Fact]
    public void Its_text_is_22_characters_of_base64url()
    {
        Assert.Equal("AAAAAAAAAAAAAAAAAAAAAA", Uuid.Zero.ToString());
        var uuid = new Uuid(unchecked((long)0xfbefbefbefbefbef), -1);
        Assert.Equal("----------__________8w".Length, uuid.ToString().Length);
        Assert.Equal(uuid, Uuid.Parse(uuid.ToString()));
    }

    [Theory]
    [InlineData("")]
    [InlineData(null)]
    [InlineData("AAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAA+")]
    [InlineData("AAAAAAAAAAAAAAAAAAAA==")]
    public void Other_texts_are_refused(string? text) => Assert.False(Uuid.TryParse(text, out _));

    [Fact]
    public void A_random_one_is_version_4_and_never_starts_with_a_minus()
    {
        var random = new Random(1);
        for (int i = 0; i < 2000; i++)
        {
            var uuid = Uuid.Random(random.NextBytes);
            Assert.NotEqual('-', uuid.ToString()[0]);
            Assert.Equal(4, (uuid.MostSignificant >> 12) & 0xf);
            Assert.Equal(2, (uuid.LeastSignificant >> 62) & 3);
        }

        Assert.NotEqual(Uuid.Random(), Uuid.Random());
    }

    [Fact]
    public void Its_bytes_are_most_significant_first()
    {
        byte[] bytes = new byte[16];
        new Uuid(1, 2).Write(bytes);
        Assert.Equal("00000000000000010000000000000002", Convert.ToHexString(bytes));
        Assert.Equal(new Uuid(1, 2), Uuid.Read(bytes));
    }

    [Fact]
    public void Order_and_equality_go_by_the_halves()
    {
        Uuid[] sorted = [new(-1, 5), new(0, -1), new(0, 1), new(1, 0)];
        Assert.Equal(sorted, sorted.Reverse().Order());
        Assert.True(new Uuid(1, 2) == new Uuid(1, 2));
        Assert.True(new Uuid(1, 2) != new Uuid(2, 1));
        Assert.True(Uuid.Zero.IsZero);
    }
}
