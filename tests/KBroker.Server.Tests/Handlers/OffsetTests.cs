using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>ListOffsets, OffsetForLeaderEpoch and DeleteRecords.</summary>
public sealed class OffsetTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.ListOffsets, 0, 99, MemberType = typeof(Versions))]
    public async Task Offsets_are_found_by_place_and_by_time(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        await topic.ProduceAsync("a", "b", "c");
        await topic.ProduceAsync("d");
        var epoch = version >= 4 ? 0 : -1;
        Assert.Equal((ErrorCode.None, -1L, 4L, epoch), await ListAsync(topic, -1, version));
        Assert.Equal((ErrorCode.None, -1L, 0L, epoch), await ListAsync(topic, -2, version));
        Assert.Equal((ErrorCode.None, 1001L, 1L, epoch), await ListAsync(topic, 1001, version));
        Assert.Equal((ErrorCode.None, 1002L, 2L, epoch), await ListAsync(topic, 1002, version));
        Assert.Equal((ErrorCode.None, 1000L, 0L, epoch), await ListAsync(topic, 5, version));
        Assert.Equal((ErrorCode.None, -1L, -1L, -1), await ListAsync(topic, 1003, version));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.ListOffsets, 0, 99, MemberType = typeof(Versions))]
    public async Task Special_places_exist_from_their_version_on(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        await topic.ProduceAsync("a", "b", "c");
        await topic.ProduceAsync("d");
        (ErrorCode, long, long, int) Since(short first, long timestamp, long offset, int epoch) => version >= first
            ? (ErrorCode.None, timestamp, offset, epoch)
            : (ErrorCode.UnsupportedVersion, -1, -1, -1);
        Assert.Equal(Since(7, 1002, 2, 0), await ListAsync(topic, -3, version));
        Assert.Equal(Since(8, -1, 0, 0), await ListAsync(topic, -4, version));
        Assert.Equal(Since(9, -1, -1, -1), await ListAsync(topic, -5, version));
        Assert.Equal(Since(11, -1, -1, -1), await ListAsync(topic, -6, version));
        Assert.Equal(ErrorCode.UnsupportedVersion, (await ListAsync(topic, -7, version)).Error);
    }

    [Fact]
    public async Task An_empty_log_has_an_end_but_no_latest_record()
    {
        var topic = await fixture.CreateTopicAsync();
        Assert.Equal((ErrorCode.None, -1L, 0L), await ListOffsetAsync(topic, -1));
        Assert.Equal((ErrorCode.None, -1L, 0L), await ListOffsetAsync(topic, -2));
        Assert.Equal((ErrorCode.None, -1L, -1L), await ListOffsetAsync(topic, -3));
        Assert.Equal((ErrorCode.None, -1L, -1L), await ListOffsetAsync(topic, 0));
    }

    [Fact]
    public async Task Unknown_partitions_repeated_ones_and_wrong_epochs_are_errors()
    {
        var topic = await fixture.CreateTopicAsync();
        var unknown = new TestTopic(fixture.Client, "not-here", Uuid.Random());
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, (await ListAsync(unknown, -1, 11)).Error);
        var request = ListRequest(topic, -1);
        request.Topics[0].Partitions[0].CurrentLeaderEpoch = 3;
        var response = await fixture.Client.SendAsync<ListOffsetsResponse>(request);
        Assert.Equal(ErrorCode.UnknownLeaderEpoch, response.Topics[0].Partitions[0].ErrorCode);
        request = ListRequest(topic, -1);
        request.Topics[0].Partitions.Add(new() { Timestamp = -2 });
        response = await fixture.Client.SendAsync<ListOffsetsResponse>(request);
        Assert.All(response.Topics[0].Partitions, static p => Assert.Equal(ErrorCode.InvalidRequest, p.ErrorCode));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.OffsetForLeaderEpoch, 0, 99, MemberType = typeof(Versions))]
    public async Task An_epoch_ends_where_the_next_begins_or_the_log_ends(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        await topic.ProduceAsync("a", "b");
        async Task<(ErrorCode, int, long)> AskAsync(string name, int epoch, int current = -1)
        {
            var response = await fixture.Client.SendAsync<OffsetForLeaderEpochResponse>(
                new OffsetForLeaderEpochRequest
                {
                    Topics =
                    [
                        new() { Topic = name,
                            Partitions = [new() { LeaderEpoch = epoch, CurrentLeaderEpoch = current }] },
                    ],
                }, version);
            var end = response.Topics[0].Partitions[0];
            return (end.ErrorCode, end.LeaderEpoch, end.EndOffset);
        }

        Assert.Equal((ErrorCode.None, 0, 2L), await AskAsync(topic.Name, 0));
        Assert.Equal((ErrorCode.None, -1, -1L), await AskAsync(topic.Name, 8));
        Assert.Equal((ErrorCode.UnknownLeaderEpoch, -1, -1L), await AskAsync(topic.Name, 0, current: 8));
        Assert.Equal((ErrorCode.UnknownTopicOrPartition, -1, -1L), await AskAsync("not-here", 0));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.DeleteRecords, 0, 99, MemberType = typeof(Versions))]
    public async Task Deleted_records_are_gone_for_every_reader(short version)
    {
        var topic = await fixture.CreateTopicAsync();
        await topic.ProduceAsync("a", "b");
        await topic.ProduceAsync("c");
        Assert.Equal((ErrorCode.None, 1L), await DeleteAsync(topic.Name, 1, version));
        Assert.Equal((ErrorCode.None, -1L, 1L), await ListOffsetAsync(topic, -2));
        Assert.Equal(ErrorCode.OffsetOutOfRange, (await topic.FetchAsync(0)).ErrorCode);
        Assert.Equal(1, (await topic.FetchAsync(1)).LogStartOffset);

        // What is below the start already is no error; the start never moves back.
        Assert.Equal((ErrorCode.None, 1L), await DeleteAsync(topic.Name, 0, version));
        Assert.Equal((ErrorCode.None, 3L), await DeleteAsync(topic.Name, -1, version));
        Assert.Equal((ErrorCode.OffsetOutOfRange, -1L), await DeleteAsync(topic.Name, 4, version));
        Assert.Equal((ErrorCode.OffsetOutOfRange, -1L), await DeleteAsync(topic.Name, -2, version));
        Assert.Equal((ErrorCode.UnknownTopicOrPartition, -1L), await DeleteAsync("not-here", 0, version));
        Assert.Equal(3, await topic.ProduceAsync("d"));
    }

    [Fact]
    public async Task A_topic_that_is_only_compacted_does_not_delete_on_request()
    {
        var topic = await fixture.CreateTopicAsync(configs: ("cleanup.policy", "compact"));
        Assert.Equal((ErrorCode.PolicyViolation, -1L), await DeleteAsync(topic.Name, -1, 2));
        var both = await fixture.CreateTopicAsync(configs: ("cleanup.policy", "compact,delete"));
        Assert.Equal((ErrorCode.None, 0L), await DeleteAsync(both.Name, -1, 2));
    }

    private static ListOffsetsRequest ListRequest(TestTopic topic, long timestamp) => new()
    {
        ReplicaId = -1,
        Topics = [new() { Name = topic.Name, Partitions = [new() { Timestamp = timestamp }] }],
    };

    private async Task<(ErrorCode Error, long Timestamp, long Offset, int Epoch)> ListAsync(
        TestTopic topic, long timestamp, short version)
    {
        var response = await fixture.Client.SendAsync<ListOffsetsResponse>(ListRequest(topic, timestamp), version);
        var found = response.Topics[0].Partitions[0];
        return (found.ErrorCode, found.Timestamp, found.Offset, found.LeaderEpoch);
    }

    private async Task<(ErrorCode Error, long Timestamp, long Offset)> ListOffsetAsync(TestTopic topic, long timestamp)
    {
        var (error, time, offset, _) = await ListAsync(topic, timestamp, 11);
        return (error, time, offset);
    }

    private async Task<(ErrorCode Error, long LowWatermark)> DeleteAsync(string name, long offset, short version)
    {
        var response = await fixture.Client.SendAsync<DeleteRecordsResponse>(
            new DeleteRecordsRequest
            {
                TimeoutMs = 1000,
                Topics = [new() { Name = name, Partitions = [new() { Offset = offset }] }],
            }, version);
        var result = response.Topics[0].Partitions[0];
        return (result.ErrorCode, result.LowWatermark);
    }
}
