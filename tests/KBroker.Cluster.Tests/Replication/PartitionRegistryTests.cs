using System.Buffers;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Cluster.Tests.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Cluster.Tests.Replication;

/// <summary>Partitions as the metadata makes them; metadata log, controller and logs are the real ones.</summary>
public sealed class PartitionRegistryTests
{
    [Fact]
    public async Task A_created_topic_is_served_when_its_creator_learns_of_it()
    {
        await using var home = await new MetadataHome().StartAsync();
        var (partitions, listener) = Follow(home);
        var id = (await home.CreateAsync("t", 2)).TopicId;

        Assert.Equal(ErrorCode.None, partitions.Find(new("t", 1), out var partition));
        Assert.True(partitions.TryFind(id, 1, out var byId));
        Assert.Same(partition, byId);
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, partitions.Find(new("t", 2), out _));
        var appended = partition.AppendAsLeader(Batch(3), -1, AppendOptions.Client);
        Assert.Equal((ErrorCode.None, 0, 2), (appended.Error, appended.Append.FirstOffset, appended.Append.LastOffset));
        await partition.WaitDurableAsync(appended.Append.NextOffset);
        Assert.Equal((3, 3), (partition.HighWatermark, partition.Log.RecoveryPoint));
        Assert.Equal(1, listener.Advanced);
    }

    [Fact]
    public async Task A_deleted_topic_is_not_served_and_may_be_created_again()
    {
        await using var home = await new MetadataHome().StartAsync();
        var (partitions, listener) = Follow(home);
        var id = (await home.CreateAsync("t")).TopicId;
        partitions.Find(new("t", 0), out var old);
        old!.AppendAsLeader(Batch(1), 1, AppendOptions.Client);
        await home.Controller.DeleteTopicsAsync(new() { TopicNames = ["t"] });

        Assert.Equal(ErrorCode.UnknownTopicOrPartition, partitions.Find(new("t", 0), out _));
        Assert.False(partitions.TryFind(id, 0, out _));
        Assert.Equal(1, listener.Lost);
        Assert.NotEqual(ErrorCode.None, old.AppendAsLeader(Batch(1), 1, AppendOptions.Client).Error);
        Assert.NotEqual(id, (await home.CreateAsync("t")).TopicId);
        partitions.Find(new("t", 0), out var fresh);
        Assert.Equal(0, fresh!.Log.LogEndOffset);
    }

    [Fact]
    public async Task Config_changes_reach_the_log()
    {
        await using var home = await new MetadataHome().StartAsync();
        var (partitions, _) = Follow(home);
        await home.CreateAsync("t");
        partitions.Find(new("t", 0), out var partition);
        await home.SetAsync(ConfigResourceType.Topic, "t", "max.message.bytes", "777");
        Assert.Equal(777, partition!.Log.Config.MaxMessageBytes);
        await home.SetAsync(ConfigResourceType.Broker, "", "log.retention.ms", "888");
        Assert.Equal(888, partition.Log.Config.RetentionMs);
        await home.SetAsync(ConfigResourceType.Broker, "", "producer.id.expiration.ms", "999");
        Assert.Equal(999, home.Logs.ProducerIdExpirationMs);
    }

    [Fact]
    public async Task No_more_replicas_are_asked_for_than_the_partition_has()
    {
        await using var home = await new MetadataHome().StartAsync();
        var (partitions, _) = Follow(home);
        await home.CreateAsync("t", configs: ("min.insync.replicas", "2"));
        partitions.Find(new("t", 0), out var partition);

        Assert.Equal(ErrorCode.None, partition!.AppendAsLeader(Batch(1), -1, AppendOptions.Client).Error);
    }

    [Fact]
    public async Task Records_of_a_topic_that_is_only_compacted_cannot_be_deleted()
    {
        await using var home = await new MetadataHome().StartAsync();
        var (partitions, _) = Follow(home);
        await home.CreateAsync("compacted", configs: ("cleanup.policy", "compact"));
        await home.CreateAsync("deleted");
        partitions.Find(new("compacted", 0), out var compacted);
        partitions.Find(new("deleted", 0), out var deleted);
        deleted!.AppendAsLeader(Batch(5), 1, AppendOptions.Client);

        Assert.Equal(ErrorCode.PolicyViolation, compacted!.DeleteRecords(-1, out _));
        Assert.Equal(ErrorCode.OffsetOutOfRange, deleted.DeleteRecords(6, out _));
        Assert.Equal((ErrorCode.None, 3), (deleted.DeleteRecords(3, out var low), low));
        Assert.Equal(ErrorCode.OffsetOutOfRange, deleted.Read(2, 100, ReadLimit.HighWatermark, -1, -1, true).Error);
    }

    [Fact]
    public async Task Other_leader_epochs_are_refused()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t");
        await home.RestartAsync(cleanShutdown: false);
        var (partitions, _) = Follow(home);
        partitions.Find(new("t", 0), out var partition);

        Assert.Equal(1, partition!.LeaderEpoch);
        Assert.Equal(ErrorCode.FencedLeaderEpoch, partition.CheckLeader(0));
        Assert.Equal(ErrorCode.UnknownLeaderEpoch, partition.CheckLeader(2));
        Assert.Equal(ErrorCode.None, partition.CheckLeader(1));
        Assert.Equal(ErrorCode.None, partition.CheckLeader(-1));
    }

    private static (PartitionRegistry, Listener) Follow(MetadataHome home)
    {
        var configs = new ConfigView(home.Configs, 1);
        home.Log.Subscribe(configs);
        home.Logs.LoadLogs((partition, _) => LogConfigs.From(configs.OfTopic(partition.Topic)));
        var listener = new Listener();
        var partitions = new PartitionRegistry(home.Logs, configs, 1, listener, NullLogger.Instance);
        home.Log.Subscribe(partitions);
        return (partitions, listener);
    }

    private static ReadOnlySequence<byte> Batch(int records)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions());
        for (var i = 0; i < records; i++)
            builder.Append(1_000, new byte[] { 1 }, new byte[] { 2 });
        return new ReadOnlySequence<byte>(builder.Build().ToArray());
    }

    private sealed class Listener : IPartitionListener
    {
        public int Advanced { get; private set; }

        public int Lost { get; private set; }

        public void OnHighWatermarkAdvanced(Partition partition) => Advanced++;

        public void OnLeadershipLost(Partition partition) => Lost++;

        public void OnLogStartOffsetAdvanced(Partition partition)
        {
        }
    }
}
