using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Groups.Offsets;

/// <summary>Commits, reads, transactions and expiry on one shard.</summary>
public sealed class OffsetStoreTests
{
    private const long Day = 86_400_000;
    private readonly ShardDriver _driver = new(("offsets.retention.minutes", "1440"));

    [Fact]
    public async Task A_commit_holds_at_once_and_after_a_reload()
    {
        await CommitAsync("g", "t", 3, 42, metadata: "note", epoch: 7);
        Check();
        _driver.Reload();
        Check();

        void Check()
        {
            Assert.Equal((42L, 7, "note"), Read("g", "t", 3));
            Assert.Equal((-1L, -1, ""), Read("g", "t", 4));
            Assert.True(_driver.Shard.Offsets.HasOffsets("g"));
            Assert.Equal("", _driver.Shard.Groups.Find("g")!.ProtocolType);
        }
    }

    [Fact]
    public async Task Records_have_the_versions_that_kafka_writes()
    {
        await CommitAsync("g", "t", 0, 1);
        var request = Request("g", "t", 1, 2);
        request.RetentionTimeMs = 5000;
        await _driver.Run<OffsetCommitResponse>((shard, turn, reply) => turn.Send(
            reply, shard.Offsets.Requests.Commit(turn, new GroupRequest<OffsetCommitRequest>(request, 3, default))));
        Assert.Equal([4, 1], _driver.Log.Select(static entry => entry.Record.ValueVersion));
        var value = (OffsetCommitValue)_driver.Log[1].Record.Value!;
        Assert.Equal((_driver.NowMs, _driver.NowMs + 5000), (value.CommitTimestamp, value.ExpireTimestamp));
    }

    [Fact]
    public void Offsets_in_the_oldest_form_are_read()
    {
        _driver.Run((_, turn) =>
        {
            turn.Append(new CoordinatorRecord(
                new LegacyOffsetCommitKey { Group = "g", Topic = "t", Partition = 2 },
                new LegacyOffsetCommitValue { Offset = 11, Metadata = "old", CommitTimestamp = 5 }));
            return 0;
        });
        Assert.Equal((11L, -1, "old"), Read("g", "t", 2));
        Append(CoordinatorRecord.Tombstone(new LegacyOffsetCommitKey { Group = "g", Topic = "t", Partition = 2 }));
        Assert.False(_driver.Shard.Offsets.HasOffsets("g"));
    }

    [Fact]
    public async Task Offsets_of_a_transaction_hold_when_it_commits()
    {
        await CommitAsync("g", "t", 0, 1);
        Transactional(7, "g", "t", 0, 5);
        Transactional(8, "g", "t", 1, 6);
        Assert.Equal((1L, -1, ""), Read("g", "t", 0));
        Assert.Equal(ErrorCode.UnstableOffsetCommit, Fetch("g", "t", 0, requireStable: true).ErrorCode);
        Assert.Equal(ErrorCode.None, Fetch("g", "t", 0).ErrorCode);
        Assert.True(_driver.Shard.Offsets.Pending.Contains("g"));

        _driver.Shard.ReplayTransactionEnd(7, 0, isCommit: true);
        _driver.Shard.ReplayTransactionEnd(8, 0, isCommit: false);
        Assert.Equal((5L, -1, ""), Read("g", "t", 0));
        Assert.Equal((-1L, -1, ""), Read("g", "t", 1));
        Assert.Equal(ErrorCode.None, Fetch("g", "t", 1, requireStable: true).ErrorCode);
        Assert.False(_driver.Shard.Offsets.Pending.Contains("g"));
    }

    [Fact]
    public async Task What_was_committed_after_a_transactional_offset_stays()
    {
        Transactional(7, "g", "t", 0, 5);
        await CommitAsync("g", "t", 0, 9);
        _driver.Shard.ReplayTransactionEnd(7, 0, isCommit: true);
        Assert.Equal((9L, -1, ""), Read("g", "t", 0));
    }

