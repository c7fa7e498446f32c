using System.Buffers;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Tests.Support;

namespace KBroker.Protocol.Tests.Wire;

public sealed class ProtocolReaderTests
{
    private delegate T Reading<out T>(ref ProtocolReader reader);

    [Theory]
    [InlineData("00", 0u)]
    [InlineData("7f", 127u)]
    [InlineData("8001", 128u)]
    [InlineData("ffff03", 65535u)]
    [InlineData("ffffffff0f", uint.MaxValue)]
    public void Unsigned_varints_are_seven_bits_a_byte(string hex, uint expected) =>
        Assert.Equal(expected, Read(hex, (ref ProtocolReader r) => r.ReadUnsignedVarint()));

    [Theory]
    [InlineData("00", 0)]
    [InlineData("01", -1)]
    [InlineData("02", 1)]
    [InlineData("feffffff0f", int.MaxValue)]
    [InlineData("ffffffff0f", int.MinValue)]
    public void Signed_varints_alternate_around_zero(string hex, int expected)
    {
        Assert.Equal(expected, Read(hex, (ref ProtocolReader r) => r.ReadVarint()));
        using var writer = new ProtocolWriter();
        writer.WriteVarint(expected);
        Assert.Equal(hex, Convert.ToHexStringLower(writer.ToArray()));
    }

    [Theory]
    [InlineData("")]
    [InlineData("80")]
    [InlineData("ffffffff1f")]
    [InlineData("ffffffff8f00")]
    public void A_varint_without_end_or_beyond_32_bits_is_refused(string hex) =>
        Refused(hex, (ref ProtocolReader r) => r.ReadUnsignedVarint());

    [Theory]
    [InlineData("0003c3a461", false)]
    [InlineData("04c3a461", true)]
    public void A_string_is_a_length_and_utf8(string hex, bool flexible) =>
        Assert.Equal("äa", Read(hex, (ref ProtocolReader r) => r.ReadString(flexible)));

    [Theory]
    [InlineData("0002c328")] // a broken sequence
    [InlineData("0003eda080")] // half a surrogate pair
    [InlineData("0001ff")]
    [InlineData("000561")] // longer than the input
    [InlineData("fffe")] // a negative length that is not null
    [InlineData("ffff")] // null
    public void A_string_that_is_not_utf8_or_too_short_is_refused(string hex) =>
        Refused(hex, (ref ProtocolReader r) => r.ReadString(false));

    [Fact]
    public void A_compact_string_above_32767_bytes_is_refused()
    {
        using var writer = new ProtocolWriter();
        writer.WriteUnsignedVarint(32768 + 1);
        writer.WriteRaw(new byte[32768]);
        Refused(Convert.ToHexString(writer.ToArray()), (ref ProtocolReader r) => r.ReadString(true));
    }

    [Fact]
    public void Null_strings_are_told_from_empty_ones()
    {
        Assert.Null(Read("ffff", (ref ProtocolReader r) => r.ReadNullableString(false)));
        Assert.Null(Read("00", (ref ProtocolReader r) => r.ReadNullableString(true)));
        Assert.Equal("", Read("0000", (ref ProtocolReader r) => r.ReadNullableString(false)));
        Assert.Equal("", Read("01", (ref ProtocolReader r) => r.ReadNullableString(true)));
    }

    [Theory]
    [InlineData("fffffffe")] // -2
    [InlineData("7fffffff")]
    [InlineData("0000000200000001")] // two, where one is
    [InlineData("ffffffff")] // null
    public void An_array_count_that_cannot_be_is_refused(string hex) =>
        Refused(hex, (ref ProtocolReader r) => r.ReadInt32List(false));

