using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Server.Tests.Brokers;

/// <summary>What a broker still knows after a clean stop, and the shapes in which one may be started.</summary>
public sealed class RestartTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kbroker-restart-").FullName;

    [Fact]
    public async Task Topics_ids_configs_records_watermarks_and_the_cluster_id_stay()
    {
        string clusterId;
        Uuid id;
        await using (var broker = await TestBroker.StartAsync(_folder))
        {
            await using var client = await broker.ConnectAsync();
            var topic = await TestTopic.CreateAsync(client, "kept", 2, ("retention.ms", "-1"),
                ("segment.bytes", "1048576"));
            id = topic.Id;
            await topic.ProduceAsync("a", "b");
            await topic.ProduceAsync("c");
            await client.SendAsync<DeleteRecordsResponse>(
                new DeleteRecordsRequest { Topics = [new() { Name = "kept", Partitions = [new() { Offset = 1 }] }] });
            var doomed = await TestTopic.CreateAsync(client, "doomed");
            await doomed.ProduceAsync("gone");
            await client.SendAsync<DeleteTopicsResponse>(
                new DeleteTopicsRequest { Topics = [new() { TopicId = doomed.Id }] });
            clusterId = (await client.SendAsync<DescribeClusterResponse>(new DescribeClusterRequest())).ClusterId;
            await broker.StopAsync();
            Assert.Empty(broker.Log.Errors);
        }

        await using (var broker = await TestBroker.StartAsync(_folder))
        {
            await using var client = await broker.ConnectAsync();
            Assert.Equal(
                clusterId, (await client.SendAsync<DescribeClusterResponse>(new DescribeClusterRequest())).ClusterId);
            var all = await client.SendAsync<MetadataResponse>(new MetadataRequest { Topics = null });
            var described = Assert.Single(all.Topics);
            Assert.Equal(("kept", id, 2), (described.Name, described.TopicId, described.Partitions.Count));
            var topic = new TestTopic(client, "kept", id);
            var data = await topic.FetchAsync(2);
            Assert.Equal((3L, 1L), (data.HighWatermark, data.LogStartOffset));
            Assert.Equal(["c"], Batches.Values(data.Records));
            Assert.Equal(ErrorCode.OffsetOutOfRange, (await topic.FetchAsync(0)).ErrorCode);
            var log = broker.State.Partitions.All.First(static p => p.TopicPartition.Partition == 0).Log;
            Assert.Equal((-1L, 1048576), (log.Config.RetentionMs, log.Config.SegmentBytes));
            Assert.Equal(3, await topic.ProduceAsync("d"));
            Assert.Empty(broker.Log.Errors);
        }
    }

    [Fact]
    public async Task Producers_are_remembered_and_no_id_is_given_twice()
    {
        var ids = new HashSet<long>();
        TestTopic topic;
        byte[] batch;
        await using (var broker = await TestBroker.StartAsync(_folder))
        {
            await using var client = await broker.ConnectAsync();
            topic = await TestTopic.CreateAsync(client, "t");
            var id = await NewIdAsync(client);
            batch = Batches.Of(
                RecordBatchOptions.Default with { ProducerId = id, ProducerEpoch = 0, BaseSequence = 0 }, "once");
            Assert.Equal(ErrorCode.None, (await topic.ProduceAsync(batch)).ErrorCode);

            // More than a block: the second block, too, must never come again.
            ids.Add(id);
            while (ids.Count < 1_500)
                Assert.True(ids.Add(await NewIdAsync(client)), "an id was given twice");
        }

        await using (var broker = await TestBroker.StartAsync(_folder))
        {
            await using var client = await broker.ConnectAsync();
            Assert.True(ids.Add(await NewIdAsync(client)), "an id was given twice");
            topic = new TestTopic(client, topic.Name, topic.Id);
            var again = await topic.ProduceAsync(batch);
            Assert.Equal((ErrorCode.None, 0L), (again.ErrorCode, again.BaseOffset));
            Assert.Equal(["once"], Batches.Values((await topic.FetchAsync(0)).Records));
        }

        static async Task<long> NewIdAsync(ProtocolClient client) =>
            (await client.SendAsync<InitProducerIdResponse>(
                new InitProducerIdRequest { TransactionalId = null })).ProducerId;
    }

    [Fact]
    public async Task A_combined_nodes_properties_are_taken_as_they_are()
    {
        await using var broker = await TestBroker.StartAsync(
            _folder,
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.quorum.voters", "1@localhost:9093"),
            ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
            ("inter.broker.listener.name", "PLAINTEXT"),
            ("controller.listener.names", "CONTROLLER"),
            ("listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"),
            ("num.network.threads", "3"),
            ("num.io.threads", "8"),
            ("socket.send.buffer.bytes", "102400"),
            ("socket.receive.buffer.bytes", "102400"),
            ("socket.request.max.bytes", "104857600"),
            ("num.partitions", "1"),
            ("num.recovery.threads.per.data.dir", "1"),
            ("offsets.topic.replication.factor", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("log.retention.hours", "168"),
            ("log.segment.bytes", "1073741824"),
            ("log.retention.check.interval.ms", "300000"));
        await using (var client = await broker.ConnectAsync())
        {
            var topic = await TestTopic.CreateAsync(client, "t");
            Assert.Equal(0, await topic.ProduceAsync("v"));
            var internals = await client.SendAsync<MetadataResponse>(
                new MetadataRequest { Topics = [new() { Name = "__consumer_offsets" }] });
            Assert.Equal(50, internals.Topics[0].Partitions.Count);
            Assert.True(internals.Topics[0].IsInternal);
            var offsets = broker.State.Partitions.All.First(static p => p.TopicPartition.Topic == "__consumer_offsets");
            Assert.True(offsets.Log.Config.IsCompacted);
        }

        await using var controller = await broker.ConnectAsync("CONTROLLER");
        var versions = await controller.SendAsync<ApiVersionsResponse>(
            new ApiVersionsRequest { ClientSoftwareName = "test", ClientSoftwareVersion = "1" });
        Assert.Equal(ErrorCode.None, versions.ErrorCode);
        var keys = versions.ApiKeys.Select(static api => (ApiKey)api.ApiKey).ToList();
        Assert.Contains(ApiKey.DescribeQuorum, keys);
        Assert.DoesNotContain(ApiKey.Produce, keys);
        Assert.DoesNotContain(ApiKey.Metadata, keys);
        var cluster =
            await controller.SendAsync<DescribeClusterResponse>(new DescribeClusterRequest { EndpointType = 2 });
        Assert.Equal((ErrorCode.None, 2), (cluster.ErrorCode, cluster.EndpointType));
        var node = Assert.Single(cluster.Brokers);
        Assert.Equal((1, broker.PortOf("CONTROLLER")), (node.BrokerId, node.Port));
        var mismatched = await controller.SendAsync<DescribeClusterResponse>(new DescribeClusterRequest());
        Assert.Equal(ErrorCode.MismatchedEndpointType, mismatched.ErrorCode);
    }

    [Fact]
    public async Task Two_brokers_in_one_process_do_not_meet()
    {
        await using var one = await TestBroker.StartAsync();
        await using var two = await TestBroker.StartAsync();
        await using var first = await one.ConnectAsync();
        await using var second = await two.ConnectAsync();
        var topic = await TestTopic.CreateAsync(first, "t");
        await topic.ProduceAsync("one");
        var other = await second.SendAsync<MetadataResponse>(
            new MetadataRequest { Topics = [new() { Name = "t" }], AllowAutoTopicCreation = false });
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, other.Topics[0].ErrorCode);
        Assert.NotEqual(
            (await first.SendAsync<DescribeClusterResponse>(new DescribeClusterRequest())).ClusterId,
            (await second.SendAsync<DescribeClusterResponse>(new DescribeClusterRequest())).ClusterId);
        var twin = await TestTopic.CreateAsync(second, "t");
        Assert.Equal(0, await twin.ProduceAsync("two"));
        Assert.Equal(["one"], Batches.Values((await topic.FetchAsync(0)).Records));
    }

    [Fact]
    public async Task A_stop_answers_a_long_poll_and_what_was_accepted()
    {
        await using var broker = await TestBroker.StartAsync(_folder);
        await using var client = await broker.ConnectAsync();
        var topic = await TestTopic.CreateAsync(client, "t");
        var poll = client.SendAsync<FetchResponse>(topic.FetchRequest(0, maxWaitMs: 60_000));
        await Net.TestNetwork.Eventually(() => broker.State.Delayed.Fetch.Delayed == 1, "the fetch waits");
        await broker.StopAsync();
        Assert.Equal(ErrorCode.None, (await poll).Responses[0].Partitions[0].ErrorCode);
        Assert.Empty(broker.Log.Errors);
    }

    [Fact]
    public async Task A_damaged_log_is_refused_alone_and_its_topic_can_be_deleted_and_made_anew()
    {
        TestTopic damaged;
        TestTopic sound;
        await using (var broker = await TestBroker.StartAsync(_folder))
        {
            await using var client = await broker.ConnectAsync();
            damaged = await TestTopic.CreateAsync(client, "damaged");
            sound = await TestTopic.CreateAsync(client, "sound");
            await damaged.ProduceAsync("a");
            await damaged.ProduceAsync("b");
            await sound.ProduceAsync("c");
        }

        // Without its mark of a clean stop the broker looks at what lies behind; the recovery point is past the damage.
        File.Delete(Path.Combine(_folder, "data", ".kafka_cleanshutdown"));
        var file = Path.Combine(_folder, "data", "damaged-0", "00000000000000000000.log");
        var bytes = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
        Array.Clear(bytes, 0, 30);
        await File.WriteAllBytesAsync(file, bytes, TestContext.Current.CancellationToken);
        await using (var broker = await TestBroker.StartAsync(_folder))
        {
            await using var client = await broker.ConnectAsync();
            sound = new TestTopic(client, "sound", sound.Id);
            Assert.Equal(["c"], Batches.Values((await sound.FetchAsync(0)).Records));
            var refused = await new TestTopic(client, "damaged", damaged.Id).FetchAsync(0);
            Assert.Contains(refused.ErrorCode, new[] { ErrorCode.KafkaStorageError, ErrorCode.CorruptMessage });
            await client.SendAsync<DeleteTopicsResponse>(
                new DeleteTopicsRequest { Topics = [new() { TopicId = damaged.Id }] });
            var anew = await TestTopic.CreateAsync(client, "damaged");
            Assert.Equal(0, await anew.ProduceAsync("fresh"));
        }
    }

    [Fact]
    public async Task A_broker_whose_directory_fails_says_so_to_its_producers_and_its_host()
    {
        await using var broker = await TestBroker.StartAsync(_folder);
        await using var client = await broker.ConnectAsync();
        var topic = await TestTopic.CreateAsync(client, "t", 1, ("segment.bytes", "1048576"));
        var big = Batches.Of(new string('x', 700_000));
        Assert.Equal(ErrorCode.None, (await topic.ProduceAsync(big)).ErrorCode);
        Assert.False(broker.Broker.Failure.IsCompleted);

        // The next append begins a new segment, whose file cannot be created.
        Directory.Delete(Path.Combine(_folder, "data", "t-0"), recursive: true);
        Assert.Equal(ErrorCode.KafkaStorageError, (await topic.ProduceAsync(big)).ErrorCode);
        await Assert.ThrowsAsync<Storage.StorageException>(
            () => broker.Broker.Failure.WaitAsync(ProtocolClient.Deadline, TestContext.Current.CancellationToken));
        Assert.Equal(ErrorCode.KafkaStorageError, (await topic.FetchAsync(0)).ErrorCode);
        var directories = await client.SendAsync<DescribeLogDirsResponse>(new DescribeLogDirsRequest { Topics = null });
        Assert.Equal(ErrorCode.KafkaStorageError, Assert.Single(directories.Results).ErrorCode);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