    [Fact]
    public void A_transaction_checks_its_group_as_a_commit_does()
    {
        var request = new TxnOffsetCommitRequest
        {
            GroupId = "g",
            GenerationId = 4,
            MemberId = "m",
            Topics = [new() { Name = "t", Partitions = [new() { CommittedOffset = 5 }] }],
        };
        var refused = Assert.Throws<CoordinatorException>(() => CommitTransactional(request));
        Assert.Equal(ErrorCode.IllegalGeneration, refused.Error);
        (request.GenerationId, request.MemberId) = (-1, "");
        request.Topics[0].Partitions[0].CommittedMetadata = new string('x', 5000);
        Assert.Equal(
            ErrorCode.OffsetMetadataTooLarge, CommitTransactional(request).Topics[0].Partitions[0].ErrorCode);
        request.Topics[0].Partitions[0].CommittedMetadata = "";
        Assert.Equal(ErrorCode.None, CommitTransactional(request).Topics[0].Partitions[0].ErrorCode);
        Assert.Equal("t", ((OffsetCommitKey)Assert.Single(_driver.Log).Record.Key).Topic);
    }

    [Fact]
    public async Task All_offsets_of_a_group_are_deleted_pending_ones_too()
    {
        await CommitAsync("g", "t", 0, 1);
        await CommitAsync("g", "u", 0, 2);
        await CommitAsync("other", "t", 0, 3);
        Transactional(7, "g", "t", 5, 5);
        Assert.Equal(3, _driver.Run((shard, turn) => shard.Offsets.DeleteAll(turn, "g")));
        Assert.False(_driver.Shard.Offsets.Committed.Contains("g"));
        Assert.Equal(1, _driver.Shard.Offsets.Committed.Count);
        _driver.Reload();
        Assert.Equal((3L, -1, ""), Read("other", "t", 0));
    }

    [Fact]
    public async Task An_offset_of_an_earlier_topic_of_that_name_is_none_of_this_one()
    {
        var id = Uuid.Random();
        var request = Request("g", "t", 0, 4);
        request.Topics[0].TopicId = id;
        await CommitAsync(request);
        Assert.Equal(4L, Fetch("g", "t", 0, id).CommittedOffset);
        Assert.Equal(-1L, Fetch("g", "t", 0, Uuid.Random()).CommittedOffset);
        Assert.Equal(4L, Fetch("g", "t", 0).CommittedOffset);
    }

    [Fact]
    public async Task Offsets_of_deleted_topics_are_deleted_in_every_group()
    {
        var created = new MetadataDelta(MetadataImage.Empty);
        var id = Uuid.Random();
        created.Replay(new TopicRecord { Name = "t", TopicId = id });
        created.Replay(new TopicRecord { Name = "u", TopicId = Uuid.Random() });
        _driver.SetMetadata(created.Apply(new MetadataProvenance(1, 0, 0)), created);
        await CommitAsync("g", "t", 0, 1);
        await CommitAsync("h", "t", 1, 2);
        await CommitAsync("h", "u", 1, 3);
        Transactional(7, "i", "t", 0, 4);
        var deleted = new MetadataDelta(_driver.Metadata);
        deleted.Replay(new RemoveTopicRecord { TopicId = id });
        _driver.SetMetadata(deleted.Apply(new MetadataProvenance(2, 0, 0)), deleted);
        Assert.Equal((-1L, -1, ""), Read("g", "t", 0));
        Assert.Equal((3L, -1, ""), Read("h", "u", 1));
        Assert.Equal(1, _driver.Shard.Offsets.Committed.Count);
        Assert.Equal(3, _driver.Log.Count(static entry => entry.Record.Value is null));
    }

    [Fact]
    public async Task Offsets_expire_and_their_empty_group_goes_with_them()
    {
        _driver.Reload();
        await CommitAsync("g", "t", 0, 1);
        _driver.Advance(Day - 600_000);
        await CommitAsync("g", "t", 1, 2);
        Assert.Equal(2, _driver.Shard.Offsets.Committed.Count);
        _driver.Advance(1_200_000);
        Assert.Equal((-1L, -1, ""), Read("g", "t", 0));
        Assert.Equal((2L, -1, ""), Read("g", "t", 1));
        Assert.NotNull(_driver.Shard.Groups.Find("g"));
        _driver.Advance(Day);
        Assert.Null(_driver.Shard.Groups.Find("g"));
        Assert.Equal(0, _driver.Shard.Offsets.Committed.Count);
        Assert.Empty(_driver.Replayed().Groups.All);
    }

    [Fact]
    public async Task A_client_that_set_the_retention_has_its_own()
    {
        _driver.Reload();
        var request = Request("g", "t", 0, 2);
        request.RetentionTimeMs = 700_000;
        await CommitAsync(request);
        _driver.Advance(600_000);
        Assert.Equal((2L, -1, ""), Read("g", "t", 0));
        _driver.Advance(600_000);
        Assert.Equal((-1L, -1, ""), Read("g", "t", 0));
    }

