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
