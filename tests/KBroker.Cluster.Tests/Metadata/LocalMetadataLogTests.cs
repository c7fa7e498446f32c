using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Tests.Metadata;

public sealed class LocalMetadataLogTests
{
    [Fact]
    public void An_unstable_metadata_version_needs_to_be_allowed()
    {
        Assert.Throws<ArgumentException>(() => SupportedFeatures.ParseLevels("metadata.version=31"));
        Assert.Throws<ArgumentException>(() => SupportedFeatures.ParseLevels("metadata.version=4.4-IV0"));
        Assert.Equal(31, SupportedFeatures.ParseLevels("metadata.version=4.4-IV0", true)["metadata.version"]);
        Assert.Equal(30, SupportedFeatures.ParseLevels("", true)["metadata.version"]);
    }

    [Fact]
    public async Task A_new_directory_is_formatted_with_the_newest_features()
    {
        await using var home = await new MetadataHome().StartAsync();

        Assert.Equal(30, home.Image.Features.MetadataVersion);
        Assert.Equal(SupportedFeatures.DefaultLevels, home.Image.Features.Levels);
        Assert.Equal("1", home.Image.Configs.Of(ConfigResource.DefaultBroker)["min.insync.replicas"]);
        Assert.Equal((1, 1), (home.Image.ControllerId, home.Image.ControllerEpoch));
        Assert.Equal(home.Logs.ClusterId, home.Image.ClusterId);
        Assert.False(home.Image.Brokers[1].Fenced);
        Assert.Equal(home.BrokerEpoch, home.Image.Brokers[1].Epoch);
        Assert.True(File.Exists(Path.Combine(home.Directory, "bootstrap.checkpoint")));
        Assert.Equal(
            """{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0"""
                + ""","currentVoters":[{"voterId":1}],"data_version":0}""",
            await File.ReadAllTextAsync(Path.Combine(home.LogDirectory, "quorum-state"),
                TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Bootstrap_features_come_from_the_configuration()
    {
        await using var home = await new MetadataHome(
            null, ("kbroker.bootstrap.features",
                "metadata.version=4.0-IV3,eligible.leader.replicas.version=0,share.version=0")).StartAsync();

        Assert.Equal(25, home.Image.Features.MetadataVersion);
        Assert.Equal(0, home.Image.Features.Level("share.version"));
        Assert.Equal(2, home.Image.Features.Level("transaction.version"));
        Assert.Empty(home.Image.Configs.Of(ConfigResource.DefaultBroker));
        Assert.Null(home.Image.Brokers[1].CordonedLogDirs);
    }

    [Fact]
    public async Task Everything_is_there_again_after_a_restart_in_a_new_epoch()
    {
        await using var home = await new MetadataHome().StartAsync();
        var created = await home.CreateAsync("orders", partitions: 3, configs: ("retention.ms", "1000"));
        await home.CreateAsync("gone");
        await home.Controller.DeleteTopicsAsync(new() { TopicNames = ["gone"] });
        await home.SetAsync(ConfigResourceType.Broker, "", "log.retention.ms", "5000");
        await home.RestartAsync();

        var topic = home.Image.Topics.Find("orders")!;
        Assert.Equal(created.TopicId, topic.Id);
        Assert.Same(topic, home.Image.Topics.Find(topic.Id));
        Assert.Equal(3, topic.Partitions.Length);
        Assert.Equal((1, 0), (topic.Partitions[2].Leader, topic.Partitions[2].LeaderEpoch));
        Assert.Equal("1000", home.Image.Configs.OfTopic("orders")["retention.ms"]);
        Assert.Equal("5000", home.Image.Configs.Of(ConfigResource.DefaultBroker)["log.retention.ms"]);
        Assert.Null(home.Image.Topics.Find("gone"));
        Assert.Equal(2, home.Image.ControllerEpoch);
    }

    [Fact]
    public async Task After_a_crash_partitions_are_led_in_a_new_epoch()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("orders");
        await home.RestartAsync(cleanShutdown: false);

        Assert.Equal((1, 1, 1), Epochs(home.Image.Topics.FindPartition("orders", 0)!));
        static (int, int, int) Epochs(PartitionImage p) => (p.Leader, p.LeaderEpoch, p.PartitionEpoch);
    }

    [Fact]
    public async Task A_snapshot_makes_the_same_image_as_the_log()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("orders", partitions: 3, configs: ("retention.ms", "1000"));
        await home.SetAsync(ConfigResourceType.Group, "g", "consumer.session.timeout.ms", "50000");
        await home.Controller.AllocateProducerIdsAsync(new() { BrokerId = 1, BrokerEpoch = home.BrokerEpoch });
        home.Log.Append(
        [
            new(new ClientQuotaRecord { Entity = [new() { EntityType = "user", EntityName = null }], Key = "k",
                Value = 2.5 }, 0),
            new(new UserScramCredentialRecord { Name = "u", Mechanism = 1, Iterations = 4096 }, 0),
            new(new AccessControlEntryRecord { Id = Uuid.Random(), ResourceName = "r", Principal = "User:a",
                Host = "*" }, 0),
            new(new DelegationTokenRecord { Owner = "User:a", TokenId = "t" }, 0),
        ]);
        await home.Log.CommitAsync();
        var before = MetadataHome.Text(home.Image);
        home.Log.WriteSnapshot();
        var snapshot = Directory.GetFiles(home.LogDirectory, "*.checkpoint").Single();
        Assert.Equal($"{home.Image.Provenance.LastContainedOffset + 1:D20}-0000000001.checkpoint",
            Path.GetFileName(snapshot));
        await home.CreateAsync("behind.the.snapshot");
        await home.StopAsync();

        home.OpenLog();
        Assert.NotNull(home.Image.Topics.Find("behind.the.snapshot"));
        Assert.Equal(before.Length + 2, MetadataHome.Text(home.Image).Length);
        Assert.Equal(before, MetadataHome.Text(FromSnapshotOnly(snapshot)));
    }

    [Fact]
    public async Task A_snapshot_is_written_when_the_log_grows_and_old_ones_go()
    {
        await using var home = await new MetadataHome(
            null, ("metadata.log.max.record.bytes.between.snapshots", "2000"), ("metadata.max.retention.bytes",
                "100")).StartAsync();
        for (var i = 0; i < 60; i++)
            await home.CreateAsync($"topic-{i}");
        await home.RestartAsync();
        Assert.Equal(60, home.Image.Topics.Count);

        // Stopping waits for the snapshot that the restart may have begun.
        await home.StopAsync();
        Assert.Single(Directory.GetFiles(home.LogDirectory, "*.checkpoint"));
    }

    [Fact]
    public async Task A_change_of_many_records_is_there_whole_or_not_at_all()
    {
        await using var home = new MetadataHome();
        var log = home.OpenLog();
        log.BecomeLeader();
        var before = new FileInfo(Path.Combine(home.LogDirectory, "00000000000000000000.log")).Length;
        await log.AppendAsync([.. Enumerable.Range(0, 25_000).Select(i => Config($"g{i}"))]);
        Assert.Equal(25_001, log.Image.Configs.Resources.Count);
        var next = log.NextOffset;
        await home.StopAsync();
        home.OpenLog();
        Assert.Equal(next, home.Log.NextOffset);
        await home.StopAsync();
        Assert.Equal(25_001, home.OpenLog().Image.Configs.Resources.Count);
        await home.StopAsync();
        var file = new FileInfo(Path.Combine(home.LogDirectory, "00000000000000000000.log"));
        await using (var stream = file.Open(FileMode.Open))
            stream.SetLength(before + ((file.Length - before) * 2 / 3));

        home.OpenLog();
        Assert.Single(home.Log.Image.Configs.Resources);
        home.Log.BecomeLeader();
        await home.Log.AppendAsync([Config("later")]);
        await home.StopAsync();
        Assert.Equal(2, home.OpenLog().Image.Configs.Resources.Count);
    }

    [Fact]
    public async Task A_torn_tail_is_cut_and_what_was_acknowledged_stays()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("acknowledged");
        await home.StopAsync();
        await File.AppendAllTextAsync(
            Path.Combine(home.LogDirectory, "00000000000000000000.log"), "half a batch",
                TestContext.Current.CancellationToken);
        await home.StartAsync(cleanShutdown: false);

        Assert.NotNull(home.Image.Topics.Find("acknowledged"));
        Assert.Equal(ErrorCode.None, (await home.CreateAsync("next")).ErrorCode);
    }

