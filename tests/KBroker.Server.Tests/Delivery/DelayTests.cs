using System.Text;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Delivery;

/// <summary>Delayed records over the wire; far instants are hidden for good, near ones are waited for.</summary>
public sealed class DelayTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private const long Hour = 3_600_000;
    private static readonly (string Name, string Value) Delays = ("kbroker.delay.enable", "true");

    private static long Now => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    [Fact]
    public async Task A_delayed_record_comes_at_its_instant_and_names_its_origin()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        var began = Now;
        var answer = await topic.ProduceAsync(Batch(("later", "kbroker-delay-ms", "3000"), ("now", null, null)));
        Assert.Equal((ErrorCode.None, 0L), (answer.ErrorCode, answer.BaseOffset));
        Assert.Equal(["now"], Batches.Values((await topic.FetchAsync(0)).Records));
        // A long poll is woken by the delivery.
        var delivered = Assert.Single(Read((await topic.FetchAsync(2, maxWaitMs: 20_000)).Records));
        Assert.Equal("later", delivered.Value);
        Assert.Equal("0", delivered.Headers["kbroker-origin-offset"]);
        Assert.False(delivered.Headers.ContainsKey("kbroker-delay-ms"));
        Assert.True(delivered.Timestamp >= began + 3000, $"{delivered.Timestamp} {began}");
    }

    [Fact]
    public async Task Hidden_bytes_end_no_long_poll_and_a_filler_carries_the_position_on()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        await using var consumer = await ProtocolClient.ConnectAsync(fixture.Broker.Port);
        var waiting = consumer.SendAsync<FetchResponse>(topic.FetchRequest(0, maxWaitMs: 1_500), -1);
        await topic.ProduceAsync(Batch(Enumerable.Repeat<(string, string?, string?)>(
            ("hidden", "kbroker-delay-ms", $"{Hour}"), 100).ToArray()));
        await topic.ProduceAsync(Batch(("hidden", "kbroker-delay-ms", $"{Hour}")));
        Assert.False(waiting.IsCompleted);
        var data = Assert.Single(Assert.Single((await waiting).Responses).Partitions);
        Assert.Equal(101, data.HighWatermark);
        var bytes = new System.Buffers.ReadOnlySequence<byte>(data.Records!.Value.ToArray());
        Assert.Equal(RecordBatchStatus.Whole, RecordBatches.Inspect(bytes, out var filler));
        Assert.Equal((100L, 100L, true, (long)bytes.Length),
            (filler.BaseOffset, filler.LastOffset, filler.IsControl, (long)filler.SizeInBytes));
    }

    [Fact]
    public async Task A_long_poll_over_hidden_records_ends_with_the_first_visible_one()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        await using var consumer = await ProtocolClient.ConnectAsync(fixture.Broker.Port);
        var waiting = consumer.SendAsync<FetchResponse>(topic.FetchRequest(0, maxWaitMs: 25_000), -1);
        await topic.ProduceAsync(Batch(("hidden", "kbroker-delay-ms", $"{Hour}")));
        await topic.ProduceAsync("visible");
        var data = Assert.Single(Assert.Single((await waiting).Responses).Partitions);
        Assert.Equal([(1L, (string?)"visible")], Batches.Read(data.Records));
    }

    [Theory]
    [InlineData("kbroker-delay-level", "-1")]
    [InlineData("kbroker-delay-level", "x")]
    [InlineData("kbroker-cancel", "")]
    public async Task A_wrong_header_is_refused_with_the_record_that_has_it(string header, string value)
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        var answer = await topic.ProduceAsync(Batch(("good", null, null), ("bad", header, value)));
        Assert.Equal(ErrorCode.InvalidRecord, answer.ErrorCode);
        var error = Assert.Single(answer.RecordErrors);
        Assert.Equal(1, error.BatchIndex);
        Assert.Contains($"{header} is '{value}'", error.BatchIndexErrorMessage, StringComparison.Ordinal);
        Assert.Equal(0, (await topic.FetchAsync(0)).HighWatermark);
    }

    [Theory]
    [InlineData("0", true)]
    [InlineData("1", false)]
    [InlineData("19", false)]
    public async Task Levels_are_RocketMQs(string level, bool isVisible)
    {
        var topic = await fixture.CreateTopicAsync(1, Delays, ("kbroker.delay.levels", "1h 2h"));
        Assert.Equal(
            ErrorCode.None, (await topic.ProduceAsync(Batch(("a", "kbroker-delay-level", level)))).ErrorCode);
        Assert.Equal(isVisible ? ["a"] : [], Batches.Values((await topic.FetchAsync(0)).Records)
            .Where(static v => v == "a"));
    }

    [Fact]
    public async Task Past_instants_are_immediate()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        await topic.ProduceAsync(Batch(("a", "kbroker-deliver-at", $"{Now - 5}"), ("b", "kbroker-deliver-at", "0")));
        Assert.Equal(["a", "b"], Batches.Values((await topic.FetchAsync(0)).Records));
    }

    [Fact]
    public async Task A_producer_without_answers_may_delay_too()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        await using var producer = await ProtocolClient.ConnectAsync(fixture.Broker.Port);
        await producer.SendOneWayAsync(topic.ProduceRequest(Batch(("a", "kbroker-delay-ms", "200")), acks: 0), 13);
        await Until.True(async () => Batches.Values((await topic.FetchAsync(0)).Records).Contains("a"));
        Assert.Equal("a", Assert.Single(Read((await topic.FetchAsync(0)).Records)).Value);
    }

    [Fact]
    public async Task Delays_of_a_transaction_count_when_it_commits_and_never_when_it_aborts()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays, ("retention.ms", "-1"));
        var client = await fixture.Broker.ConnectAsync();
        await using var _ = client;
        foreach (var isCommit in new[] { false, true })
        {
            var producer = await TestProducer.CreateAsync(client, $"delays-{Guid.NewGuid():N}");
            var request = topic.ProduceRequest(Batch(
                RecordBatchOptions.Default with
                {
                    IsTransactional = true,
                    ProducerId = producer.ProducerId,
                    ProducerEpoch = producer.Epoch,
                    BaseSequence = 0,
                },
                ($"{isCommit}", "kbroker-delay-ms", "3000")));
            request.TransactionalId = producer.Id;
            var answer = await client.SendAsync<ProduceResponse>(request, 12);
            Assert.Equal(ErrorCode.None, answer.Responses[0].PartitionResponses[0].ErrorCode);
            Assert.Equal(ErrorCode.None, await producer.EndAsync(isCommit, isClassic: false));
        }

        await Until.True(async () => Visible((await topic.FetchAsync(0)).Records).Contains("True"));
        Assert.Equal(["True"], Visible((await topic.FetchAsync(0)).Records));
    }

    [Fact]
    public async Task A_cancelled_record_never_comes()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        var one = await topic.ProduceAsync(Batch(("one", "kbroker-delay-ms", "3000")));
        await topic.ProduceAsync(Batch(("cancel", "kbroker-cancel", $"{one.BaseOffset}")));
        await topic.ProduceAsync(Batch(("two", "kbroker-delay-ms", "3000")));
        await Until.True(async () => Batches.Values((await topic.FetchAsync(0)).Records).Contains("two"));
        Assert.Equal(["two"], Visible((await topic.FetchAsync(0)).Records));
    }

    [Fact]
    public async Task Compaction_and_delays_exclude_each_other()
    {
        var client = await fixture.Broker.ConnectAsync();
        await using var _ = client;
        var answer = await client.SendAsync<CreateTopicsResponse>(TestTopic.CreateRequest(
            $"c-{Guid.NewGuid():N}", 1, Delays, ("cleanup.policy", "compact")));
        Assert.Equal(ErrorCode.InvalidConfig, answer.Topics[0].ErrorCode);
        Assert.Contains("cleanup.policy=compact", answer.Topics[0].ErrorMessage, StringComparison.Ordinal);
        var levels = await client.SendAsync<CreateTopicsResponse>(TestTopic.CreateRequest(
            $"l-{Guid.NewGuid():N}", 1, ("kbroker.delay.levels", "1s 5x")));
        Assert.Equal(ErrorCode.InvalidConfig, levels.Topics[0].ErrorCode);
        Assert.Contains("'5x'", levels.Topics[0].ErrorMessage, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_topic_made_anew_under_the_same_name_has_nothing_pending()
    {
        var client = await fixture.Broker.ConnectAsync();
        await using var _ = client;
        var name = $"again-{Guid.NewGuid():N}";
        var first = await TestTopic.CreateAsync(client, name, 1, Delays);
        await first.ProduceAsync(Batch(("of the first", "kbroker-delay-ms", "300")));
        await client.SendAsync<DeleteTopicsResponse>(new DeleteTopicsRequest
        {
            TimeoutMs = 30_000,
            Topics = [new() { Name = name }],
        });
        var second = await TestTopic.CreateAsync(client, name, 1, Delays);
        await second.ProduceAsync(Batch(("of the second", "kbroker-delay-ms", "600")));
        await Until.True(async () => Visible((await second.FetchAsync(0)).Records).Count > 0);
        Assert.Equal(["of the second"], Visible((await second.FetchAsync(0)).Records));
    }

    [Fact]
    public async Task What_is_pending_survives_a_restart_of_the_broker()
    {
        var folder = Directory.CreateTempSubdirectory("kbroker-delays-").FullName;
        string name;
        await using (var before = await TestBroker.StartAsync(folder))
        {
            await using var client = await before.ConnectAsync();
            var topic = await TestTopic.CreateAsync(client, "later", 1, Delays);
            name = topic.Name;
            await topic.ProduceAsync(
                Batch(("near", "kbroker-delay-ms", "300"), ("far", "kbroker-delay-ms", $"{Hour}")));
        }

        await using var after = await TestBroker.StartAsync(folder);
        await using var again = await after.ConnectAsync();
        var described = await again.SendAsync<MetadataResponse>(
            new MetadataRequest { Topics = [new() { Name = name }] });
        var same = new TestTopic(again, name, described.Topics[0].TopicId);
        await Until.True(async () => Visible((await same.FetchAsync(0)).Records).Count > 0);
        Assert.Equal(["near"], Visible((await same.FetchAsync(0)).Records));
        Assert.Equal(1, after.Broker.Delivery!.Delays!.PendingCount);
        await after.StopAsync();
        Directory.Delete(folder, recursive: true);
    }

    private static byte[] Batch(params (string Value, string? Header, string? Text)[] records) =>
        Batch(RecordBatchOptions.Default, records);

    private static byte[] Batch(
        RecordBatchOptions options, params (string Value, string? Header, string? Text)[] records)
    {
        using var builder = new RecordBatchBuilder(options);
        foreach (var (value, header, text) in records)
        {
            builder.Append(Now, default(ReadOnlyMemory<byte>?), Encoding.UTF8.GetBytes(value), header is null
                ? RecordHeaders.Empty
                : RecordHeaders.Create(new RecordHeader(header, Encoding.UTF8.GetBytes(text!))));
        }

        return builder.Build().ToArray();
    }

    private static List<string?> Visible(Records? records) => [.. Read(records).Select(static r => r.Value)];

    private static List<(string? Value, long Timestamp, Dictionary<string, string> Headers)> Read(Records? records)
    {
        var found = new List<(string?, long, Dictionary<string, string>)>();
        using var codecs = new CompressionCodecs();
        var bytes = new System.Buffers.ReadOnlySequence<byte>(records?.ToArray() ?? []);
        while (RecordBatches.Inspect(bytes, out var header) == RecordBatchStatus.Whole)
        {
            using var reader = new RecordBatchReader(bytes.Slice(0, header.SizeInBytes), codecs, 1 << 24);
            while (!header.IsControl && reader.TryRead(out var record))
            {
                var headers = new Dictionary<string, string>();
                foreach (var one in record.Headers)
                    headers[one.Key] = Encoding.UTF8.GetString(one.Value!.Value.Span);
                found.Add((Encoding.UTF8.GetString(record.Value!.Value.Span), record.Timestamp, headers));
            }

            bytes = bytes.Slice(header.SizeInBytes);
        }

        return found;
    }
}
