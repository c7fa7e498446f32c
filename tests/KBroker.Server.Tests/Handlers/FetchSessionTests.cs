using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>Fetch sessions (KIP-227) as a client sees them.</summary>
public sealed class FetchSessionTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 7, 99, MemberType = typeof(Versions))]
    public async Task A_session_answers_news_alone(short version)
    {
        var topic = await fixture.CreateTopicAsync(partitions: 2);
        var first = await SendAsync(Request(topic, 0, 0, (0, 0), (1, 0)), version);
        Assert.NotEqual(0, first.SessionId);
        Assert.Equal([0, 1], Partitions(first));

        var session = first.SessionId;
        var quiet = await SendAsync(Request(topic, session, 1), version);
        Assert.Equal((ErrorCode.None, session), (quiet.ErrorCode, quiet.SessionId));
        Assert.Empty(quiet.Responses);

        await topic.ProduceAsync(Batches.Of("news"), partition: 1);
        var news = await SendAsync(Request(topic, session, 2), version);
        Assert.Equal([1], Partitions(news));
        Assert.Equal(["news"], Batches.Values(news.Responses[0].Partitions[0].Records));

        // The client moved its position on, so the same records do not come again.
        Assert.Empty((await SendAsync(Request(topic, session, 3, (1, 1)), version)).Responses);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 7, 99, MemberType = typeof(Versions))]
    public async Task A_forgotten_partition_is_served_no_more(short version)
    {
        var topic = await fixture.CreateTopicAsync(partitions: 2);
        var session = (await SendAsync(Request(topic, 0, 0, (0, 0), (1, 0)), version)).SessionId;
        await topic.ProduceAsync(Batches.Of("x"), partition: 0);
        await topic.ProduceAsync(Batches.Of("y"), partition: 1);
        var request = Request(topic, session, 1);
        request.ForgottenTopicsData = [new() { Topic = topic.Name, TopicId = topic.Id, Partitions = [0] }];
        Assert.Equal([1], Partitions(await SendAsync(request, version)));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 7, 99, MemberType = typeof(Versions))]
    public async Task Wrong_epochs_and_unknown_sessions_are_refused(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var session = (await SendAsync(Request(topic, 0, 0, (0, 0)), version)).SessionId;
        Assert.Equal(
            ErrorCode.InvalidFetchSessionEpoch, (await SendAsync(Request(topic, session, 7), version)).ErrorCode);
        Assert.Equal(ErrorCode.None, (await SendAsync(Request(topic, session, 1), version)).ErrorCode);
        var other = session == int.MaxValue ? 1 : session + 1;
        Assert.Equal(
            ErrorCode.FetchSessionIdNotFound, (await SendAsync(Request(topic, other, 1), version)).ErrorCode);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.Fetch, 7, 99, MemberType = typeof(Versions))]
    public async Task A_closed_session_is_gone_and_its_last_answer_is_full(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        var session = (await SendAsync(Request(topic, 0, 0, (0, 0)), version)).SessionId;
        var last = await SendAsync(Request(topic, session, -1, (0, 0)), version);
        Assert.Equal((ErrorCode.None, 0), (last.ErrorCode, last.SessionId));
        Assert.Equal([0], Partitions(last));
        Assert.Equal(
            ErrorCode.FetchSessionIdNotFound, (await SendAsync(Request(topic, session, 1), version)).ErrorCode);
    }

    [Fact]
    public async Task A_session_does_not_change_between_names_and_ids()
    {
        var topic = await fixture.CreateTopicAsync();
        var session = (await SendAsync(Request(topic, 0, 0, (0, 0)), 12)).SessionId;
        Assert.Equal(
            ErrorCode.FetchSessionTopicIdError, (await SendAsync(Request(topic, session, 1), 13)).ErrorCode);
    }

    [Fact]
    public async Task A_partition_with_an_error_is_answered_until_it_is_well()
    {
        var topic = await fixture.CreateTopicAsync();
        var request = Request(topic, 0, 0, (0, 0), (1, 0));
        var session = (await SendAsync(request, 18)).SessionId;
        Assert.Equal([1], Partitions(await SendAsync(Request(topic, session, 1), 18)));
        var grown = new CreatePartitionsRequest
        {
            Topics = [new() { Name = topic.Name, Count = 2,
            Assignments = null }]
        };
        await fixture.Client.SendAsync<CreatePartitionsResponse>(grown);
        var well = await SendAsync(Request(topic, session, 2), 18);
        Assert.Equal([1], Partitions(well));
        Assert.Equal(ErrorCode.None, well.Responses[0].Partitions[0].ErrorCode);
        Assert.Empty(Partitions(await SendAsync(Request(topic, session, 3), 18)));
    }

    [Fact]
    public async Task A_busy_partition_does_not_starve_the_others()
    {
        var topic = await fixture.CreateTopicAsync(partitions: 3);
        for (var partition = 0; partition < 3; partition++)
            await topic.ProduceAsync(Batches.Of($"p{partition}"), partition: partition);
        var request = Request(topic, 0, 0, (0, 0), (1, 0), (2, 0));
        request.MaxBytes = 1;
        var session = (await SendAsync(request, 18)).SessionId;
        var served = new List<string?>();
        for (var epoch = 1; epoch <= 3; epoch++)
        {
            request = Request(topic, session, epoch);
            request.MaxBytes = 1;
            var response = await SendAsync(request, 18);
            served.AddRange(response.Responses.SelectMany(static t => t.Partitions)
                .SelectMany(static p => Batches.Values(p.Records)));
        }

        Assert.Equal(["p0", "p1", "p2"], served.Order());
    }

    [Theory]
    [InlineData((short)12)]
    [InlineData((short)18)]
    public async Task No_event_is_lost_to_a_long_poll_of_many_partitions(short version)
    {
        const int partitions = 40;
        const int writers = 4;
        const int batches = 300;
        var topic = await fixture.CreateTopicAsync(partitions);
        await using var consumer = await fixture.Broker.ConnectAsync();
        var all = Enumerable.Range(0, partitions).Select(static p => (p, 0L)).ToArray();
        var session = (await consumer.SendAsync<FetchResponse>(Request(topic, 0, 0, all), version)).SessionId;
        var writing = Task.WhenAll(Enumerable.Range(0, writers).Select(async writer =>
        {
            await using var client = await fixture.Broker.ConnectAsync();
            var random = new Random(writer);
            var mine = new TestTopic(client, topic.Name, topic.Id);
            for (var i = 0; i < batches; i++)
                await mine.ProduceAsync(Batches.Of($"{writer}-{i}"), acks: 1, partition: random.Next(partitions));
        }));
        var offsets = new Dictionary<int, long>();
        var got = new HashSet<string?>();
        var moved = new List<(int, long)>();

        // Each waits longer than its client does: only an event ends it.
        for (var epoch = 1; got.Count < writers * batches; epoch++)
        {
            var request = Request(topic, session, epoch, [.. moved]);
            request.MaxWaitMs = 600_000;
            var response = await consumer.SendAsync<FetchResponse>(request, version);
            Assert.Equal(ErrorCode.None, response.ErrorCode);
            moved.Clear();
            foreach (var data in response.Responses.SelectMany(static t => t.Partitions))
            {
                var records = Batches.Read(data.Records).ToList();
                foreach (var (offset, value) in records)
                {
                    Assert.Equal(offsets.GetValueOrDefault(data.PartitionIndex), offset);
                    offsets[data.PartitionIndex] = offset + 1;
                    Assert.True(got.Add(value));
                }

                if (records.Count > 0)
                    moved.Add((data.PartitionIndex, offsets[data.PartitionIndex]));
            }
        }

        await writing;
    }

    [Fact]
    public async Task A_session_hears_of_deleted_records_and_of_the_end_of_its_topic()
    {
        var topic = await fixture.CreateTopicAsync(partitions: 3);
        await topic.ProduceAsync(Batches.Of("a", "b"), partition: 1);
        var session = (await SendAsync(Request(topic, 0, 0, (0, 0), (1, 2), (2, 0)), 18)).SessionId;
        Assert.Empty((await SendAsync(Request(topic, session, 1), 18)).Responses);
        await fixture.Client.SendAsync<DeleteRecordsResponse>(new DeleteRecordsRequest
        {
            Topics = [new() { Name = topic.Name, Partitions = [new() { PartitionIndex = 1, Offset = 1 }] }],
        });
        var news = await SendAsync(Request(topic, session, 2), 18);
        Assert.Equal([1], Partitions(news));
        Assert.Equal(1, news.Responses[0].Partitions[0].LogStartOffset);
        await using var consumer = await fixture.Broker.ConnectAsync();
        var request = Request(topic, session, 3);
        request.MaxWaitMs = 600_000;
        var poll = consumer.SendAsync<FetchResponse>(request, 18);
        await Net.TestNetwork.Eventually(() => fixture.Broker.State.Delayed.Fetch.Delayed > 0, "the fetch waits");
        await fixture.Client.SendAsync<DeleteTopicsResponse>(
            new DeleteTopicsRequest { Topics = [new() { TopicId = topic.Id }] });
        Assert.All((await poll).Responses.SelectMany(static t => t.Partitions), static p =>
            Assert.NotEqual(ErrorCode.None, p.ErrorCode));
        var gone = await SendAsync(Request(topic, session, 4), 18);
        Assert.Equal([0, 1, 2], Partitions(gone));
        Assert.All(gone.Responses[0].Partitions, static p => Assert.Equal(ErrorCode.UnknownTopicId, p.ErrorCode));
    }

    private static FetchRequest Request(
        TestTopic topic, int sessionId, int epoch, params (int Partition, long Offset)[] partitions) => new()
        {
            MaxBytes = 1 << 20,
            MinBytes = 1,
            MaxWaitMs = 0,
            SessionId = sessionId,
            SessionEpoch = epoch,
            Topics = partitions.Length == 0 ? [] :
            [
                new()
                {
                    Topic = topic.Name,
                    TopicId = topic.Id,
                    Partitions = [.. partitions.Select(static p => new FetchRequest.FetchPartition
                    {
                        Partition = p.Partition, FetchOffset = p.Offset, PartitionMaxBytes = 1 << 20,
                    })],
                },
            ],
        };

    private static IEnumerable<int> Partitions(FetchResponse response) =>
        response.Responses.SelectMany(static t => t.Partitions).Select(static p => p.PartitionIndex).Order();

    private Task<FetchResponse> SendAsync(FetchRequest request, short version) =>
        fixture.Client.SendAsync<FetchResponse>(request, version);
}