    [Fact]
    public async Task A_directory_of_another_quorum_is_refused()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.StopAsync();
        var path = Path.Combine(home.LogDirectory, "quorum-state");
        var text = await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(
            path, text.Replace("[{\"voterId\":1}]", "[{\"voterId\":1},{\"voterId\":2}]"),
                TestContext.Current.CancellationToken);

        var refused = Assert.Throws<InvalidMetadataException>(home.OpenLog().BecomeLeader);
        Assert.Contains("[1, 2]", refused.Message);
    }

    [Fact]
    public async Task Records_that_do_not_fit_are_refused_before_anything_is_written()
    {
        await using var home = new MetadataHome();
        var log = home.OpenLog();
        log.BecomeLeader();
        var next = log.NextOffset;

        Assert.Throws<InvalidMetadataException>(() =>
            log.Append([new(new RemoveTopicRecord { TopicId = Uuid.Random() }, 0)]));
        Assert.Equal(next, log.NextOffset);
    }

    [Fact]
    public async Task Subscribers_see_every_image_in_order_and_before_the_answer()
    {
        await using var home = await new MetadataHome().StartAsync();
        var seen = new Recorder();
        home.Log.Subscribe(seen);
        await home.CreateAsync("a");
        await home.CreateAsync("b");
        await home.Controller.DeleteTopicsAsync(new() { TopicNames = ["a"] });

        Assert.Equal(["all 0", "+a", "+b", "-a"], seen.Steps);
    }

    private static MetadataRecord Config(string group) => new(
        new ConfigRecord
        {
            ResourceType = 32,
            ResourceName = group,
            Name = "consumer.session.timeout.ms",
            Value = "50000"
        }, 0);

    private static MetadataImage FromSnapshotOnly(string path)
    {
        var delta = new MetadataDelta(MetadataImage.Empty);
        using var codecs = new KBroker.Protocol.Records.CompressionCodecs();
        foreach (var record in SnapshotFile.Read(new KBroker.Storage.Files.PhysicalFileSystem(), path, codecs).Records)
            delta.Replay(record);
        return delta.Apply(MetadataProvenance.Empty);
    }

    private sealed class Recorder : IMetadataSubscriber
    {
        public List<string> Steps { get; } = [];

        public void OnMetadata(MetadataUpdate update)
        {
            if (update.Delta is null)
                Steps.Add($"all {update.Current.Topics.Count}");
            Steps.AddRange(update.Delta is null ? [] : update.ChangedTopics.Select(t => "+" + t.Name));
            Steps.AddRange(update.DeletedTopics.Select(t => "-" + t.Name));
        }
    }
}
