using KBroker.Protocol.Messages;
using RecordData = KBroker.Protocol.Records.Records;

namespace KBroker.Protocol.Tests.Wire;

/// <summary>What one Produce and one Fetch of one partition allocate here: pinned, so that it stays.</summary>
public sealed class HotPathAllocationTests
{
    private const int Rounds = 100;

    [Fact]
    public void Reading_a_produce_request_allocates_its_objects_and_nothing_else()
    {
        using var writer = new ProtocolWriter();
        new ProduceRequest
        {
            Acks = 1,
            TopicData = [new() { PartitionData = [new() { Records = new RecordData(new byte[1000]) }] }],
        }.Write(writer, 13);
        byte[] bytes = writer.ToArray();
        long perRequest = Measure(() =>
        {
            var reader = new ProtocolReader(bytes);
            ProduceRequest.Read(ref reader, 13);
        });
        Assert.True(perRequest <= 320, $"{perRequest} bytes");
    }

    [Fact]
    public void Reading_a_fetch_request_allocates_its_objects_and_nothing_else()
    {
        using var writer = new ProtocolWriter();
        new FetchRequest { Topics = [new() { TopicId = new Uuid(1, 2), Partitions = [new()] }] }.Write(writer, 17);
        byte[] bytes = writer.ToArray();
        long perRequest = Measure(() =>
        {
            var reader = new ProtocolReader(bytes);
            FetchRequest.Read(ref reader, 17);
        });
        Assert.True(perRequest <= 368, $"{perRequest} bytes");
    }

    [Fact]
    public void Writing_responses_allocates_nothing()
    {
        var fetch = new FetchResponse
        {
            Responses = [new() { Partitions = [new() { Records = new RecordData(new byte[100_000]) }] }],
        };
        var produce = new ProduceResponse
        {
            Responses = [new() { TopicId = new Uuid(1, 2), PartitionResponses = [new() { BaseOffset = 5 }] }],
        };
        using var writer = new ProtocolWriter();
        Assert.Equal(0, Measure(() =>
        {
            fetch.Write(writer, 17);
            _ = writer.Segments.Count;
            writer.Reset();
        }));
        Assert.Equal(0, Measure(() =>
        {
            produce.Write(writer, 13);
            _ = writer.Segments.Count;
            writer.Reset();
        }));
    }

    private static long Measure(Action action)
    {
        for (int i = 0; i < Rounds; i++) action();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < Rounds; i++) action();
        return (GC.GetAllocatedBytesForCurrentThread() - before) / Rounds;
    }
}
