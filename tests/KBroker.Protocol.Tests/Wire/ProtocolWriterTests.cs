using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using RecordData = KBroker.Protocol.Records.Records;

namespace KBroker.Protocol.Tests.Wire;

public sealed class ProtocolWriterTests
{
    [Fact]
    public void Large_records_become_a_segment_of_the_same_memory()
    {
        byte[] batch = new byte[ProtocolWriter.CopyRecordsBelow];
        using var writer = new ProtocolWriter();
        writer.WriteInt32(1);
        writer.WriteRecords(new RecordData(batch), true);
        writer.WriteInt32(2);
        Assert.Equal(3, writer.Segments.Count);
        Assert.True(System.Runtime.InteropServices.MemoryMarshal.TryGetArray(writer.Segments[1].Bytes, out var array));
        Assert.Same(batch, array.Array);
        Assert.Equal(4 + 2 + batch.Length + 4, writer.TotalBytes);
        Assert.Equal(writer.TotalBytes, writer.Segments.Sum(s => (long)s.Length));
    }

    [Fact]
    public void Small_records_are_copied_into_the_bytes_around_them()
    {
        using var writer = new ProtocolWriter();
        writer.WriteInt32(1);
        writer.WriteRecords(new RecordData(new byte[] { 5, 6 }), false);
        Assert.Equal([0, 0, 0, 1, 0, 0, 0, 2, 5, 6], Assert.Single(writer.Segments).Bytes.ToArray());
    }

    [Fact]
    public void File_regions_stay_regions_and_are_disposed_once_with_the_writer()
    {
        var region = new Region([1, 2, 3]);
        var empty = new Region([]);
        var writer = new ProtocolWriter();
        writer.WriteRecords(new RecordData(region), false);
        writer.WriteRecords(new RecordData([new RecordsPart(empty), new RecordsPart(new Region([4]))]), false);
        Assert.Same(region, writer.Segments[1].Region);
        Assert.Equal([0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 1, 4], writer.ToArray());
        Assert.Equal(0, region.Disposals);
        writer.Reset();
        writer.Dispose();
        Assert.Equal(1, region.Disposals);
        Assert.Equal(1, empty.Disposals);
    }

    [Fact]
    public void A_reserved_length_is_filled_in_later_even_after_many_chunks()
    {
        using var writer = new ProtocolWriter();
        var length = writer.Reserve();
        for (int i = 0; i < 50_000; i++) writer.WriteInt32(i);
        ProtocolWriter.PatchInt32(length, (int)writer.TotalBytes - 4);
        byte[] bytes = writer.ToArray();
        Assert.True(writer.Segments.Count > 1);
        var reader = new ProtocolReader(bytes);
        Assert.Equal(bytes.Length - 4, reader.ReadInt32());
        for (int i = 0; i < 50_000; i++) Assert.Equal(i, reader.ReadInt32());
    }