    [Fact]
    public async Task An_offset_under_an_open_transaction_does_not_expire()
    {
        _driver.Reload();
        await CommitAsync("g", "t", 0, 1);
        Transactional(7, "g", "t", 0, 5);
        _driver.Advance(3 * Day);
        Assert.Equal((1L, -1, ""), Read("g", "t", 0));
        _driver.Run((shard, _) =>
        {
            shard.ReplayTransactionEnd(7, 0, isCommit: false);
            return 0;
        });
        _driver.Advance(600_000);
        Assert.Null(_driver.Shard.Groups.Find("g"));
    }

    [Fact]
    public async Task Many_offsets_expire_in_several_steps()
    {
        _driver.Reload();
        for (var group = 0; group < 10; group++)
        {
            var request = Request($"g{group}", "t", 0, 1);
            request.Topics[0].Partitions = [.. Enumerable.Range(0, 500).Select(static partition =>
                new OffsetCommitRequest.OffsetCommitRequestPartition
                {
                    PartitionIndex = partition, CommittedOffset = 1, CommittedMetadata = "",
                })];
            await CommitAsync(request);
        }

        Assert.Equal(5000, _driver.Shard.Offsets.Committed.Count);
        _driver.Advance(2 * Day);
        Assert.Equal(0, _driver.Shard.Offsets.Committed.Count);
        Assert.Empty(_driver.Shard.Groups.All);
        Assert.Equal(5010, _driver.Log.Count(static entry => entry.Record.Value is null));
    }

    private void Append(CoordinatorRecord record) => _driver.Run((_, turn) =>
    {
        turn.Append(record);
        return 0;
    });

    private static OffsetCommitRequest Request(string group, string topic, int partition, long offset) => new()
    {
        GroupId = group,
        Topics =
        [
            new()
            {
                Name = topic,
                Partitions =
                [
                    new() { PartitionIndex = partition, CommittedOffset = offset, CommittedMetadata = "" },
                ],
            },
        ],
    };

    private Task CommitAsync(
        string group, string topic, int partition, long offset, string metadata = "", int epoch = -1)
    {
        var request = Request(group, topic, partition, offset);
        request.Topics[0].Partitions[0].CommittedMetadata = metadata;
        request.Topics[0].Partitions[0].CommittedLeaderEpoch = epoch;
        return CommitAsync(request);
    }

    private async Task CommitAsync(OffsetCommitRequest request)
    {
        var response = await _driver.Run<OffsetCommitResponse>((shard, turn, reply) => turn.Send(
            reply, shard.Offsets.Requests.Commit(turn, new GroupRequest<OffsetCommitRequest>(request, 9, default))));
        Assert.All(
            response.Topics.SelectMany(static topic => topic.Partitions),
            static partition => Assert.Equal(ErrorCode.None, partition.ErrorCode));
    }

    private TxnOffsetCommitResponse CommitTransactional(TxnOffsetCommitRequest request) =>
        _driver.Run((shard, turn) => shard.Offsets.Requests.Commit(
            turn, new GroupRequest<TxnOffsetCommitRequest>(request, 3, default)));

    /// <summary>An offset as the runtime replays it from a transactional batch.</summary>
    private void Transactional(long producerId, string group, string topic, int partition, long offset)
    {
        var context = new ReplayContext(_driver.Log.Count, producerId, 0);
        var record = new CoordinatorRecord(
            new OffsetCommitKey { Group = group, Topic = topic, Partition = partition },
            new OffsetCommitValue { Offset = offset, Metadata = "" }, 4);
        _driver.Log.Add((context, record));
        _driver.Shard.Replay(context, record.Key, record.Value);
    }

    private (long Offset, int LeaderEpoch, string? Metadata) Read(string group, string topic, int partition)
    {
        var found = Fetch(group, topic, partition);
        return (found.CommittedOffset, found.CommittedLeaderEpoch, found.Metadata);
    }

    private OffsetFetchResponse.OffsetFetchResponsePartitions Fetch(
        string group, string topic, int partition, Uuid topicId = default, bool requireStable = false) =>
        Assert.Single(Assert.Single(_driver.Shard.Offsets.Requests.Fetch(
            new OffsetFetchRequest.OffsetFetchRequestGroup
            {
                GroupId = group,
                Topics = [new() { Name = topic, TopicId = topicId, PartitionIndexes = [partition] }],
            },
            requireStable).Topics).Partitions);
}
