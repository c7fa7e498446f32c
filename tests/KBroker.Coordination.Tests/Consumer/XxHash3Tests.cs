using System.Globalization;
using KBroker.Coordination.Groups.Consumer.Subscriptions;

namespace KBroker.Coordination.Tests.Consumer;

public sealed class XxHash3Tests
{
    // Made with hash4j 0.22 (which Kafka uses) over the bytes i * 7 + 3.
    [Theory]
    [InlineData(0, 0x2d06800538d394c2)]
    [InlineData(1, 0x13e608bc156defed)]
    [InlineData(2, 0x1c9074b93943b86c)]
    [InlineData(3, 0xa9088dda485b481c)]
    [InlineData(4, 0x6d9253b16c8b1ed3)]
    [InlineData(7, 0x8e8291ad89127e2e)]
    [InlineData(8, 0x60539db630471163)]
    [InlineData(9, 0xfeff668361d723a8)]
    [InlineData(12, 0x6829454be0cc3199)]
    [InlineData(16, 0xb8c859b0f030b585)]
    [InlineData(17, 0x714a04408e79b80f)]
    [InlineData(32, 0x19ff4ee1d6ba1a55)]
    [InlineData(33, 0x3e44983ad21679c8)]
    [InlineData(64, 0x287eb1fa9e4be2c1)]
    [InlineData(65, 0x829218de4d798646)]
    [InlineData(96, 0xf084e7cfbc624743)]
    [InlineData(128, 0x67425a03650261bf)]
    [InlineData(129, 0xc664bf3311c6abc4)]
    [InlineData(160, 0xd70dea8de694b883)]
    [InlineData(240, 0x64556dc6b462a6cf)]
    [InlineData(241, 0x8beadd3a8874fe17)]
    [InlineData(256, 0x3c38817f6d79c0da)]
    [InlineData(512, 0xf58202b8d9019d1d)]
    [InlineData(1023, 0xd26986a0b85dcc44)]
    [InlineData(1024, 0x9b81661c641c72b1)]
    [InlineData(1025, 0x806c2072ed713576)]
    [InlineData(1088, 0x2f8781e01841f0da)]
    [InlineData(2048, 0xabe604813ba62ed1)]
    [InlineData(2049, 0x55aed42c9f1554b6)]
    [InlineData(5000, 0x799aaddd7339581d)]
    public void The_hash_is_that_of_other_implementations(int length, ulong expected)
    {
        var bytes = Enumerable.Range(0, length).Select(static i => (byte)((i * 7) + 3)).ToArray();
        Assert.Equal(
            expected.ToString("x", CultureInfo.InvariantCulture),
            XxHash3.Hash(bytes).ToString("x", CultureInfo.InvariantCulture));
    }
}
