using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;
using KBroker.Server.Tests.Net;

namespace KBroker.Server.Tests.LogDirs;

/// <summary>
/// A log directory of two that fails, as clients see it. Every answer here was compared with that of Apache Kafka 4.3.1
/// on a directory that was full.
/// </summary>
public sealed class FailedDirectoryTests : IDisposable
{
    private readonly Disks _disks = new();

    public void Dispose() => _disks.Dispose();

    [Fact]
    public async Task New_partitions_go_where_the_fewest_are_and_the_controller_learns_where()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        await Disks.CreateTopicAsync(broker, client, "t");

        Assert.Equal(2, Disks.PartitionsIn(broker, "t", _disks.A).Count);
        Assert.Equal(2, Disks.PartitionsIn(broker, "t", _disks.B).Count);
        Assert.Empty(broker.Log.Errors);
    }

    [Fact]
    public async Task Its_partitions_answer_storage_error_and_have_no_leader_while_others_are_served()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        var topic = await Disks.CreateTopicAsync(broker, client, "t");
        var (good, bad) = (Disks.PartitionsIn(broker, "t", _disks.A)[0], Disks.PartitionsIn(broker, "t", _disks.B)[0]);
        await topic.ProduceAsync(Batches.Of("v"), partition: bad);
        var poll = topic.FetchAsync(1, maxWaitMs: 60_000, partition: bad);
        _disks.Break();

        // The answer to the append that met the failure, and to the long poll that was waiting.
        Assert.Equal(
            ErrorCode.KafkaStorageError, await Disks.ProduceUntilRefusedAsync(topic, bad));
        await TestNetwork.Eventually(
            () => broker.State.Metadata.Image.Topics.FindPartition("t", bad)!.Leader == -1, "the leader is gone");
        await poll;
        await EveryApiSaysStorageErrorAsync(client, topic, bad);

        var described = await Disks.DescribeAsync(client, "t");
        var offline = described.Partitions.Single(p => p.PartitionIndex == bad);
        Assert.Equal((ErrorCode.LeaderNotAvailable, -1, 1), (offline.ErrorCode, offline.LeaderId, offline.LeaderEpoch));
        Assert.Equal([TestBroker.NodeId], offline.OfflineReplicas);
        Assert.Empty(offline.IsrNodes);
        var online = described.Partitions.Single(p => p.PartitionIndex == good);
        Assert.Equal((ErrorCode.None, TestBroker.NodeId, 0), (online.ErrorCode, online.LeaderId, online.LeaderEpoch));
        Assert.Empty(online.OfflineReplicas);
        var pages = await client.SendAsync<DescribeTopicPartitionsResponse>(
            new DescribeTopicPartitionsRequest { Topics = [new() { Name = "t" }] });
        var page = pages.Topics[0].Partitions.Single(p => p.PartitionIndex == bad);
        Assert.Equal((ErrorCode.None, -1), (page.ErrorCode, page.LeaderId));
        Assert.Equal([TestBroker.NodeId], page.OfflineReplicas);
        Assert.Equal([TestBroker.NodeId], page.EligibleLeaderReplicas);
        Assert.Equal([TestBroker.NodeId], page.LastKnownElr);

        Assert.Equal(ErrorCode.None, (await topic.ProduceAsync(Batches.Of("v"), partition: good)).ErrorCode);
        Assert.Equal(["v"], Batches.Values((await topic.FetchAsync(0, partition: good)).Records));
        var registered = Assert.Single(broker.State.Metadata.Image.Brokers.Values).LogDirs;
        Assert.Equal([Disks.DirectoryOf(broker, _disks.A).DirectoryId], registered);
        await TestTopic.CreateAsync(client, "later", 2);
        Assert.Equal([0, 1], Disks.PartitionsIn(broker, "later", _disks.A));
        await DirectoriesSayWhichAsync(client);
    }

    [Fact]
    public async Task Its_partitions_are_back_with_their_records_when_it_is()
    {
        TestTopic topic;
        List<int> inB;
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = await Disks.CreateTopicAsync(broker, client, "t");
            inB = Disks.PartitionsIn(broker, "t", _disks.B);
            foreach (var partition in inB)
                await topic.ProduceAsync(Batches.Of($"kept-{partition}"), partition: partition);
            _disks.Break();
            await Disks.ProduceUntilRefusedAsync(topic, inB[0]);
            await broker.StopAsync();
        }

        _disks.Repair();
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            var described = await Disks.DescribeAsync(client, "t");
            Assert.Equal(topic.Id, described.TopicId);
            Assert.All(described.Partitions, static p => Assert.Equal(TestBroker.NodeId, p.LeaderId));
            Assert.All(described.Partitions, static p => Assert.Equal([TestBroker.NodeId], p.IsrNodes));
            Assert.Equal(inB, Disks.PartitionsIn(broker, "t", _disks.B));
            topic = new TestTopic(client, "t", topic.Id);
            foreach (var partition in inB)
            {
                var values = Batches.Values((await topic.FetchAsync(0, partition: partition)).Records).ToList();
                Assert.Equal($"kept-{partition}", values[0]);
                Assert.Equal(
                    ErrorCode.None, (await topic.ProduceAsync(Batches.Of("more"), partition: partition)).ErrorCode);
            }
        }
    }

    [Fact]
    public async Task A_topic_deleted_meanwhile_and_created_again_does_not_get_its_old_records_back()
    {
        TestTopic anew;
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            var topic = await Disks.CreateTopicAsync(broker, client, "t");
            for (var partition = 0; partition < 4; partition++)
                await topic.ProduceAsync(Batches.Of("old"), partition: partition);
            _disks.Break();
            await Disks.ProduceUntilRefusedAsync(topic, Disks.PartitionsIn(broker, "t", _disks.B)[0]);
            var deleted = await client.SendAsync<DeleteTopicsResponse>(
                new DeleteTopicsRequest { Topics = [new() { Name = "t" }] });
            Assert.Equal(ErrorCode.None, Assert.Single(deleted.Responses).ErrorCode);
            anew = await TestTopic.CreateAsync(client, "t", 4);
            Assert.Equal(4, Disks.PartitionsIn(broker, "t", _disks.A).Count);
            Assert.Equal(0, (await anew.ProduceAsync(Batches.Of("new"), partition: 1)).BaseOffset);
        }

        _disks.Repair();
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            anew = new TestTopic(client, "t", anew.Id);
            Assert.Equal(4, Disks.PartitionsIn(broker, "t", _disks.A).Count);
            Assert.Equal(["new"], Batches.Values((await anew.FetchAsync(0, partition: 1)).Records));
            foreach (var partition in new[] { 0, 2, 3 })
                Assert.Equal(0, (await anew.FetchAsync(0, partition: partition)).HighWatermark);
            Assert.Equal(2, Directory.GetDirectories(_disks.B, "t-*-stray").Length);
            Assert.DoesNotContain(Directory.GetDirectories(_disks.B), d => d.EndsWith("-0", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task Missing_at_the_start_it_leaves_its_partitions_offline_and_none_is_made_anew()
    {
        TestTopic topic;
        List<int> inB;
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = await Disks.CreateTopicAsync(broker, client, "t");
            inB = Disks.PartitionsIn(broker, "t", _disks.B);
            await topic.ProduceAsync(Batches.Of("kept"), partition: inB[0]);
        }

        _disks.Break();
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = new TestTopic(client, "t", topic.Id);
            await EveryApiSaysStorageErrorAsync(client, topic, inB[0], isKnown: false);
            var described = await Disks.DescribeAsync(client, "t");
            foreach (var partition in described.Partitions)
                Assert.Equal(inB.Contains(partition.PartitionIndex) ? -1 : TestBroker.NodeId, partition.LeaderId);
            await DirectoriesSayWhichAsync(client);
            Assert.Equal(2, Directory.GetDirectories(_disks.A, "t-*").Length);
        }

        _disks.Repair();
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = new TestTopic(client, "t", topic.Id);
            Assert.Equal(["kept"], Batches.Values((await topic.FetchAsync(0, partition: inB[0])).Records));
            Assert.Empty(broker.Log.Errors);
        }
    }

    [Fact]
    public async Task Replaced_by_an_empty_one_its_partitions_begin_anew_only_when_it_is_said_to_be_lost()
    {
        TestTopic topic;
        List<int> inB;
        Uuid lost;
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = await Disks.CreateTopicAsync(broker, client, "t");
            inB = Disks.PartitionsIn(broker, "t", _disks.B);
            lost = Disks.DirectoryOf(broker, _disks.B).DirectoryId;
            await topic.ProduceAsync(Batches.Of("gone"), partition: inB[0]);
        }

        Directory.Delete(_disks.B, recursive: true);
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = new TestTopic(client, "t", topic.Id);
            var refused = await topic.ProduceAsync(Batches.Of("v"), partition: inB[0]);
            Assert.Equal(ErrorCode.KafkaStorageError, refused.ErrorCode);
            Assert.Contains($"kbroker.lost.log.dirs={lost}", refused.ErrorMessage);
            Assert.Empty(Directory.GetDirectories(_disks.B));
        }

        await using (var broker = await _disks.StartAsync(("kbroker.lost.log.dirs", lost.ToString())))
        {
            await using var client = await broker.ConnectAsync();
            topic = new TestTopic(client, "t", topic.Id);
            await Disks.KnownAsync(broker);
            // The metadata knows the leader a moment before the partitions do.
            await Until.True(() => Task.FromResult(broker.State.Partitions.All.All(static p => p.IsLeader)));
            Assert.Equal(inB, Disks.PartitionsIn(broker, "t", _disks.B));
            Assert.Equal(0, (await topic.ProduceAsync(Batches.Of("v"), partition: inB[0])).BaseOffset);
            Assert.Equal(
                TestBroker.NodeId, (await Disks.DescribeAsync(client, "t")).Partitions[inB[0]].LeaderId);
        }
    }

    /// <summary>Asks for a partition that is offline in every way.</summary>
    internal static async Task EveryApiSaysStorageErrorAsync(
        ProtocolClient client, TestTopic topic, int partition, bool isKnown = true)
    {
        var produced = await topic.ProduceAsync(Batches.Of("v"), partition: partition);
        Assert.Equal((ErrorCode.KafkaStorageError, -1L, -1L),
            (produced.ErrorCode, produced.BaseOffset, produced.LogStartOffset));
        var fetched = await topic.FetchAsync(0, partition: partition);
        Assert.Equal((ErrorCode.KafkaStorageError, -1L), (fetched.ErrorCode, fetched.HighWatermark));
        var offsets = await client.SendAsync<ListOffsetsResponse>(new ListOffsetsRequest
        {
            ReplicaId = -1,
            Topics =
            [
                new() { Name = topic.Name, Partitions = [new() { PartitionIndex = partition, Timestamp = -1 }] },
            ],
        });
        Assert.Equal(ErrorCode.KafkaStorageError, offsets.Topics[0].Partitions[0].ErrorCode);
        var epochs = await client.SendAsync<OffsetForLeaderEpochResponse>(
            new OffsetForLeaderEpochRequest
            {
                Topics = [new() { Topic = topic.Name, Partitions = [new() { Partition = partition }] }],
            });
        Assert.Equal(ErrorCode.KafkaStorageError, epochs.Topics[0].Partitions[0].ErrorCode);
        var deleted = await client.SendAsync<DeleteRecordsResponse>(new DeleteRecordsRequest
        {
            Topics = [new() { Name = topic.Name, Partitions = [new() { PartitionIndex = partition, Offset = 0 }] }],
        });
        Assert.Equal(ErrorCode.KafkaStorageError, deleted.Topics[0].Partitions[0].ErrorCode);
        var producers = await client.SendAsync<DescribeProducersResponse>(
            new DescribeProducersRequest { Topics = [new() { Name = topic.Name, PartitionIndexes = [partition] }] });
        Assert.Equal(ErrorCode.KafkaStorageError, producers.Topics[0].Partitions[0].ErrorCode);
        Assert.Equal(isKnown, produced.ErrorMessage is null);
    }

    private async Task DirectoriesSayWhichAsync(ProtocolClient client)
    {
        var response = await client.SendAsync<DescribeLogDirsResponse>(new DescribeLogDirsRequest { Topics = null });
        Assert.Equal((ErrorCode.None, 2), (response.ErrorCode, response.Results.Count));
        Assert.Equal((_disks.A, ErrorCode.None), (response.Results[0].LogDir, response.Results[0].ErrorCode));
        var failed = response.Results[1];
        Assert.Equal((_disks.B, ErrorCode.KafkaStorageError), (failed.LogDir, failed.ErrorCode));
        Assert.Equal((-1L, -1L, 0), (failed.TotalBytes, failed.UsableBytes, failed.Topics.Count));
    }
}
