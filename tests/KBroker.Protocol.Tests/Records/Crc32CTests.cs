using System.Buffers;
using KBroker.Protocol.Records;

namespace KBroker.Protocol.Tests.Records;

public sealed class Crc32CTests
{
    [Theory]
    [InlineData("", 0u)]
    [InlineData("313233343536373839", 0xE3069283u)]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000", 0x8A9136AAu)]
    [InlineData("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 0x62A8AB43u)]
    public void Published_check_values_come_out(string hex, uint expected)
    {
        var bytes = Convert.FromHexString(hex);
        Assert.Equal(expected, Crc32C.Compute(bytes));
        Assert.Equal(expected, ~Crc32C.AppendSoftware(~0u, bytes));
    }

    [Fact]
    public void The_instruction_and_the_tables_agree_at_every_length_around_the_lanes()
    {
        var bytes = new byte[30_000];
        new Random(7).NextBytes(bytes);
        int[] around = [0, 8, 256, 768, 1536, 4096, 12_288, 13_056, 24_576, 29_000];
        foreach (var length in around.SelectMany(center => Enumerable.Range(Math.Max(0, center - 20), 40)))
        {
            var start = length % 17;
            var data = bytes.AsSpan(start, length);
            Assert.Equal(~Crc32C.AppendSoftware(~0u, data), Crc32C.Compute(data));
        }
    }

    [Fact]
    public void Appending_piece_by_piece_gives_the_checksum_of_the_whole()
    {
        var bytes = new byte[50_000];
        new Random(8).NextBytes(bytes);
        var whole = Crc32C.Compute(bytes);
        Assert.Equal(whole, Crc32C.Append(Crc32C.Compute(bytes.AsSpan(0, 12_289)), bytes.AsSpan(12_289)));
        Assert.Equal(whole, Crc32C.Compute(BatchVectors.Fragment(bytes, 1, 4096, 13_000, 7)));
        Assert.Equal(whole, Crc32C.Compute(new ReadOnlySequence<byte>(bytes)));
    }
}
