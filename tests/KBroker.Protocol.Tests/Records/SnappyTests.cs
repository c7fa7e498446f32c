using System.Buffers;
using KBroker.Protocol.Records;

namespace KBroker.Protocol.Tests.Records;

public sealed class SnappyTests
{
    private readonly CompressionCodec _snappy = new CompressionCodecs().Get(CompressionType.Snappy);

    [Theory]
    [InlineData("", "00")]
    [InlineData("616263", "03 08 616263")]
    [InlineData("6161616161616161", "08 00 61 0d 01")] // Overlapping copy, one byte of distance.
    [InlineData("61626162616261626162", "0a 04 6162 1e 0200")] // Copy with two bytes of distance.
    [InlineData("61626162616261626162", "0a 04 6162 1f 02000000")] // Copy with four.
    [InlineData("616263", "03 f0 02 616263")] // Literal with one length byte.
    [InlineData("616263", "03 f4 0200 616263")]
    [InlineData("616263", "03 fc 02000000 616263")]
    public void A_raw_block_is_read(string content, string block)
    {
        var output = new ArrayBufferWriter<byte>();
        _snappy.Decompress(Hex(block), output, 100);
        Assert.Equal(content, Convert.ToHexStringLower(output.WrittenSpan));
    }

    [Theory]
    [InlineData("")]
    [InlineData("80")] // The length ends early.
    [InlineData("ffffffffff01 00 61")] // The length is too long.
    [InlineData("ffffffff0f 00 61")] // No block of this size can hold 4 GiB.
    [InlineData("03 08 6162")] // The literal ends early.
    [InlineData("03 08 616263 00 61")] // More than the length.
    [InlineData("04 08 616263")] // Less than the length.
    [InlineData("08 00 61 0d 02")] // Distance before the start.
    [InlineData("08 00 61 0d 00")] // Distance zero.
    [InlineData("08 00 61 0d")] // The distance ends early.
    [InlineData("08 00 61 1f ffffffff")] // Negative distance.
    [InlineData("03 fc ffffffff 616263")] // A literal of 4 GiB.
    [InlineData("00 00")] // Bytes behind an empty block.
    [InlineData("82534e4150505900 00000001")] // The stream header ends early.
    [InlineData("82534e4150505900 00000001 00000001 000000")] // The block length ends early.
    [InlineData("82534e4150505900 00000001 00000001 00000006 03 08 6162")] // The block ends early.
    [InlineData("82534e4150505900 00000001 00000001 ffffffff 03 08 6162")] // Negative block length.
    public void A_block_that_does_not_hold_is_refused(string block) =>
        Assert.Throws<InvalidRecordException>(() =>
            _snappy.Decompress(Hex(block), new ArrayBufferWriter<byte>(), 1 << 20));

    [Fact]
    public void The_stream_header_may_come_again_between_blocks()
    {
        const string Stream = "82534e4150505900 00000001 00000001 00000005 03 08 616263";
        var output = new ArrayBufferWriter<byte>();
        _snappy.Decompress(Hex(Stream + Stream), output, 6);
        Assert.Equal("abcabc"u8, output.WrittenSpan);
        Assert.Throws<InvalidRecordException>(() =>
            _snappy.Decompress(Hex(Stream + Stream), new ArrayBufferWriter<byte>(), 5));
    }

    [Fact]
    public void It_is_written_in_the_framing_of_the_Java_clients_with_blocks_of_32_KiB()
    {
        var output = new ArrayBufferWriter<byte>();
        _snappy.Compress(new byte[40_000], output);
        var bytes = output.WrittenSpan;
        Assert.Equal("82534e41505059000000000100000001", Convert.ToHexStringLower(bytes[..16]));
        var size = System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(bytes[16..]);
        Assert.True(SnappyBlock.TryReadLength(bytes.Slice(20, size), out var first, out _));
        Assert.Equal(32 * 1024, first);
        Assert.True(bytes.Length < 3000, "zeros compress");
    }

    [Fact]
    public void Random_mixtures_of_noise_and_repetition_survive_a_block()
    {
        var random = new Random(5);
        var table = new ushort[SnappyBlock.HashTableEntries];
        for (var round = 0; round < 500; round++)
        {
            var content = new byte[random.Next(0, round % 10 == 0 ? SnappyBlock.MaxCompressBytes + 1 : 3000)];
            for (var at = 0; at < content.Length;)
            {
                var length = Math.Min(random.Next(1, 200), content.Length - at);
                if (at > 0 && random.Next(2) == 0)
                {
                    var from = random.Next(Math.Max(0, at - 5000), at);
                    for (var i = 0; i < length; i++)
                        content[at + i] = content[from + i];
                }
                else
                {
                    random.NextBytes(content.AsSpan(at, length));
                }

                at += length;
            }

            var block = new byte[SnappyBlock.MaxCompressedLength(content.Length)];
            var size = SnappyBlock.Compress(content, block, table);
            Assert.True(SnappyBlock.TryReadLength(block.AsSpan(0, size), out var read, out var header));
            var output = new byte[read];
            Assert.True(SnappyBlock.TryDecompress(block.AsSpan(header, size - header), output));
            Assert.Equal(content, output);
        }
    }

    private static byte[] Hex(string text) => Convert.FromHexString(text.Replace(" ", ""));
}
