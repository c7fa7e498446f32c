using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>OffsetCommit, OffsetFetch and OffsetDelete of simple consumers.</summary>
public sealed class CommittedOffsetTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private ProtocolClient Client => fixture.Client;

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.OffsetCommit, 2, 99, MemberType = typeof(Versions))]
    public async Task An_offset_committed_in_any_version_is_read(short version)
    {
        var topic = await fixture.CreateTopicAsync(2);
        var group = await NewGroupAsync();
        var request = group.CommitRequest(topic, 7, partition: 1, metadata: "note", epoch: 3);
        var response = await Client.SendAsync<OffsetCommitResponse>(request, version);
        var answer = Assert.Single(response.Topics);
        Assert.Equal(version >= 10 ? ("", topic.Id) : (topic.Name, Uuid.Zero), (answer.Name, answer.TopicId));
        var partition = Assert.Single(answer.Partitions);
        Assert.Equal((1, ErrorCode.None), (partition.PartitionIndex, partition.ErrorCode));
        Assert.Equal((ErrorCode.None, 7L, version >= 6 ? 3 : -1, "note"), await group.FetchAsync(topic, 1));
        Assert.Equal((ErrorCode.None, -1L, -1, ""), await group.FetchAsync(topic));
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.OffsetFetch, 1, 99, MemberType = typeof(Versions))]
    public async Task An_offset_is_read_in_any_version(short version)
    {
        var topic = await fixture.CreateTopicAsync(2);
        var group = await NewGroupAsync();
        await Client.SendAsync<OffsetCommitResponse>(group.CommitRequest(topic, 9, 0, null, 5));
        Assert.Equal(
            (ErrorCode.None, 9L, version >= 5 ? 5 : -1, ""), await group.FetchAsync(topic, 0, version));
        Assert.Equal((ErrorCode.None, -1L, -1, ""), await group.FetchAsync(topic, 1, version));
    }

    [Fact]
    public async Task The_newest_commit_holds_also_when_it_goes_back()
    {
        var topic = await fixture.CreateTopicAsync();
        var group = await NewGroupAsync();
        Assert.Equal(ErrorCode.None, await group.CommitAsync(topic, 10));
        Assert.Equal(ErrorCode.None, await group.CommitAsync(topic, 4));
        Assert.Equal(4L, (await group.FetchAsync(topic)).Offset);
    }

    [Fact]
    public async Task All_offsets_of_several_groups_are_read_at_once()
    {
        var one = await fixture.CreateTopicAsync(2);
        var two = await fixture.CreateTopicAsync();
        var first = await NewGroupAsync();
        var second = await NewGroupAsync();
        await first.CommitAsync(one, 1, 0);
        await first.CommitAsync(one, 2, 1);
        await first.CommitAsync(two, 3);
        await second.CommitAsync(two, 4);
        var response = await Client.SendAsync<OffsetFetchResponse>(new OffsetFetchRequest
        {
            Groups =
            [
                new() { GroupId = first.Id, Topics = null },
                new() { GroupId = second.Id, Topics = [new() { TopicId = two.Id, PartitionIndexes = [0] }] },
                new() { GroupId = "nobody-" + first.Id, Topics = null },
            ],
        });
        Assert.Equal([first.Id, second.Id, "nobody-" + first.Id], response.Groups.Select(static g => g.GroupId));
        Assert.All(response.Groups, static group => Assert.Equal(ErrorCode.None, group.ErrorCode));
        Assert.Equal(
            new[] { (one.Id, 0, 1L), (one.Id, 1, 2L), (two.Id, 0, 3L) }.Order(), Offsets(response.Groups[0]).Order());
        Assert.Equal([(two.Id, 0, 4L)], Offsets(response.Groups[1]));
        Assert.Empty(response.Groups[2].Topics);
    }

    [Fact]
    public async Task What_does_not_exist_has_an_error_and_the_rest_is_committed()
    {
        var topic = await fixture.CreateTopicAsync();
        var group = await NewGroupAsync();
        var request = group.CommitRequest(topic, 5);
        request.Topics[0].Partitions.Add(new() { PartitionIndex = 3, CommittedOffset = 6, CommittedMetadata = "" });
        var unknown = Uuid.Random();
        request.Topics.Add(new()
        {
            Name = "not-here",
            TopicId = unknown,
            Partitions = [new() { PartitionIndex = 0, CommittedOffset = 1, CommittedMetadata = "" }],
        });
        var byId = await Client.SendAsync<OffsetCommitResponse>(request);
        Assert.Equal(
            new[]
            {
                (topic.Id, 0, ErrorCode.None), (topic.Id, 3, ErrorCode.UnknownTopicOrPartition),
                (unknown, 0, ErrorCode.UnknownTopicId),
            }.Order(),
            byId.Topics.SelectMany(static t => t.Partitions.Select(p => (t.TopicId, p.PartitionIndex, p.ErrorCode)))
                .Order());
        var byName = await Client.SendAsync<OffsetCommitResponse>(request, 9);
        Assert.Equal(
            new[]
            {
                (topic.Name, 0, ErrorCode.None), (topic.Name, 3, ErrorCode.UnknownTopicOrPartition),
                ("not-here", 0, ErrorCode.UnknownTopicOrPartition),
            }.Order(),
            byName.Topics.SelectMany(static t => t.Partitions.Select(p => (t.Name, p.PartitionIndex, p.ErrorCode)))
                .Order());
        Assert.Equal(5L, (await group.FetchAsync(topic)).Offset);
    }

    [Fact]
    public async Task A_topic_that_does_not_exist_has_no_offset_and_an_unknown_id_is_an_error()
    {
        var group = await NewGroupAsync();
        var unknown = new TestTopic(Client, "not-here", Uuid.Random());
        Assert.Equal((ErrorCode.None, -1L, -1, ""), await group.FetchAsync(unknown, 0, 9));
        Assert.Equal((ErrorCode.UnknownTopicId, -1L, -1, ""), await group.FetchAsync(unknown));
    }

    [Theory]
    [InlineData(8, ErrorCode.IllegalGeneration)]
    [InlineData(9, ErrorCode.GroupIdNotFound)]
    [InlineData(10, ErrorCode.GroupIdNotFound)]
    public async Task A_member_of_an_unknown_group_cannot_commit(short version, ErrorCode error)
    {
        var topic = await fixture.CreateTopicAsync();
        var group = await NewGroupAsync();
        var request = group.CommitRequest(topic, 5);
        (request.GenerationIdOrMemberEpoch, request.MemberId) = (3, "somebody");
        var response = await Client.SendAsync<OffsetCommitResponse>(request, version);
        Assert.Equal(error, Assert.Single(Assert.Single(response.Topics).Partitions).ErrorCode);
    }

    [Fact]
    public async Task A_member_id_that_a_simple_group_does_not_know_is_refused()
    {
        var topic = await fixture.CreateTopicAsync();
        var group = await NewGroupAsync();
        await group.CommitAsync(topic, 5);
        var request = group.CommitRequest(topic, 6);
        (request.GenerationIdOrMemberEpoch, request.MemberId) = (3, "somebody");
        var response = await Client.SendAsync<OffsetCommitResponse>(request);
        Assert.Equal(
            ErrorCode.UnknownMemberId, Assert.Single(Assert.Single(response.Topics).Partitions).ErrorCode);
        Assert.Equal(5L, (await group.FetchAsync(topic)).Offset);
    }

    [Fact]
    public async Task Metadata_that_is_too_long_is_refused_partition_by_partition()
    {
        var topic = await fixture.CreateTopicAsync(2);
        var group = await NewGroupAsync();
        var request = group.CommitRequest(topic, 5, 0, new string('x', 4097));
        request.Topics[0].Partitions.Add(
            new() { PartitionIndex = 1, CommittedOffset = 6, CommittedMetadata = new string('y', 4096) });
        var response = await Client.SendAsync<OffsetCommitResponse>(request);
        Assert.Equal(
            [ErrorCode.OffsetMetadataTooLarge, ErrorCode.None],
            Assert.Single(response.Topics).Partitions.Select(static p => p.ErrorCode));
        Assert.Equal(-1L, (await group.FetchAsync(topic)).Offset);
        Assert.Equal(6L, (await group.FetchAsync(topic, 1)).Offset);
    }

    [Fact]
    public async Task The_empty_group_id_commits_and_reads_but_deletes_nothing()
    {
        var topic = await fixture.CreateTopicAsync();
        await NewGroupAsync();
        var group = await TestGroup.FindAsync(Client, "");
        Assert.Equal(ErrorCode.None, await group.CommitAsync(topic, 8));
        Assert.Equal(8L, (await group.FetchAsync(topic)).Offset);
        Assert.Equal(ErrorCode.InvalidGroupId, (await DeleteAsync(group, topic, 0)).ErrorCode);
    }

    [Fact]
    public async Task A_group_that_is_not_there_has_no_offsets_whoever_asks()
    {
        var group = await NewGroupAsync();
        var response = await Client.SendAsync<OffsetFetchResponse>(new OffsetFetchRequest
        {
            Groups = [new() { GroupId = group.Id, MemberId = "somebody", MemberEpoch = 3, Topics = null }],
        });
        var answer = Assert.Single(response.Groups);
        Assert.Equal(ErrorCode.None, answer.ErrorCode);
        Assert.Empty(answer.Topics);
    }

    [Fact]
    public async Task Deleted_offsets_are_gone_and_unknown_ones_have_errors()
    {
        var topic = await fixture.CreateTopicAsync(2);
        var group = await NewGroupAsync();
        Assert.Equal(ErrorCode.GroupIdNotFound, (await DeleteAsync(group, topic, 0)).ErrorCode);
        await group.CommitAsync(topic, 5, 0);
        await group.CommitAsync(topic, 6, 1);
        var response = await DeleteAsync(group, topic, 0, 7);
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        Assert.Equal(
            new[] { (0, ErrorCode.None), (7, ErrorCode.UnknownTopicOrPartition) },
            Assert.Single(response.Topics).Partitions.Select(static p => (p.PartitionIndex, p.ErrorCode)).Order());
        Assert.Equal(-1L, (await group.FetchAsync(topic, 0)).Offset);
        Assert.Equal(6L, (await group.FetchAsync(topic, 1)).Offset);
    }

    [Fact]
    public async Task Offsets_of_a_deleted_topic_are_deleted()
    {
        var topic = await fixture.CreateTopicAsync();
        var other = await fixture.CreateTopicAsync();
        var group = await NewGroupAsync();
        await group.CommitAsync(topic, 5);
        await group.CommitAsync(other, 6);
        await Client.SendAsync<DeleteTopicsResponse>(
            new DeleteTopicsRequest { Topics = [new() { TopicId = topic.Id }], TimeoutMs = 30_000 });
        var again = await TestTopic.CreateAsync(Client, topic.Name);
        var began = TimeProvider.System.GetTimestamp();
        while ((await group.FetchAsync(again, 0, 9)).Offset != -1)
            Assert.True(TimeProvider.System.GetElapsedTime(began) < ProtocolClient.Deadline, "it is still there");
        Assert.Equal(6L, (await group.FetchAsync(other)).Offset);
    }

    private static IEnumerable<(Uuid, int, long)> Offsets(OffsetFetchResponse.OffsetFetchResponseGroup group) =>
        group.Topics.SelectMany(static t => t.Partitions.Select(p => (t.TopicId, p.PartitionIndex, p.CommittedOffset)));

    private Task<TestGroup> NewGroupAsync() => TestGroup.FindAsync(Client, "g-" + fixture.NewName());

    private Task<OffsetDeleteResponse> DeleteAsync(TestGroup group, TestTopic topic, params int[] partitions) =>
        Client.SendAsync<OffsetDeleteResponse>(new OffsetDeleteRequest
        {
            GroupId = group.Id,
            Topics =
            [
                new()
                {
                    Name = topic.Name,
                    Partitions = [.. partitions.Select(static p =>
                        new OffsetDeleteRequest.OffsetDeleteRequestPartition { PartitionIndex = p })],
                },
            ],
        });
}
