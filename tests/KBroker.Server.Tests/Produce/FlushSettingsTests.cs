using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;
using KBroker.Server.Tests.Net;
using KBroker.Storage;

namespace KBroker.Server.Tests.Produce;

/// <summary>When records reach stable storage, and who waits for it.</summary>
public sealed class FlushSettingsTests
{
    private const sbyte Topic = 2;
    private const sbyte WholeCluster = 4;

    [Fact]
    public async Task Acks_all_waits_for_stable_storage_unless_topic_or_broker_say_otherwise()
    {
        await using var broker = await TestBroker.StartAsync();
        await using var client = await broker.ConnectAsync();
        var topic = await TestTopic.CreateAsync(client, "t", 1);
        var log = LogOf(broker, "t");

        await ProduceAsync(topic, acks: 1);
        Assert.Equal((1, 0), (log.LogEndOffset, log.RecoveryPoint));
        await ProduceAsync(topic, acks: -1);
        Assert.Equal(2, log.RecoveryPoint);

        await AlterAsync(client, WholeCluster, "", "kbroker.flush.acks.all", "false");
        await ProduceAsync(topic, acks: -1);
        Assert.Equal((3, 2), (log.LogEndOffset, log.RecoveryPoint));

        // The topic's own word counts more than the broker's, in both directions.
        await AlterAsync(client, Topic, "t", "kbroker.flush.acks.all", "true");
        await ProduceAsync(topic, acks: -1);
        Assert.Equal(4, log.RecoveryPoint);
        await AlterAsync(client, WholeCluster, "", "kbroker.flush.acks.all", "true");
        await AlterAsync(client, Topic, "t", "kbroker.flush.acks.all", "false");
        await ProduceAsync(topic, acks: -1);
        Assert.Equal((5, 4), (log.LogEndOffset, log.RecoveryPoint));
    }

    [Fact]
    public async Task After_so_many_messages_the_append_itself_flushes()
    {
        await using var broker = await TestBroker.StartAsync(null, ("log.flush.interval.messages", "3"));
        await using var client = await broker.ConnectAsync();
        var topic = await TestTopic.CreateAsync(client, "t", 1);
        var log = LogOf(broker, "t");
        await ProduceAsync(topic, acks: 1);
        await ProduceAsync(topic, acks: 1);
        Assert.Equal(0, log.RecoveryPoint);
        await ProduceAsync(topic, acks: 1);
        Assert.Equal(3, log.RecoveryPoint);

        await AlterAsync(client, Topic, "t", "flush.messages", "1");
        await ProduceAsync(topic, acks: 1);
        Assert.Equal(4, log.RecoveryPoint);

        await AlterAsync(client, Topic, "t", "flush.messages", null);
        await AlterAsync(client, WholeCluster, "", "log.flush.interval.messages", "2");
        await ProduceAsync(topic, acks: 1);
        Assert.Equal(4, log.RecoveryPoint);
        await ProduceAsync(topic, acks: 1);
        Assert.Equal(6, log.RecoveryPoint);
    }

    [Fact]
    public async Task After_some_time_records_are_flushed_that_nobody_waits_for()
    {
        await using var broker = await TestBroker.StartAsync(null, ("log.flush.scheduler.interval.ms", "10"),
            ("log.flush.interval.ms", "3600000"));
        await using var client = await broker.ConnectAsync();
        var soon = await TestTopic.CreateAsync(client, "soon", 1, ("flush.ms", "0"));
        var late = await TestTopic.CreateAsync(client, "late", 1);
        await ProduceAsync(late, acks: 1);
        await ProduceAsync(soon, acks: 1);
        await TestNetwork.Eventually(() => LogOf(broker, "soon").RecoveryPoint == 1, "flush.ms of the topic passes");
        Assert.Equal(0, LogOf(broker, "late").RecoveryPoint);
        await AlterAsync(client, WholeCluster, "", "log.flush.interval.ms", "1");
        await TestNetwork.Eventually(() => LogOf(broker, "late").RecoveryPoint == 1, "the broker's interval passes");
    }

    [Fact]
    public async Task Checkpoints_are_written_at_their_intervals()
    {
        await using var broker = await TestBroker.StartAsync(null,
            ("log.flush.offset.checkpoint.interval.ms", "10"),
            ("log.flush.start.offset.checkpoint.interval.ms", "10"));
        await using var client = await broker.ConnectAsync();
        var topic = await TestTopic.CreateAsync(client, "t", 1);
        await ProduceAsync(topic, acks: -1);
        await ProduceAsync(topic, acks: -1);
        var folder = LogOf(broker, "t").Directory.Path;
        await TestNetwork.Eventually(
            () => HasLine(folder, "recovery-point-offset-checkpoint", "t 0 2"), "the recovery point is written down");
        await client.SendAsync<DeleteRecordsResponse>(new DeleteRecordsRequest
        {
            TimeoutMs = 10_000,
            Topics = [new() { Name = "t", Partitions = [new() { PartitionIndex = 0, Offset = 1 }] }],
        });
        await TestNetwork.Eventually(
            () => HasLine(folder, "log-start-offset-checkpoint", "t 0 1"), "the log's start is written down");
    }

    private static bool HasLine(string folder, string file, string line)
    {
        var path = Path.Combine(folder, file);
        return File.Exists(path) && File.ReadAllLines(path).Contains(line);
    }

    private static PartitionLog LogOf(TestBroker broker, string topic)
    {
        Assert.True(broker.State.Logs.TryGet(new TopicPartition(topic, 0), out var log));
        return log;
    }

    private static async Task ProduceAsync(TestTopic topic, short acks)
    {
        var answer = await topic.ProduceAsync(Batches.Of("v"), acks);
        Assert.Equal(ErrorCode.None, answer.ErrorCode);
    }

    private static async Task AlterAsync(
        ProtocolClient client, sbyte resourceType, string resource, string name, string? value)
    {
        var response = await client.SendAsync<IncrementalAlterConfigsResponse>(new IncrementalAlterConfigsRequest
        {
            Resources =
            [
                new()
                {
                    ResourceType = resourceType,
                    ResourceName = resource,
                    Configs = [new() { Name = name, ConfigOperation = (sbyte)(value is null ? 1 : 0), Value = value }],
                },
            ],
        });
        var result = Assert.Single(response.Responses);
        Assert.Equal((ErrorCode.None, result.ErrorMessage), (result.ErrorCode, result.ErrorMessage));
    }
}
