using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>What an idempotent producer is answered; Apache Kafka answers the same (KBROKER_TEST_PORT).</summary>
public sealed class IdempotenceTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private static readonly (string Name, string Value) KeepAll = ("retention.ms", "-1");

    [Theory]
    [InlineData("CreateTime")]
    [InlineData("LogAppendTime")]
    public async Task A_duplicate_is_answered_as_it_was_the_first_time(string timestampType)
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll, ("message.timestamp.type", timestampType));
        var id = await NewIdAsync();
        var first = await ProduceAsync(topic, id, 0, 0, "a", "b");
        await ProduceAsync(topic, id, 0, 2, "c");
        var again = await ProduceAsync(topic, id, 0, 0, "a", "b");
        Assert.Equal((ErrorCode.None, first.BaseOffset), (again.ErrorCode, again.BaseOffset));
        // Of records that their producer dated, Kafka tells the batch's largest timestamp here; it told none before.
        Assert.Equal(timestampType == "CreateTime" ? 1001 : first.LogAppendTimeMs, again.LogAppendTimeMs);
        Assert.Equal(["a", "b", "c"], Batches.Values((await topic.FetchAsync(0)).Records));
    }

    [Fact]
    public async Task The_five_last_batches_are_known_and_all_others_are_out_of_order()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var id = await NewIdAsync();
        for (var i = 0; i < 6; i++)
            Assert.Equal(i, (await ProduceAsync(topic, id, 0, i, "v")).BaseOffset);
        for (var i = 1; i < 6; i++)
            Assert.Equal(i, (await ProduceAsync(topic, id, 0, i, "v")).BaseOffset);
        Assert.Equal(ErrorCode.OutOfOrderSequenceNumber, (await ProduceAsync(topic, id, 0, 0, "v")).ErrorCode);
        Assert.Equal(ErrorCode.OutOfOrderSequenceNumber, (await ProduceAsync(topic, id, 0, 7, "v")).ErrorCode);
        // Part of what was appended in two batches.
        Assert.Equal(ErrorCode.OutOfOrderSequenceNumber, (await ProduceAsync(topic, id, 0, 4, "v", "v")).ErrorCode);
        Assert.Equal(6, (await topic.FetchAsync(0)).HighWatermark);
    }

    [Fact]
    public async Task An_unknown_producer_may_start_anywhere_and_a_new_epoch_at_0_only()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var id = await NewIdAsync();
        Assert.Equal(ErrorCode.None, (await ProduceAsync(topic, id, 3, 17, "v")).ErrorCode);
        Assert.Equal(ErrorCode.OutOfOrderSequenceNumber, (await ProduceAsync(topic, id, 4, 18, "v")).ErrorCode);
        Assert.Equal(ErrorCode.None, (await ProduceAsync(topic, id, 4, 0, "v")).ErrorCode);
        Assert.Equal(ErrorCode.InvalidProducerEpoch, (await ProduceAsync(topic, id, 3, 18, "v")).ErrorCode);
        Assert.Equal(ErrorCode.InvalidProducerEpoch, (await ProduceAsync(topic, id, 3, 17, "v")).ErrorCode);
    }

    [Fact]
    public async Task Sequences_wrap_within_a_batch_and_between_two()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var id = await NewIdAsync();
        Assert.Equal(0, (await ProduceAsync(topic, id, 0, int.MaxValue - 1, "a", "b", "c", "d")).BaseOffset);
        Assert.Equal(0, (await ProduceAsync(topic, id, 0, int.MaxValue - 1, "a", "b", "c", "d")).BaseOffset);
        Assert.Equal(4, (await ProduceAsync(topic, id, 0, 2, "e")).BaseOffset);
        Assert.Equal(ErrorCode.OutOfOrderSequenceNumber, (await ProduceAsync(topic, id, 0, 4, "f")).ErrorCode);
        var other = await NewIdAsync();
        Assert.Equal(5, (await ProduceAsync(topic, other, 0, int.MaxValue, "a")).BaseOffset);
        Assert.Equal(6, (await ProduceAsync(topic, other, 0, 0, "b")).BaseOffset);
        Assert.Equal(5, (await ProduceAsync(topic, other, 0, int.MaxValue, "a")).BaseOffset);
    }

    [Fact]
    public async Task A_batch_with_half_of_a_producer_is_invalid()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var id = await NewIdAsync();
        Assert.Equal(ErrorCode.InvalidRecord, (await ProduceAsync(topic, id, 0, -1, "v")).ErrorCode);
        Assert.Equal(0, (await topic.FetchAsync(0)).HighWatermark);
    }

    [Fact]
    public async Task Deleted_records_do_not_take_the_producer_with_them()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var id = await NewIdAsync();
        await ProduceAsync(topic, id, 0, 0, "a");
        await ProduceAsync(topic, id, 0, 1, "b");
        await DeleteBeforeAsync(topic, 2);
        Assert.Equal(1, (await ProduceAsync(topic, id, 0, 1, "b")).BaseOffset);
        Assert.Equal(ErrorCode.OutOfOrderSequenceNumber, (await ProduceAsync(topic, id, 0, 3, "d")).ErrorCode);
        Assert.Equal(2, (await ProduceAsync(topic, id, 0, 2, "c")).BaseOffset);
        Assert.Equal(["c"], Batches.Values((await topic.FetchAsync(2)).Records));
    }

    [Fact]
    public async Task A_reader_of_what_is_committed_goes_as_far_as_the_first_open_transaction()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        await topic.ProduceAsync("plain");
        var producer = await TestProducer.CreateAsync(fixture.Client, fixture.NewName());
        await producer.ProduceAsync(topic, 0, false, "a", "b", "c");
        Assert.Equal(1, (await topic.FetchAsync(0)).LastStableOffset);
        Assert.Equal(1, await EndAsync(topic, isCommitted: true));
        Assert.Equal(4, await EndAsync(topic, isCommitted: false));
        Assert.Equal(ErrorCode.None, await producer.EndAsync(true, false));
        await Until.True(async () => await EndAsync(topic, isCommitted: true) == 5);
    }

    [Fact]
    public async Task Producers_are_described_with_their_transaction()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var producer = await TestProducer.CreateAsync(fixture.Client, fixture.NewName());
        Assert.Empty(await DescribeAsync(topic));
        await topic.ProduceAsync("plain");
        await producer.ProduceAsync(topic, 0, false, "a", "b");
        await producer.ProduceAsync(topic, 0, false, "c");
        var open = Assert.Single(await DescribeAsync(topic));
        Assert.Equal((producer.ProducerId, (int)producer.Epoch), (open.ProducerId, open.ProducerEpoch));
        Assert.Equal((2, -1, 1L), (open.LastSequence, open.CoordinatorEpoch, open.CurrentTxnStartOffset));
        Assert.Equal(1000, open.LastTimestamp);
        await producer.EndAsync(true, false);
        await Until.True(async () => (await DescribeAsync(topic))[0].CurrentTxnStartOffset == -1);
        var closed = Assert.Single(await DescribeAsync(topic));
        Assert.Equal((producer.Epoch, -1), (closed.ProducerEpoch, closed.LastSequence));
        Assert.True(closed.CoordinatorEpoch >= 0);
        Assert.True(closed.LastTimestamp > 1000);
    }

    private async Task<long> NewIdAsync() => (await fixture.Client.SendAsync<InitProducerIdResponse>(
        new InitProducerIdRequest { TransactionalId = null })).ProducerId;

    private static Task<ProduceResponse.PartitionProduceResponse> ProduceAsync(
        TestTopic topic, long id, short epoch, int sequence, params string[] values) => topic.ProduceAsync(Batches.Of(
            RecordBatchOptions.Default with { ProducerId = id, ProducerEpoch = epoch, BaseSequence = sequence },
            values));

    private async Task DeleteBeforeAsync(TestTopic topic, long offset)
    {
        var response = await fixture.Client.SendAsync<DeleteRecordsResponse>(new DeleteRecordsRequest
        {
            TimeoutMs = 30_000,
            Topics = [new() { Name = topic.Name, Partitions = [new() { Offset = offset }] }],
        });
        Assert.Equal(ErrorCode.None, response.Topics[0].Partitions[0].ErrorCode);
    }

    private async Task<long> EndAsync(TestTopic topic, bool isCommitted) =>
        (await fixture.Client.SendAsync<ListOffsetsResponse>(new ListOffsetsRequest
        {
            ReplicaId = -1,
            IsolationLevel = isCommitted ? (sbyte)1 : (sbyte)0,
            Topics = [new() { Name = topic.Name, Partitions = [new() { Timestamp = -1 }] }],
        })).Topics[0].Partitions[0].Offset;

    private async Task<List<DescribeProducersResponse.ProducerState>> DescribeAsync(TestTopic topic) =>
        (await fixture.Client.SendAsync<DescribeProducersResponse>(new DescribeProducersRequest
        {
            Topics = [new() { Name = topic.Name, PartitionIndexes = [0] }],
        })).Topics[0].Partitions[0].ActiveProducers;
}
