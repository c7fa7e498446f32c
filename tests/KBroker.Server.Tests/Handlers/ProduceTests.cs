using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

public sealed class ProduceTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Produce, 0, 99, MemberType = typeof(Versions))]
    public async Task Records_are_appended_and_read_back_at_every_acks(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        Assert.Equal(0, (await topic.ProduceAsync(Batches.Of("a", "b"), acks: 1, version: version)).BaseOffset);
        var all = await topic.ProduceAsync(Batches.Of("c"), acks: -1, version: version);
        Assert.Equal((ErrorCode.None, 2L, -1L), (all.ErrorCode, all.BaseOffset, all.LogAppendTimeMs));
        Assert.Equal(version >= 5 ? 0 : -1, all.LogStartOffset);

        // No answer comes to acks=0: the next request on the connection shows that it was not awaited.
        await fixture.Client.SendOneWayAsync(topic.ProduceRequest(Batches.Of("d"), acks: 0), version);
        Assert.Equal(4, (await topic.ProduceAsync(Batches.Of("e"), acks: 1, version: version)).BaseOffset);
        Assert.Equal(["a", "b", "c", "d", "e"], Batches.Values((await topic.FetchAsync(0)).Records));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Produce, 0, 99, MemberType = typeof(Versions))]
    public async Task Topics_go_by_name_and_from_version_13_by_id(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var request = topic.ProduceRequest(Batches.Of("v"));
        var answer = Assert.Single((await SendAsync(request, version)).Responses);
        Assert.Equal(version < 13 ? (topic.Name, Uuid.Zero) : (string.Empty, topic.Id), (answer.Name, answer.TopicId));

        var unknown = new TestTopic(fixture.Client, "not-here", Uuid.Random());
        var refused = await unknown.ProduceAsync(Batches.Of("v"), version: version);
        Assert.Equal(
            version < 13 ? ErrorCode.UnknownTopicOrPartition : ErrorCode.UnknownTopicId, refused.ErrorCode);
        Assert.Equal((-1, -1), (refused.BaseOffset, refused.LogStartOffset));
        var noPartition = await topic.ProduceAsync(Batches.Of("v"), partition: 5, version: version);
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, noPartition.ErrorCode);
    }

    [Fact]
    public async Task The_id_of_a_topic_that_was_created_anew_is_unknown()
    {
        var topic = await fixture.CreateTopicAsync();
        await fixture.Client.SendAsync<DeleteTopicsResponse>(
            new DeleteTopicsRequest { Topics = [new() { TopicId = topic.Id }] });
        var again = await TestTopic.CreateAsync(fixture.Client, topic.Name);
        Assert.Equal(ErrorCode.UnknownTopicId, (await topic.ProduceAsync(Batches.Of("v"))).ErrorCode);
        Assert.Equal(0, await again.ProduceAsync("v"));
    }

    [Fact]
    public async Task One_request_reaches_several_partitions_and_fails_for_each_alone()
    {
        var topic = await fixture.CreateTopicAsync(partitions: 2);
        var request = topic.ProduceRequest(Batches.Of("zero"));
        request.TopicData[0].PartitionData.Add(new() { Index = 1, Records = new Records(Batches.Of("one", "two")) });
        request.TopicData[0].PartitionData.Add(new() { Index = 2, Records = new Records(Batches.Of("none")) });
        var answers = (await SendAsync(request, 13)).Responses[0].PartitionResponses;
        Assert.Equal(
            [
                (0, ErrorCode.None, 0L), (1, ErrorCode.None, 0L),
                (2, ErrorCode.UnknownTopicOrPartition, -1L),
            ],
            answers.Select(static a => (a.Index, a.ErrorCode, a.BaseOffset)));
        Assert.Equal(["one", "two"], Batches.Values((await topic.FetchAsync(0, partition: 1)).Records));
    }

    [Fact]
    public async Task An_error_to_acks_0_closes_the_connection_after_what_came_before()
    {
        var topic = await fixture.CreateTopicAsync();
        await using var client = await fixture.Broker.ConnectAsync();
        var before = client.SendAsync<MetadataResponse>(new MetadataRequest { Topics = [] });
        await client.SendOneWayAsync(topic.ProduceRequest(Batches.Of("v"), acks: 0, partition: 9), 13);
        Assert.NotNull(await before);
        await client.Closed.WaitAsync(ProtocolClient.Deadline, TestContext.Current.CancellationToken);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(-2)]
    public async Task Other_numbers_of_acks_are_refused(short acks)
    {
        var topic = await fixture.CreateTopicAsync();
        Assert.Equal(ErrorCode.InvalidRequiredAcks, (await topic.ProduceAsync(Batches.Of("v"), acks)).ErrorCode);
        Assert.Empty(Batches.Values((await topic.FetchAsync(0)).Records));
    }

    [Fact]
    public async Task A_request_without_topics_is_answered()
    {
        Assert.Empty((await SendAsync(new ProduceRequest { Acks = -1, TimeoutMs = 1000 }, 13)).Responses);
    }

    [Fact]
    public async Task A_partition_without_a_batch_is_refused()
    {
        var topic = await fixture.CreateTopicAsync();
        var request = topic.ProduceRequest(default);
        Assert.Equal(ErrorCode.InvalidRecord,
            (await SendAsync(request, 13)).Responses[0].PartitionResponses[0].ErrorCode);
        if (TestBroker.OtherPort is not null)
            return;
        request.TopicData[0].PartitionData[0].Records = null;
        Assert.Equal(ErrorCode.InvalidRecord,
            (await SendAsync(request, 13)).Responses[0].PartitionResponses[0].ErrorCode);
    }

    [Fact]
    public async Task Bad_batches_get_kafkas_errors_and_store_nothing()
    {
        var topic = await fixture.CreateTopicAsync(configs: ("max.message.bytes", "1000"));
        var damaged = Batches.Of("value");
        damaged[^2] ^= 0xff;
        Assert.Equal(ErrorCode.CorruptMessage, (await topic.ProduceAsync(damaged)).ErrorCode);
        Assert.Equal(
            ErrorCode.MessageTooLarge, (await topic.ProduceAsync(Batches.Of(new string('x', 1000)))).ErrorCode);
        byte[] two = [.. Batches.Of("a"), .. Batches.Of("b")];
        Assert.Equal(ErrorCode.InvalidRecord, (await topic.ProduceAsync(two)).ErrorCode);
        var transactional = RecordBatchOptions.Default with
        {
            IsTransactional = true,
            ProducerId = 5,
            ProducerEpoch = 0,
            BaseSequence = 0,
        };
        Assert.Equal(
            ErrorCode.TransactionalIdAuthorizationFailed,
            (await topic.ProduceAsync(Batches.Of(transactional, "t"))).ErrorCode);
        var named = topic.ProduceRequest(Batches.Of(transactional, "t"));
        named.TransactionalId = "tx";
        await fixture.Client.SendAsync<FindCoordinatorResponse>(
            new FindCoordinatorRequest { KeyType = 1, CoordinatorKeys = ["tx"] });
        var error = ErrorCode.None;
        // Until the coordinator is loaded, producers are told to come again.
        await Until.True(async () => (error = (await SendAsync(named, 13)).Responses[0].PartitionResponses[0].ErrorCode)
            != ErrorCode.NotEnoughReplicas);
        Assert.Equal(ErrorCode.InvalidProducerIdMapping, error);
        var control = RecordBatchOptions.Default with { IsControl = true };
        Assert.Equal(ErrorCode.InvalidRecord, (await topic.ProduceAsync(Batches.Of(control, "t"))).ErrorCode);
        Assert.Equal(0, (await topic.FetchAsync(0)).HighWatermark);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Produce, 0, 99, MemberType = typeof(Versions))]
    public async Task A_compacted_topic_names_the_records_without_keys(short version)
    {
        var topic = await fixture.CreateTopicAsync(configs: ("cleanup.policy", "compact"));
        var answer = await topic.ProduceAsync(Batches.Of("a", "b"), version: version);
        Assert.Equal(ErrorCode.InvalidRecord, answer.ErrorCode);
        Assert.Equal(version >= 8 ? [0, 1] : [], answer.RecordErrors.Select(static e => e.BatchIndex));
        Assert.Equal(version >= 8, answer.ErrorMessage is not null);
    }

    [Fact]
    public async Task Append_time_is_answered_and_stored()
    {
        var topic = await fixture.CreateTopicAsync(configs: ("message.timestamp.type", "LogAppendTime"));
        var before = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        var answer = await topic.ProduceAsync(Batches.Of("a"));
        Assert.InRange(answer.LogAppendTimeMs, before, DateTimeOffset.UtcNow.ToUnixTimeMilliseconds());
        Assert.True(RecordBatchHeader.TryParse((await topic.FetchAsync(0)).Records!.Value.ToArray(), out var header));
        Assert.Equal((TimestampType.LogAppendTime, answer.LogAppendTimeMs),
            (header.TimestampType, header.MaxTimestamp));
    }

    [Fact]
    public async Task Timestamps_out_of_bounds_are_refused_record_by_record()
    {
        var topic = await fixture.CreateTopicAsync(configs: ("message.timestamp.before.max.ms", "1000"));
        var answer = await topic.ProduceAsync(Batches.Of("old"));
        Assert.Equal(ErrorCode.InvalidTimestamp, answer.ErrorCode);
        Assert.Equal(0, Assert.Single(answer.RecordErrors).BatchIndex);
    }

    [Theory]
    [InlineData(CompressionType.Gzip)]
    [InlineData(CompressionType.Snappy)]
    [InlineData(CompressionType.Lz4)]
    [InlineData(CompressionType.Zstd)]
    public async Task Each_codec_is_taken_and_kept(CompressionType type)
    {
        var topic = await fixture.CreateTopicAsync();
        var batch = Batches.Of(RecordBatchOptions.Default with { Compression = type }, "one", "two");
        Assert.Equal(ErrorCode.None, (await topic.ProduceAsync(batch)).ErrorCode);
        var records = (await topic.FetchAsync(0)).Records;
        Assert.True(RecordBatchHeader.TryParse(records!.Value.ToArray(), out var header));
        Assert.Equal(type, header.Compression);
        Assert.Equal(["one", "two"], Batches.Values(records));
    }

    [Fact]
    public async Task The_topics_codec_wins()
    {
        var topic = await fixture.CreateTopicAsync(configs: ("compression.type", "gzip"));
        await topic.ProduceAsync("plain");
        var records = (await topic.FetchAsync(0)).Records;
        Assert.True(RecordBatchHeader.TryParse(records!.Value.ToArray(), out var header));
        Assert.Equal(CompressionType.Gzip, header.Compression);
        Assert.Equal(["plain"], Batches.Values(records));
    }

    [Fact]
    public async Task An_idempotent_producer_is_deduplicated_and_kept_in_order()
    {
        var topic = await fixture.CreateTopicAsync();
        var id = (await fixture.Client.SendAsync<InitProducerIdResponse>(
            new InitProducerIdRequest { TransactionalId = null })).ProducerId;
        byte[] Batch(int sequence, short epoch, params string[] values) => Batches.Of(
            RecordBatchOptions.Default with { ProducerId = id, ProducerEpoch = epoch, BaseSequence = sequence },
                values);
        Assert.Equal(0, (await topic.ProduceAsync(Batch(0, 1, "a", "b"))).BaseOffset);
        Assert.Equal(2, (await topic.ProduceAsync(Batch(2, 1, "c"))).BaseOffset);
        var again = await topic.ProduceAsync(Batch(0, 1, "a", "b"));
        Assert.Equal((ErrorCode.None, 0L), (again.ErrorCode, again.BaseOffset));
        Assert.Equal(ErrorCode.OutOfOrderSequenceNumber, (await topic.ProduceAsync(Batch(9, 1, "z"))).ErrorCode);
        Assert.Equal(ErrorCode.InvalidProducerEpoch, (await topic.ProduceAsync(Batch(3, 0, "z"))).ErrorCode);
        Assert.Equal(["a", "b", "c"], Batches.Values((await topic.FetchAsync(0)).Records));
        var described = await fixture.Client.SendAsync<DescribeProducersResponse>(
            new DescribeProducersRequest { Topics = [new() { Name = topic.Name, PartitionIndexes = [0, 1] }] });
        var producer = Assert.Single(described.Topics[0].Partitions[0].ActiveProducers);
        Assert.Equal(
            (id, 1, 2, -1, -1L),
            (producer.ProducerId, producer.ProducerEpoch, producer.LastSequence, producer.CoordinatorEpoch,
                producer.CurrentTxnStartOffset));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, described.Topics[0].Partitions[1].ErrorCode);
    }

    [Fact]
    public async Task A_topic_with_one_replica_needs_no_more_than_that_whatever_min_insync_replicas_says()
    {
        var topic = await fixture.CreateTopicAsync(configs: ("min.insync.replicas", "2"));
        Assert.Equal(ErrorCode.None, (await topic.ProduceAsync(Batches.Of("v"), acks: -1)).ErrorCode);
    }

    [Fact]
    public async Task Internal_topics_take_records_from_the_brokers_own_tools_alone()
    {
        await TestTopic.CreateAsync(fixture.Client, "__consumer_offsets", 1, ("cleanup.policy", "delete"));
        using var record = new RecordBatchBuilder(RecordBatchOptions.Default);
        // The group coordinator leaves out record types that it does not know.
        record.Append(1000, new byte[] { 0x7f, 0xff, 1 }, "v"u8.ToArray());
        var name = new ProduceRequest
        {
            Acks = 1,
            TimeoutMs = 1000,
            TopicData =
            [
                new() { Name = "__consumer_offsets",
                    PartitionData = [new() { Records = new Records(record.Build().ToArray()) }] },
            ],
        };
        var answer = (await SendAsync(name, 12)).Responses[0].PartitionResponses[0];
        Assert.Equal(ErrorCode.InvalidTopicException, answer.ErrorCode);
        await using var admin = await ProtocolClient.ConnectAsync(fixture.Broker.Port, "__admin_client");
        answer = (await admin.SendAsync<ProduceResponse>(name, 12)).Responses[0].PartitionResponses[0];
        Assert.Equal(ErrorCode.None, answer.ErrorCode);
    }

    [Fact]
    public async Task Pipelined_requests_keep_their_order()
    {
        var topic = await fixture.CreateTopicAsync();
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(
            i => topic.ProduceAsync(Batches.Of($"v{i}"), acks: (short)(i % 2 == 0 ? -1 : 1))));
        Assert.Equal(Enumerable.Range(0, 50).Select(static i => (long)i), answers.Select(static a => a.BaseOffset));
        Assert.Equal(
            Enumerable.Range(0, 50).Select(static i => $"v{i}"), Batches.Values((await topic.FetchAsync(0)).Records));
    }

    [Fact]
    public async Task Deleting_a_topic_while_it_is_written_to_gives_clean_errors()
    {
        var topic = await fixture.CreateTopicAsync();
        var clients = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => fixture.Broker.ConnectAsync()));
        var request = topic.ProduceRequest(Batches.Of("v"));
        var writers = clients.Select(async client =>
        {
            while (true)
            {
                var response = await client.SendAsync<ProduceResponse>(request);
                var error = response.Responses[0].PartitionResponses[0].ErrorCode;
                if (error != ErrorCode.None)
                    return error;
            }
        }).ToArray();
        await fixture.Client.SendAsync<DeleteTopicsResponse>(
            new DeleteTopicsRequest { Topics = [new() { TopicId = topic.Id }] });
        foreach (var error in await Task.WhenAll(writers))
        {
            Assert.Contains(error, new[]
            {
                ErrorCode.UnknownTopicId, ErrorCode.UnknownTopicOrPartition, ErrorCode.NotLeaderOrFollower,
            });
        }

        foreach (var client in clients)
            await client.DisposeAsync();
    }

    private Task<ProduceResponse> SendAsync(ProduceRequest request, short version) =>
        fixture.Client.SendAsync<ProduceResponse>(request, version);
}
