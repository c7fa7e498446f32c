using KBroker.Protocol.Messages;

namespace KBroker.Protocol.Tests.Messages;

public sealed class MetadataRecordCodecTests
{
    [Fact]
    public void A_record_is_framed_by_frame_version_type_and_version()
    {
        byte[] value = MetadataRecordCodec.Encode(new FeatureLevelRecord { Name = "m", FeatureLevel = 29 }, 0);
        Assert.Equal("010c00026d001d00", Convert.ToHexStringLower(value));
        var record = Assert.IsType<FeatureLevelRecord>(MetadataRecordCodec.Decode(value, out short version));
        Assert.Equal(("m", 29, 0), (record.Name, record.FeatureLevel, version));
    }

    [Theory]
    [InlineData("")]
    [InlineData("000c00026d001d00")] // frame version 0
    [InlineData("017f00")] // unknown type
    [InlineData("01ffffff0f00")]
    [InlineData("010c01026d001d00")] // unknown version
    [InlineData("010c00026d001d0000")] // a byte too many
    [InlineData("010c00026d00")] // too short
    public void Anything_else_is_refused(string hex) =>
        Assert.Throws<ProtocolException>(() => MetadataRecordCodec.Decode(Convert.FromHexString(hex)));

    [Fact]
    public void Only_records_can_be_stored() =>
        Assert.Throws<ArgumentException>(() => MetadataRecordCodec.Encode(new FetchRequest(), 4));
}