    [Fact]
    public void A_count_of_two_billion_allocates_nothing()
    {
        byte[] bytes = Convert.FromHexString("7fffffff00000000");
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<ProtocolException>(() => { new ProtocolReader(bytes).ReadInt64List(false); });
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 16 * 1024);
    }

    [Fact]
    public void Lists_of_numbers_are_read_across_segments()
    {
        using var writer = new ProtocolWriter();
        List<int> ints = [1, -2, int.MaxValue];
        List<long> longs = [1, long.MinValue];
        List<short> shorts = [1, -2];
        List<sbyte> bytes = [1, -2];
        List<Uuid> uuids = [new(1, 2), new(-3, -4)];
        writer.WriteInt32List(ints, true);
        writer.WriteInt64List(longs, false);
        writer.WriteInt16List(shorts, true);
        writer.WriteInt8List(bytes, false);
        writer.WriteUuidList(uuids, true);
        var reader = new ProtocolReader(Pieces.Split(writer.ToArray(), 3));
        Assert.Equal(ints, reader.ReadInt32List(true));
        Assert.Equal(longs, reader.ReadInt64List(false));
        Assert.Equal(shorts, reader.ReadInt16List(true));
        Assert.Equal(bytes, reader.ReadInt8List(false));
        Assert.Equal(uuids, reader.ReadUuidList(true));
        Assert.Equal(0, reader.Remaining);
    }

    [Fact]
    public void Records_are_slices_of_the_input_and_bytes_are_copies()
    {
        byte[] bytes = [0, 0, 0, 2, 7, 8, 0, 0, 0, 1, 9, 0, 0, 0, 1, 10];
        var reader = new ProtocolReader(bytes);
        Assert.True(reader.ReadRecords(false)!.Value.TryGetBytes(out var records));
        var copy = reader.ReadBytes(false);
        var slice = reader.ReadBytesSlice(false);
        Array.Fill(bytes, (byte)99);
        Assert.Equal([99, 99], records.ToArray());
        Assert.Equal([9], copy.ToArray());
        Assert.Equal([99], slice.ToArray());
    }

    [Fact]
    public void Records_that_lie_in_several_segments_are_not_copied()
    {
        byte[] bytes = [0, 0, 0, 5, 1, 2, 3, 4, 5, 6];
        var reader = new ProtocolReader(Pieces.Split(bytes, 3));
        Assert.True(reader.ReadRecords(false)!.Value.TryGetBytes(out var records));
        Assert.False(records.IsSingleSegment);
        Assert.Equal([1, 2, 3, 4, 5], records.ToArray());
        Assert.Equal(6, reader.ReadInt8());
        Assert.Equal(10, reader.Consumed);
    }

    [Fact]
    public void Skipping_stops_at_the_end()
    {
        var reader = new ProtocolReader(Pieces.Split(new byte[10], 4));
        reader.Skip(9);
        Assert.Equal(1, reader.Remaining);
        Refused("0000", (ref ProtocolReader r) =>
        {
            r.Skip(3);
            return 0;
        });
    }

    [Fact]
    public void A_tagged_field_must_have_the_size_that_it_announces()
    {
        // FetchRequest v18 with tag 0 (cluster id "a"), its size one too large.
        using var writer = new ProtocolWriter();
        new FetchRequest { ClusterId = "a" }.Write(writer, 18);
        byte[] bytes = writer.ToArray();
        Assert.Equal([1, 0, 2, 2, (byte)'a'], bytes[^5..]);
        bytes[^3] = 1;
        Assert.Throws<ProtocolException>(() =>
        {
            var reader = new ProtocolReader(bytes);
            FetchRequest.Read(ref reader, 18);
        });
    }

    [Fact]
    public void Bytes_behind_a_message_are_noticed_when_asked_for() => Assert.Throws<ProtocolException>(() =>
    {
        var reader = new ProtocolReader(new byte[5]);
        reader.ReadInt32();
        reader.EnsureEnd();
    });

    private static T Read<T>(string hex, Reading<T> reading)
    {
        byte[] bytes = Convert.FromHexString(hex);
        var whole = new ProtocolReader(bytes);
        T value = reading(ref whole);
        Assert.Equal(0, whole.Remaining);
        var pieces = new ProtocolReader(Pieces.Split(bytes, 1));
        Assert.Equal(value, reading(ref pieces));
        Assert.Equal(bytes.Length, pieces.Consumed);
        return value;
    }

    private static void Refused<T>(string hex, Reading<T> reading)
    {
        byte[] bytes = Convert.FromHexString(hex);
        Assert.Throws<ProtocolException>(() =>
        {
            var reader = new ProtocolReader(bytes);
            reading(ref reader);
        });
        Assert.Throws<ProtocolException>(() =>
        {
            var reader = new ProtocolReader(Pieces.Split(bytes, 1));
            reading(ref reader);
        });
    }
}