    [Fact]
    public void A_writer_can_be_used_again_after_a_reset()
    {
        using var writer = new ProtocolWriter();
        for (int round = 0; round < 3; round++)
        {
            writer.WriteString(new string('x', 30_000), true);
            writer.WriteUuid(new Uuid(round, round));
            Assert.Equal(30_003 + 16, writer.ToArray().Length);
            writer.Reset();
            Assert.Equal(0, writer.TotalBytes);
            Assert.Empty(writer.Segments);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(40)]
    [InlineData(5000)]
    public void Tagged_fields_of_any_size_are_written_with_their_size(int endpoints)
    {
        // The endpoints are a tagged field; 7 need two bytes for the size, 5000 span many chunks.
        for (int before = 0; before < 40; before++)
        {
            var response = new FetchResponse { SessionId = before };
            for (int i = 0; i < before; i++) response.Responses.Add(new() { TopicId = new Uuid(i, i) });
            for (int i = 0; i < endpoints; i++)
                response.NodeEndpoints.Add(new() { NodeId = i, Host = "a-host-name-" + i, Port = 9092 });
            response.UnknownTaggedFields = [new UnknownTaggedField(200, new byte[] { 1, 2, 3 })];
            using var writer = new ProtocolWriter();
            response.Write(writer, 17);
            byte[] bytes = writer.ToArray();
            Assert.Equal(bytes.Length, writer.TotalBytes);
            var reader = new ProtocolReader(bytes);
            var read = FetchResponse.Read(ref reader, 17);
            reader.EnsureEnd();
            Assert.Equal(before, read.Responses.Count);
            Assert.Equal(
                response.NodeEndpoints.Select(e => (e.NodeId, e.Host)),
                read.NodeEndpoints.Select(e => (e.NodeId, e.Host)));
            Assert.Equal(200, Assert.Single(read.UnknownTaggedFields!).Tag);
        }
    }

    [Fact]
    public void Unknown_tags_are_written_between_the_known_ones_in_order()
    {
        // BrokerHeartbeatRequest v2 knows the tags 0 and 1; PartitionChangeRecord v0 knows 0 to 5.
        var record = new PartitionChangeRecord { Leader = 7, LeaderRecoveryState = 1 };
        record.UnknownTaggedFields =
        [
            new UnknownTaggedField(3, new byte[] { 0xaa }),
            new UnknownTaggedField(6, new byte[] { 0xbb }),
        ];
        using var writer = new ProtocolWriter();
        record.Write(writer, 0);
        Assert.Equal(
            "04" + "010400000007" + "0301aa" + "050101" + "0601bb",
            Convert.ToHexStringLower(writer.ToArray()[20..]));
    }

    [Fact]
    public void Null_where_the_version_does_not_allow_it_is_an_error_that_names_the_field()
    {
        using var writer = new ProtocolWriter();
        var topics = new MetadataRequest { Topics = null };
        Assert.Contains("Topics", Assert.Throws<InvalidOperationException>(() => topics.Write(writer, 0)).Message);
        topics.Write(writer, 1);
        var name = new MetadataResponse { Topics = [new() { Name = null }] };
        Assert.Contains("Name", Assert.Throws<InvalidOperationException>(() => name.Write(writer, 9)).Message);
        name.Write(writer, 12);
    }

    [Fact]
    public void A_string_above_32767_bytes_is_an_error()
    {
        using var writer = new ProtocolWriter();
        writer.WriteString(new string('x', 32767), false);
        Assert.Throws<InvalidOperationException>(() => writer.WriteString(new string('x', 32768), false));
        Assert.Throws<InvalidOperationException>(() => writer.WriteString(new string('ä', 16384), true));
    }

    [Fact]
    public void A_version_that_does_not_exist_is_an_error()
    {
        using var writer = new ProtocolWriter();
        Assert.Throws<ArgumentOutOfRangeException>(() => new ProduceRequest().Write(writer, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ProduceRequest().Write(writer, 14));
        Assert.Throws<ProtocolException>(() =>
        {
            var reader = new ProtocolReader(new byte[100]);
            ProduceRequest.Read(ref reader, 2);
        });
    }

    [Fact]
    public void It_serves_as_a_buffer_writer()
    {
        using var writer = new ProtocolWriter();
        writer.WriteInt8(1);
        writer.GetSpan(5000)[..5000].Fill(7);
        writer.Advance(5000);
        writer.GetMemory(3).Span[0] = 9;
        writer.Advance(1);
        Assert.Equal(5002, writer.TotalBytes);
        byte[] bytes = writer.ToArray();
        Assert.Equal((1, 7, 7, 9), (bytes[0], bytes[1], bytes[5000], bytes[5001]));
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.Advance(1_000_000));
    }

    private sealed class Region(byte[] bytes) : IRecordsRegion
    {
        public int Disposals { get; private set; }

        public int Length => bytes.Length;

        public void Read(int position, Span<byte> destination) =>
            bytes.AsSpan(position, destination.Length).CopyTo(destination);

        public void Dispose() => Disposals++;
    }
}
