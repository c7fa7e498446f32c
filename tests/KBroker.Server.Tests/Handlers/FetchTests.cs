using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Tests.Brokers;
using KBroker.Server.Tests.Net;
using KBroker.Storage;

namespace KBroker.Server.Tests.Handlers;

public sealed class FetchTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private const int LongMs = 60_000;

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 0, 99, MemberType = typeof(Versions))]
    public async Task Records_come_with_the_partitions_offsets(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        await topic.ProduceAsync("a", "b");
        await topic.ProduceAsync("c");
        var response = await SendAsync(topic.FetchRequest(0), version);
        var answer = Assert.Single(response.Responses);
        Assert.Equal(version < 13 ? (topic.Name, Uuid.Zero) : (string.Empty, topic.Id), (answer.Topic, answer.TopicId));
        var data = Assert.Single(answer.Partitions);
        Assert.Equal((ErrorCode.None, 3L, 3L), (data.ErrorCode, data.HighWatermark, data.LastStableOffset));
        Assert.Equal(version >= 5 ? 0 : -1, data.LogStartOffset);
        Assert.Equal(-1, data.PreferredReadReplica);
        Assert.Equal([(0, "a"), (1, "b"), (2, "c")], Batches.Read(data.Records));

        // The batch that holds the offset comes whole; the client drops what lies before.
        Assert.Equal(["a", "b", "c"], Batches.Values((await topic.FetchAsync(1, version: version)).Records));
        Assert.Equal(["c"], Batches.Values((await topic.FetchAsync(2, version: version)).Records));
        Assert.Empty(Batches.Values((await topic.FetchAsync(3, version: version)).Records));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 0, 99, MemberType = typeof(Versions))]
    public async Task An_unknown_topic_or_partition_is_answered_at_once(short version)
    {
        var unknown = new TestTopic(fixture.Client, "not-here", Uuid.Random());
        var data = await unknown.FetchAsync(0, LongMs, version: version);
        Assert.Equal(version < 13 ? ErrorCode.UnknownTopicOrPartition : ErrorCode.UnknownTopicId, data.ErrorCode);
        Assert.True(data.Records is null or { IsEmpty: true });
        var topic = await fixture.CreateTopicAsync();
        Assert.Equal(
            ErrorCode.UnknownTopicOrPartition, (await topic.FetchAsync(0, LongMs, partition: 3, version)).ErrorCode);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(4)]
    public async Task An_offset_outside_the_log_is_out_of_range_at_once(long offset)
    {
        var topic = await fixture.CreateTopicAsync();
        await topic.ProduceAsync("a", "b", "c");
        var data = await topic.FetchAsync(offset, LongMs);
        Assert.Equal((ErrorCode.OffsetOutOfRange, -1L, -1L), (data.ErrorCode, data.HighWatermark, data.LogStartOffset));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 9, 99, MemberType = typeof(Versions))]
    public async Task The_leader_epoch_of_the_client_is_checked(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var request = topic.FetchRequest(0, LongMs);
        request.Topics[0].Partitions[0].CurrentLeaderEpoch = 5;
        var data = (await SendAsync(request, version)).Responses[0].Partitions[0];
        Assert.Equal(ErrorCode.UnknownLeaderEpoch, data.ErrorCode);
        request.Topics[0].Partitions[0].CurrentLeaderEpoch = 0;
        request.MaxWaitMs = 0;
        Assert.Equal(ErrorCode.None, (await SendAsync(request, version)).Responses[0].Partitions[0].ErrorCode);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 0, 99, MemberType = typeof(Versions))]
    public async Task Read_committed_gets_a_list_of_aborted_transactions_and_others_none(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        await topic.ProduceAsync("a");
        var request = topic.FetchRequest(0);
        request.IsolationLevel = 1;
        var committed = (await SendAsync(request, version)).Responses[0].Partitions[0];
        Assert.Empty(committed.AbortedTransactions!);
        Assert.Equal(["a"], Batches.Values(committed.Records));
        request.IsolationLevel = 0;
        Assert.Null((await SendAsync(request, version)).Responses[0].Partitions[0].AbortedTransactions);
    }

    [Fact]
    public async Task The_list_names_producer_and_first_offset_of_what_was_aborted()
    {
        var topic = await fixture.CreateTopicAsync();
        var partition = fixture.Broker.State.Partitions.All.Single(p => p.TopicPartition.Topic == topic.Name);
        var records = new RecordBatchOptions
        {
            IsTransactional = true,
            ProducerId = 9,
            ProducerEpoch = 0,
            BaseSequence = 0,
        };
        var marker = new RecordBatchBuilder(records with { IsControl = true, BaseSequence = -1 });
        marker.Append(1_000, ControlRecord.Key(ControlRecordType.Abort), ControlRecord.EndTransactionValue(0));
        foreach (var batch in new[] { Batches.Of("a"), Batches.Of(records, "b"), marker.Build().ToArray() })
            Assert.Equal(ErrorCode.None, partition.AppendAsLeader(new(batch), 1, AppendOptions.Coordinator).Error);
        var request = topic.FetchRequest(0);
        request.IsolationLevel = 1;
        var data = (await SendAsync(request, 18)).Responses[0].Partitions[0];
        var aborted = Assert.Single(data.AbortedTransactions!);
        Assert.Equal((9, 1), (aborted.ProducerId, aborted.FirstOffset));
        Assert.Equal(3, data.LastStableOffset);
    }

    [Fact]
    public async Task The_first_batch_is_given_whole_whatever_the_limits_and_the_next_only_within_them()
    {
        var topic = await fixture.CreateTopicAsync(partitions: 2);
        var big = new string('x', 1000);
        foreach (var partition in new[] { 0, 1 })
        {
            await topic.ProduceAsync(Batches.Of(big), partition: partition);
            await topic.ProduceAsync(Batches.Of(big), partition: partition);
        }

        var request = topic.FetchRequest(0);
        request.Topics[0].Partitions.Add(new() { Partition = 1, PartitionMaxBytes = 1 << 20 });
        request.MaxBytes = 10;
        var answers = (await SendAsync(request, 12)).Responses[0].Partitions;
        Assert.Equal([1, 0], answers.Select(static a => Batches.Read(a.Records).Count));

        // Within the limit of the request, each partition keeps to its own.
        request.MaxBytes = 1 << 20;
        request.Topics[0].Partitions[0].PartitionMaxBytes = 1;
        answers = (await SendAsync(request, 12)).Responses[0].Partitions;
        Assert.Equal([1, 2], answers.Select(static a => Batches.Read(a.Records).Count));
    }

    [Fact]
    public async Task A_long_poll_wakes_when_records_come()
    {
        var topic = await fixture.CreateTopicAsync();
        await using var consumer = await fixture.Broker.ConnectAsync();
        var poll = consumer.SendAsync<FetchResponse>(topic.FetchRequest(0, LongMs));
        await Waiting();
        Assert.False(poll.IsCompleted);
        await topic.ProduceAsync("news");
        var response = await poll;
        Assert.Equal(["news"], Batches.Values(response.Responses[0].Partitions[0].Records));
        Assert.Equal(1, response.Responses[0].Partitions[0].HighWatermark);
    }

    [Fact]
    public async Task A_long_poll_waits_for_its_min_bytes()
    {
        var topic = await fixture.CreateTopicAsync();
        await using var consumer = await fixture.Broker.ConnectAsync();
        var request = topic.FetchRequest(0, LongMs);
        request.MinBytes = 1000;
        var poll = consumer.SendAsync<FetchResponse>(request);
        await Waiting();
        await topic.ProduceAsync(new string('x', 500));
        await topic.ProduceAsync(new string('y', 500));
        Assert.Equal(2, Batches.Read((await poll).Responses[0].Partitions[0].Records).Count);
    }

    [Fact]
    public async Task A_long_poll_ends_empty_when_its_time_is_up()
    {
        var topic = await fixture.CreateTopicAsync();
        var data = await topic.FetchAsync(0, maxWaitMs: 20);
        Assert.Equal((ErrorCode.None, 0L), (data.ErrorCode, data.HighWatermark));
        Assert.True(data.Records is null or { IsEmpty: true });
    }

    [Fact]
    public async Task A_long_poll_ends_when_its_topic_is_deleted()
    {
        var topic = await fixture.CreateTopicAsync();
        await using var consumer = await fixture.Broker.ConnectAsync();
        var poll = consumer.SendAsync<FetchResponse>(topic.FetchRequest(0, LongMs));
        await Waiting();
        await fixture.Client.SendAsync<DeleteTopicsResponse>(
            new DeleteTopicsRequest { Topics = [new() { TopicId = topic.Id }] });
        Assert.Contains(
            (await poll).Responses[0].Partitions[0].ErrorCode,
            new[] { ErrorCode.UnknownTopicId, ErrorCode.UnknownTopicOrPartition, ErrorCode.NotLeaderOrFollower });
    }

    [Fact]
    public async Task A_long_poll_does_not_hold_up_the_requests_behind_it()
    {
        var topic = await fixture.CreateTopicAsync();
        await using var client = await fixture.Broker.ConnectAsync();
        var poll = client.SendAsync<FetchResponse>(topic.FetchRequest(0, LongMs));
        var produced = client.SendAsync<ProduceResponse>(topic.ProduceRequest(Batches.Of("mine")));
        Assert.Equal(["mine"], Batches.Values((await poll).Responses[0].Partitions[0].Records));
        Assert.Equal(ErrorCode.None, (await produced).Responses[0].PartitionResponses[0].ErrorCode);
    }

    [Fact]
    public async Task A_client_that_goes_leaves_no_poll_behind()
    {
        var topic = await fixture.CreateTopicAsync();
        var consumer = await fixture.Broker.ConnectAsync();
        var poll = consumer.SendAsync<FetchResponse>(topic.FetchRequest(0, LongMs));
        await Waiting();
        await consumer.DisposeAsync();
        await Assert.ThrowsAsync<EndOfStreamException>(() => poll);
        await TestNetwork.Eventually(
            () => fixture.Broker.State.Delayed.Fetch.Delayed == 0, "the poll of a client that went is given up");
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 12, 99, MemberType = typeof(Versions))]
    public async Task A_follower_whose_log_parts_from_ours_is_told_where(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        await topic.ProduceAsync("a", "b");
        var request = topic.FetchRequest(5, LongMs);
        request.Topics[0].Partitions[0].LastFetchedEpoch = 0;
        var data = (await SendAsync(request, version)).Responses[0].Partitions[0];
        Assert.Equal((ErrorCode.None, 0, 2L),
            (data.ErrorCode, data.DivergingEpoch.Epoch, data.DivergingEpoch.EndOffset));
    }

    private Task<FetchResponse> SendAsync(FetchRequest request, short version) =>
        fixture.Client.SendAsync<FetchResponse>(request, version);

    private Task Waiting() =>
        TestNetwork.Eventually(() => fixture.Broker.State.Delayed.Fetch.Delayed > 0, "the fetch waits");
}
