using System.Text;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Handlers;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Delivery;

/// <summary>ListPendingRecords over the wire.</summary>
public sealed class PendingRecordsTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private const long Hour = 3_600_000;
    private static readonly (string Name, string Value) Delays = ("kbroker.delay.enable", "true");

    private static long Now => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    [Fact]
    public async Task What_is_pending_is_told_soonest_first_and_what_is_cancelled_is_not()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        var due = Now + Hour;
        Assert.Equal(0, await DelayAsync(topic, 0, due + 2, due, due + 1));
        Assert.Equal(3, await ProduceAsync(topic, 0, ("kbroker-cancel", 2)));
        var answer = Assert.Single(await ListAsync(topic.Name, 10, 0));
        Assert.Equal([(1L, due, 1L), (0L, due + 2, 0L)], Entries(answer));
        Assert.Equal((2L, due, 4L, true), (answer.PendingCount, answer.NextDueMs, answer.UpToOffset, answer.IsEnabled));
        Assert.Equal((-1L, -1L), (answer.NextFromMs, answer.NextFromOffset));
    }

    [Fact]
    public async Task An_answer_has_a_limit_over_all_partitions_and_tells_where_each_goes_on()
    {
        var topic = await fixture.CreateTopicAsync(3, Delays);
        var due = Now + Hour;
        await DelayAsync(topic, 0, due, due, due);
        await DelayAsync(topic, 2, due + 1);
        var partitions = await ListAsync(topic.Name, 2);
        Assert.Equal([0, 1, 2], partitions.Select(static p => p.PartitionIndex));
        Assert.Equal([3L, 0L, 1L], partitions.Select(static p => p.PendingCount));
        Assert.Equal([(0L, due, 0L), (1L, due, 1L)], Entries(partitions[0]));
        Assert.Equal((due, 2), (partitions[0].NextFromMs, partitions[0].NextFromOffset));
        Assert.Equal(-1, partitions[1].NextFromOffset);
        Assert.Empty(partitions[2].Entries);
        Assert.Equal((0, 0), (partitions[2].NextFromMs, partitions[2].NextFromOffset));
        var rest = Assert.Single(await ListAsync(topic.Name, 2, [0], due, 2));
        Assert.Equal([(2L, due, 2L)], Entries(rest));
        Assert.Equal(-1, rest.NextFromOffset);
        var numbers = await ListAsync(topic.Name, 0);
        Assert.All(numbers, static p => Assert.Equal((0, -1L), (p.Entries.Count, p.NextFromOffset)));
    }

    [Fact]
    public async Task Single_records_can_be_asked_for()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        var due = Now + Hour;
        await DelayAsync(topic, 0, due, due, due);
        var request = Request(topic.Name, 10, [0]);
        request.Offsets = [2, 0, 99];
        var response = await fixture.Client.SendAsync<ListPendingRecordsResponse>(request);
        Assert.Equal([(0L, due, 0L), (2L, due, 2L)], Entries(response.Topics[0].Partitions[0]));
        request.Offsets = [.. Enumerable.Repeat(0L, ListPendingRecordsHandler.OffsetsMax + 1)];
        response = await fixture.Client.SendAsync<ListPendingRecordsResponse>(request);
        Assert.Equal(ErrorCode.InvalidRequest, response.ErrorCode);
    }

    [Fact]
    public async Task Without_topics_all_that_delay_answer()
    {
        var one = await fixture.CreateTopicAsync(2, Delays);
        var plain = await fixture.CreateTopicAsync();
        await DelayAsync(one, 1, Now + Hour);
        var response = await fixture.Client.SendAsync<ListPendingRecordsResponse>(
            new ListPendingRecordsRequest { Limit = ListPendingRecordsHandler.EntriesMax });
        Assert.DoesNotContain(response.Topics, t => t.Name == plain.Name);
        var found = Assert.Single(response.Topics, t => t.Name == one.Name);
        Assert.Equal([0L, 1L], found.Partitions.Select(static p => p.PendingCount));
        Assert.Equal(response.Topics.Select(static t => t.Name).Order(StringComparer.Ordinal),
            response.Topics.Select(static t => t.Name));
    }

    [Fact]
    public async Task What_cannot_be_told_has_Kafkas_errors()
    {
        var plain = await fixture.CreateTopicAsync();
        var refused = Assert.Single(await ListAsync(plain.Name, 1, 0));
        Assert.Equal(ErrorCode.InvalidConfig, refused.ErrorCode);
        Assert.Equal(
            $"Topic {plain.Name} allows no delays (kbroker.delay.enable is false), and none is pending.",
            refused.ErrorMessage);
        Assert.Equal(
            ErrorCode.UnknownTopicOrPartition, Assert.Single(await ListAsync(plain.Name, 1, 7)).ErrorCode);
        Assert.Equal(
            ErrorCode.UnknownTopicOrPartition, Assert.Single(await ListAsync("nobody-made-this", 1)).ErrorCode);
        var response = await fixture.Client.SendAsync<ListPendingRecordsResponse>(
            new ListPendingRecordsRequest { Kind = 99 });
        Assert.Equal(ErrorCode.InvalidRequest, response.ErrorCode);
        Assert.Contains("Kind is 99", response.ErrorMessage, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_topic_that_switched_delays_off_still_tells_what_is_pending()
    {
        var topic = await fixture.CreateTopicAsync(1, Delays);
        await DelayAsync(topic, 0, Now + Hour);
        var altered = await fixture.Client.SendAsync<IncrementalAlterConfigsResponse>(
            new IncrementalAlterConfigsRequest
            {
                Resources =
                [
                    new()
                    {
                        ResourceType = 2,
                        ResourceName = topic.Name,
                        Configs = [new() { Name = Delays.Name, Value = "false" }],
                    },
                ],
            });
        Assert.Equal(ErrorCode.None, altered.Responses[0].ErrorCode);
        var answer = Assert.Single(await ListAsync(topic.Name, 1, 0));
        Assert.Equal((1L, false), (answer.PendingCount, answer.IsEnabled));
    }

    private static List<(long Offset, long DueMs, long StoredOffset)> Entries(
        ListPendingRecordsResponse.PartitionResponse partition)
    {
        Assert.Equal((ErrorCode.None, null), (partition.ErrorCode, partition.ErrorMessage));
        return [.. partition.Entries.Select(static e => (e.Offset, e.DueMs, e.StoredOffset))];
    }

    private static ListPendingRecordsRequest Request(
        string topic, int limit, List<int> partitions, long fromMs = 0, long fromOffset = 0) => new()
        {
            Topics = [new() { Name = topic, PartitionIndexes = partitions }],
            Limit = limit,
            FromMs = fromMs,
            FromOffset = fromOffset,
        };

    private static Task<long> DelayAsync(TestTopic topic, int partition, params long[] dues) => ProduceAsync(
        topic, partition, [.. dues.Select(static due => ("kbroker-deliver-at", due))]);

    private static async Task<long> ProduceAsync(
        TestTopic topic, int partition, params (string Header, long Value)[] records)
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        foreach (var (header, value) in records)
        {
            builder.Append(Now, default(ReadOnlyMemory<byte>?), "v"u8.ToArray(), RecordHeaders.Create(
                new RecordHeader(header, Encoding.ASCII.GetBytes($"{value}"))));
        }

        var answer = await topic.ProduceAsync(builder.Build().ToArray(), partition: partition);
        Assert.Equal(ErrorCode.None, answer.ErrorCode);
        return answer.BaseOffset;
    }

    private Task<List<ListPendingRecordsResponse.PartitionResponse>> ListAsync(
        string topic, int limit, params int[] partitions) => ListAsync(topic, limit, partitions, 0, 0);

    private async Task<List<ListPendingRecordsResponse.PartitionResponse>> ListAsync(
        string topic, int limit, int[] partitions, long fromMs, long fromOffset)
    {
        var response = await fixture.Client.SendAsync<ListPendingRecordsResponse>(
            Request(topic, limit, [.. partitions], fromMs, fromOffset));
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        var answered = Assert.Single(response.Topics);
        Assert.Equal(topic, answered.Name);
        return answered.Partitions;
    }
}
