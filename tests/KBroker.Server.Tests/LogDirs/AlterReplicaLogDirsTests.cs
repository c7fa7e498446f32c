using System.Collections.Concurrent;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Tests.Brokers;
using KBroker.Server.Tests.Handlers;
using KBroker.Server.Tests.Net;

namespace KBroker.Server.Tests.LogDirs;

/// <summary>AlterReplicaLogDirs, and what DescribeLogDirs and other clients see meanwhile.</summary>
public sealed class AlterReplicaLogDirsTests : IDisposable
{
    private const string Throttle = "replica.alter.log.dirs.io.max.bytes.per.second";

    private readonly Disks _disks = new();

    public void Dispose() => _disks.Dispose();

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.AlterReplicaLogDirs, 0, 99, MemberType = typeof(Versions))]
    public async Task A_replica_moves_with_all_its_records(short version)
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        var topic = await Disks.CreateTopicAsync(broker, client, "t");
        var partition = Disks.PartitionsIn(broker, "t", _disks.A)[0];
        for (var i = 0; i < 50; i++)
            await topic.ProduceAsync(Batches.Of($"v{i}"), partition: partition);

        Assert.Equal(ErrorCode.None, await AlterAsync(client, "t", partition, _disks.B, version));
        await MovedAsync(broker, "t", partition, _disks.B);
        Assert.Equal(50, (await topic.ProduceAsync(Batches.Of("more"), partition: partition)).BaseOffset);
        var values = Batches.Values((await topic.FetchAsync(0, partition: partition)).Records).ToList();
        Assert.Equal(Enumerable.Range(0, 50).Select(static i => $"v{i}"), values);
        Assert.Equal(["more"], Batches.Values((await topic.FetchAsync(50, partition: partition)).Records));
        var described = (await DescribeAsync(client)).Single(d => d.Partition == partition);
        Assert.Equal((_disks.B, false, 0L), (described.Directory, described.IsFuture, described.Lag));
        var image = broker.State.Metadata.Image.Topics.FindPartition("t", partition)!;
        Assert.Equal(Disks.DirectoryOf(broker, _disks.B).DirectoryId, image.DirectoryOf(TestBroker.NodeId));
        Assert.Equal((TestBroker.NodeId, 0), (image.Leader, image.LeaderEpoch));
        Assert.Empty(broker.Log.Errors);
    }

    [Fact]
    public async Task Delayed_records_are_delivered_where_their_replica_has_moved()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        var topic = await TestTopic.CreateAsync(client, "t", 4, ("kbroker.delay.enable", "true"));
        await Disks.KnownAsync(broker);
        var partition = Disks.PartitionsIn(broker, "t", _disks.A)[0];
        var due = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() + 1500;
        await topic.ProduceAsync(Delayed(due), partition: partition);
        await topic.ProduceAsync(Delayed(due + 3_600_000), partition: partition);
        Assert.Equal(ErrorCode.None, await AlterAsync(client, "t", partition, _disks.B));
        await MovedAsync(broker, "t", partition, _disks.B);
        await Until.True(async () => Visible(await topic.FetchAsync(0, partition: partition)).Any());
        Assert.Equal([$"{due}"], Visible(await topic.FetchAsync(0, partition: partition)));
        Assert.True(broker.State.Partitions.TryFind(topic.Id, partition, out var moved));
        Assert.NotNull(moved.Log.StartGuard);
        Assert.Equal(1, broker.Broker.Delivery!.Delays!.PendingCount);
        Assert.Empty(broker.Log.Errors);
    }

    [Fact]
    public async Task Refusals_are_those_of_kafka()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        await Disks.CreateTopicAsync(broker, client, "t");
        Assert.Equal(ErrorCode.LogDirNotFound, await AlterAsync(client, "t", 0, "/nowhere"));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, await AlterAsync(client, "nobody", 0, _disks.A));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, await AlterAsync(client, "t", 9, _disks.A));
        var long_ = new string('x', 230);
        await TestTopic.CreateAsync(client, long_);
        Assert.Equal(ErrorCode.InvalidTopicException, await AlterAsync(client, long_, 0, _disks.A));

        var inB = Disks.PartitionsIn(broker, "t", _disks.B)[0];
        var inA = Disks.PartitionsIn(broker, "t", _disks.A)[0];
        _disks.Break();
        await Disks.ProduceUntilRefusedAsync(await TopicAsync(client, "t"), inB);
        Assert.Equal(ErrorCode.KafkaStorageError, await AlterAsync(client, "t", inB, _disks.A));
        Assert.Equal(ErrorCode.KafkaStorageError, await AlterAsync(client, "t", inA, _disks.B));
        Assert.Equal(ErrorCode.KafkaStorageError, await AlterAsync(client, "t", inB, _disks.B));
    }

    [Fact]
    public async Task A_directory_is_remembered_for_a_partition_that_is_not_there_yet()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        await Disks.CreateTopicAsync(broker, client, "t");
        foreach (var partition in new[] { 0, 1, 2 })
            Assert.Equal(ErrorCode.UnknownTopicOrPartition, await AlterAsync(client, "later", partition, _disks.B));
        await TestTopic.CreateAsync(client, "later", 3);
        Assert.Equal([0, 1, 2], Disks.PartitionsIn(broker, "later", _disks.B));
    }

    [Fact]
    public async Task A_throttled_move_shows_its_lag_can_be_ended_and_goes_on_after_a_restart()
    {
        TestTopic topic;
        int partition;
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = await Disks.CreateTopicAsync(broker, client, "t");
            partition = Disks.PartitionsIn(broker, "t", _disks.A)[0];
            for (var i = 0; i < 20; i++)
                await topic.ProduceAsync(Batches.Of($"{i}-" + new string('x', 200_000)), partition: partition);
            await ThrottleAsync(client, "1000");
            Assert.Equal(ErrorCode.None, await AlterAsync(client, "t", partition, _disks.B));
            await TestNetwork.Eventually(
                () => broker.State.Logs.Moves.Futures.Any(static f => f.LogEndOffset > 0), "the copy has begun");
            var future = (await DescribeAsync(client)).Single(static d => d.IsFuture);
            Assert.Equal((_disks.B, partition), (future.Directory, future.Partition));
            Assert.InRange(future.Lag, 1, 19);
            Assert.Single(Directory.GetDirectories(_disks.B, $"t-{partition}.*-future"));

            // To the directory where it is: the move ends.
            Assert.Equal(ErrorCode.None, await AlterAsync(client, "t", partition, _disks.A));
            Assert.DoesNotContain(await DescribeAsync(client), static d => d.IsFuture);
            Assert.Empty(Directory.GetDirectories(_disks.B, "*-future"));

            Assert.Equal(ErrorCode.None, await AlterAsync(client, "t", partition, _disks.B));
            Assert.Equal(ErrorCode.None, await AlterAsync(client, "t", partition, _disks.B));
            await TestNetwork.Eventually(
                () => broker.State.Logs.Moves.Futures.Any(static f => f.LogEndOffset > 0), "the copy has begun again");
            await broker.StopAsync();
            Assert.Empty(broker.Log.Errors);
        }

        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            Assert.Single(broker.State.Logs.Moves.Futures);
            Assert.Contains(partition, Disks.PartitionsIn(broker, "t", _disks.A));
            await ThrottleAsync(client, long.MaxValue.ToString());
            await MovedAsync(broker, "t", partition, _disks.B);
            topic = new TestTopic(client, "t", topic.Id);
            Assert.Equal(20, (await topic.ProduceAsync(Batches.Of("end"), partition: partition)).BaseOffset);
            for (var i = 0; i < 20; i++)
            {
                var value = Batches.Values((await topic.FetchAsync(i, partition: partition)).Records).First();
                Assert.StartsWith($"{i}-x", value);
            }

            Assert.Empty(broker.Log.Errors);
        }
    }

    [Fact]
    public async Task A_topic_deleted_while_it_moves_is_gone()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        var (_, partition) = await BeginSlowMoveAsync(broker, client);
        await client.SendAsync<DeleteTopicsResponse>(
            new DeleteTopicsRequest { Topics = [new() { Name = "t" }] });
        Assert.Empty(broker.State.Logs.Moves.Futures);
        Assert.Empty(Directory.GetDirectories(_disks.B, "*-future"));
        await ThrottleAsync(client, long.MaxValue.ToString());
        var anew = await TestTopic.CreateAsync(client, "t", 4);
        Assert.Equal(0, (await anew.ProduceAsync(Batches.Of("new"), partition: partition)).BaseOffset);
        Assert.Empty(broker.Log.Errors);
    }

    [Fact]
    public async Task Producers_and_consumers_notice_nothing_of_a_partition_that_moves_back_and_forth()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        await using var writer = await broker.ConnectAsync();
        await using var reader = await broker.ConnectAsync();
        var created = await Disks.CreateTopicAsync(broker, client, "t");
        var topic = new TestTopic(writer, "t", created.Id);
        var partition = Disks.PartitionsIn(broker, "t", _disks.A)[0];
        var id = await client.SendAsync<InitProducerIdResponse>(new InitProducerIdRequest { TransactionalId = null });
        using var stop = new CancellationTokenSource();
        var sent = 0;
        var producing = Task.Run(
            async () =>
            {
                // Idempotent: a batch that was stored and answered with an error would be seen as a gap or duplicate.
                while (!stop.IsCancellationRequested)
                {
                    var batch = Batches.Of(
                        RecordBatchOptions.Default with
                        {
                            ProducerId = id.ProducerId,
                            ProducerEpoch = id.ProducerEpoch,
                            BaseSequence = sent,
                        },
                        $"v{sent}");
                    var answer = await topic.ProduceAsync(batch, partition: partition);
                    Assert.Equal((ErrorCode.None, sent), (answer.ErrorCode, (int)answer.BaseOffset));
                    sent++;
                }
            }, TestContext.Current.CancellationToken);
        var seen = new ConcurrentQueue<string?>();
        var consuming = Task.Run(
            async () =>
            {
                var source = new TestTopic(reader, "t", created.Id);
                while (!producing.IsCompleted || seen.Count < Volatile.Read(ref sent))
                {
                    var data = await source.FetchAsync(seen.Count, maxWaitMs: 100, partition: partition);
                    Assert.Equal(ErrorCode.None, data.ErrorCode);
                    foreach (var (_, value) in Batches.Read(data.Records).Where(r => r.Offset >= seen.Count))
                        seen.Enqueue(value);
                }
            }, TestContext.Current.CancellationToken);
        for (var round = 0; round < 20; round++)
        {
            var target = round % 2 == 0 ? _disks.B : _disks.A;
            var before = Volatile.Read(ref sent);
            Assert.Equal(ErrorCode.None, await AlterAsync(client, "t", partition, target));
            await MovedAsync(broker, "t", partition, target);
            await TestNetwork.Eventually(
                () => Volatile.Read(ref sent) > before || producing.IsCompleted, "the producer goes on");
        }

        await stop.CancelAsync();
        await producing;
        await consuming;
        Assert.Equal(Enumerable.Range(0, sent).Select(static i => $"v{i}"), seen);
        Assert.Empty(broker.Log.Errors);
        Assert.Equal(0, broker.State.Metadata.Image.Topics.FindPartition("t", partition)!.LeaderEpoch);
    }

    [Fact]
    public async Task A_target_that_fails_leaves_the_replica_where_it_is()
    {
        await using var broker = await _disks.StartAsync();
        await using var client = await broker.ConnectAsync();
        var (topic, partition) = await BeginSlowMoveAsync(broker, client);
        _disks.Break();
        await ThrottleAsync(client, long.MaxValue.ToString());
        await TestNetwork.Eventually(() => Disks.DirectoryOf(broker, _disks.B).IsOffline, "the target is offline");
        await TestNetwork.Eventually(() => broker.State.Logs.Moves.Futures.Count == 0, "the copy is given up");
        Assert.Equal(20, (await topic.ProduceAsync(Batches.Of("v"), partition: partition)).BaseOffset);
        await broker.StopAsync();

        // With the target back, what was copied there does not get in the way.
        _disks.Repair();
        await using var again = await _disks.StartAsync();
        await using var other = await again.ConnectAsync();
        await MovedAsync(again, "t", partition, _disks.B);
        var data = await new TestTopic(other, "t", topic.Id).FetchAsync(20, partition: partition);
        Assert.Equal(["v"], Batches.Values(data.Records));
    }

    /// <summary>A partition of topic t with 20 records on its way from a to b, which would take an hour.</summary>
    private async Task<(TestTopic Topic, int Partition)> BeginSlowMoveAsync(TestBroker broker, ProtocolClient client)
    {
        var topic = await Disks.CreateTopicAsync(broker, client, "t");
        var partition = Disks.PartitionsIn(broker, "t", _disks.A)[0];
        for (var i = 0; i < 20; i++)
            await topic.ProduceAsync(Batches.Of(new string('x', 200_000)), partition: partition);
        await ThrottleAsync(client, "1000");
        Assert.Equal(ErrorCode.None, await AlterAsync(client, "t", partition, _disks.B));
        await TestNetwork.Eventually(
            () => broker.State.Logs.Moves.Futures.Any(static f => f.LogEndOffset > 0), "the copy has begun");
        return (topic, partition);
    }

    private static async Task<TestTopic> TopicAsync(ProtocolClient client, string name) =>
        new(client, name, (await Disks.DescribeAsync(client, name)).TopicId);

    private static async Task<ErrorCode> AlterAsync(
        ProtocolClient client, string topic, int partition, string directory, short version = -1)
    {
        var response = await client.SendAsync<AlterReplicaLogDirsResponse>(
            new AlterReplicaLogDirsRequest
            {
                Dirs = [new() { Path = directory, Topics = [new() { Name = topic, Partitions = [partition] }] }],
            }, version);
        var answer = Assert.Single(response.Results);
        Assert.Equal((topic, partition), (answer.TopicName, Assert.Single(answer.Partitions).PartitionIndex));
        return answer.Partitions[0].ErrorCode;
    }

    private static Task ThrottleAsync(ProtocolClient client, string rate) =>
        client.SendAsync<IncrementalAlterConfigsResponse>(new IncrementalAlterConfigsRequest
        {
            Resources =
            [
                new()
                {
                    ResourceType = 4,
                    ResourceName = "",
                    Configs = [new() { Name = Throttle, Value = rate, ConfigOperation = 0 }],
                },
            ],
        });

    private static Task MovedAsync(TestBroker broker, string topic, int partition, string directory) =>
        TestNetwork.Eventually(
            () => Disks.PartitionsIn(broker, topic, directory).Contains(partition)
                && broker.State.Logs.Moves.Futures.All(f => f.TopicPartition != new Storage.TopicPartition(
                    topic, partition)),
            $"{topic}-{partition} is in {directory}");

    private static async Task<List<(string Directory, int Partition, bool IsFuture, long Lag)>> DescribeAsync(
        ProtocolClient client)
    {
        var response = await client.SendAsync<DescribeLogDirsResponse>(
            new DescribeLogDirsRequest { Topics = [new() { Topic = "t", Partitions = [0, 1, 2, 3] }] });
        return [.. response.Results.SelectMany(static d => d.Topics.SelectMany(t => t.Partitions.Select(
            p => (d.LogDir, p.PartitionIndex, p.IsFutureKey, p.OffsetLag))))];
    }

    /// <summary>What a consumer sees; fillers have no value.</summary>
    private static IEnumerable<string?> Visible(FetchResponse.PartitionData data) =>
        Batches.Values(data.Records).Where(static v => !string.IsNullOrEmpty(v));

    private static byte[] Delayed(long due)
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        builder.Append(
            DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(),
            default(ReadOnlyMemory<byte>?),
            System.Text.Encoding.UTF8.GetBytes($"{due}"),
            RecordHeaders.Create(new RecordHeader(
                "kbroker-deliver-at", System.Text.Encoding.UTF8.GetBytes($"{due}"))));
        return builder.Build().ToArray();
    }
}
