using System.Globalization;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests;

public sealed class AdminTests(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    private IAdminClient Admin => Fixture.Admin;

    [Fact]
    public async Task Topics_are_created_described_and_deleted()
    {
        var topic = await Fixture.CreateTopicAsync(3);
        var answer = await Admin.DescribeTopicsAsync(TopicCollection.OfTopicNames([topic]));
        var described = Assert.Single(answer.TopicDescriptions);
        Assert.Equal((topic, false), (described.Name, described.IsInternal));
        Assert.Equal([0, 1, 2], described.Partitions.Select(p => p.Partition));
        Assert.All(described.Partitions, p => Assert.Equal((1, 1, 1), (p.Leader.Id, p.Replicas.Count, p.ISR.Count)));
        Assert.NotEqual((0, 0), (described.TopicId.MostSignificantBits, described.TopicId.LeastSignificantBits));
        await Admin.DeleteTopicsAsync([topic]);
        await Poll.UntilAsync("the topic is gone", () => !TopicNames().Contains(topic));
    }

    [Fact]
    public async Task A_topic_created_again_has_another_id_and_is_empty()
    {
        var topic = await Fixture.CreateTopicAsync();
        Produce(topic, ["old"]);
        var before = await IdAsync(topic);
        await Admin.DeleteTopicsAsync([topic]);
        await Poll.UntilAsync("the topic is gone", () => !TopicNames().Contains(topic));
        var specification = new TopicSpecification { Name = topic, NumPartitions = 1, ReplicationFactor = 1 };
        await Admin.CreateTopicsAsync([specification]);
        await Poll.UntilAsync("the topic is back", () => TopicNames().Contains(topic));
        Assert.NotEqual(before, await IdAsync(topic));
        Produce(topic, ["new"]);
        Assert.Equal("new", Text(Fetch(topic, 1)[0].Message.Value));
    }

    [Fact]
    public async Task A_request_to_validate_only_creates_nothing()
    {
        var topic = Fixture.NewName();
        var specification = new TopicSpecification { Name = topic, NumPartitions = 1, ReplicationFactor = 1 };
        await Admin.CreateTopicsAsync([specification], new CreateTopicsOptions { ValidateOnly = true });
        Assert.DoesNotContain(topic, TopicNames());
    }

    [Fact]
    public async Task Replicas_may_be_assigned_by_hand()
    {
        var topic = Fixture.NewName();
        var assignment = new Dictionary<int, List<int>> { [0] = [1], [1] = [1] };
        await Admin.CreateTopicsAsync(
            [new TopicSpecification { Name = topic, NumPartitions = 2, ReplicasAssignments = assignment }]);
        await Poll.UntilAsync("two partitions", () =>
            Admin.GetMetadata(topic, Limit).Topics[0].Partitions.Count == 2);
    }

    [Fact]
    public async Task Partitions_are_added_and_usable()
    {
        var topic = await Fixture.CreateTopicAsync(2);
        await Admin.CreatePartitionsAsync([new PartitionsSpecification { Topic = topic, IncreaseTo = 5 }]);
        await Poll.UntilAsync("five partitions", () => Admin.GetMetadata(topic, Limit).Topics[0].Partitions.Count == 5);
        Produce(topic, ["in the new one"], partition: 4);
        Assert.Equal("in the new one", Text(Fetch(topic, 1, partition: 4)[0].Message.Value));
        var shrink = await Assert.ThrowsAsync<CreatePartitionsException>(() =>
            Admin.CreatePartitionsAsync([new PartitionsSpecification { Topic = topic, IncreaseTo = 3 }]));
        Assert.Equal(ErrorCode.InvalidPartitions, shrink.Results[0].Error.Code);
    }

    [Fact]
    public async Task Topic_configs_are_described_with_source_and_default()
    {
        var topic = await Fixture.CreateTopicAsync(1, ("retention.ms", "12345"));
        var configs = await ConfigsAsync(ResourceType.Topic, topic);
        var retention = configs["retention.ms"];
        Assert.Equal(("12345", ConfigSource.DynamicTopicConfig), (retention.Value, retention.Source));
        Assert.False(retention.IsDefault);
        Assert.Equal("delete", configs["cleanup.policy"].Value);
        Assert.True(configs["cleanup.policy"].IsDefault);
        Assert.Equal(["1048588"], configs["max.message.bytes"].Synonyms.Select(s => s.Value).Distinct());
        Assert.True(configs.Count >= 25, $"{configs.Count} topic configs");
    }

    [Fact]
    public async Task Broker_configs_are_described()
    {
        var configs = await ConfigsAsync(ResourceType.Broker, "1");
        Assert.Equal("1", configs["node.id"].Value);
        Assert.True(configs["node.id"].IsReadOnly);
        Assert.Equal(ConfigSource.StaticBrokerConfig, configs["log.dirs"].Source);
        Assert.Equal("604800000", configs["log.retention.ms"].Value ?? "604800000");
        Assert.True(configs.Count >= 100, $"{configs.Count} broker configs");
    }

    [Fact]
    public async Task Incremental_changes_keep_what_they_do_not_name()
    {
        var topic = await Fixture.CreateTopicAsync(1, ("retention.ms", "12345"), ("cleanup.policy", "delete"));
        var resource = new ConfigResource { Type = ResourceType.Topic, Name = topic };
        await Admin.IncrementalAlterConfigsAsync(new()
        {
            [resource] =
            [
                new() { Name = "segment.bytes", Value = "2000000", IncrementalOperation = AlterConfigOpType.Set },
                new() { Name = "cleanup.policy", Value = "compact", IncrementalOperation = AlterConfigOpType.Append },
            ],
        });
        var configs = await ConfigsAsync(ResourceType.Topic, topic);
        Assert.Equal(
            ("12345", "2000000", "delete,compact"),
            (configs["retention.ms"].Value, configs["segment.bytes"].Value, configs["cleanup.policy"].Value));
        await Admin.IncrementalAlterConfigsAsync(new()
        {
            [resource] =
            [
                new() { Name = "retention.ms", IncrementalOperation = AlterConfigOpType.Delete },
                new() { Name = "cleanup.policy", Value = "delete", IncrementalOperation = AlterConfigOpType.Subtract },
            ],
        });
        configs = await ConfigsAsync(ResourceType.Topic, topic);
        Assert.Equal(("604800000", "compact"), (configs["retention.ms"].Value, configs["cleanup.policy"].Value));
    }

    [Fact]
    public async Task A_whole_alteration_resets_what_it_does_not_name()
    {
        var topic = await Fixture.CreateTopicAsync(1, ("retention.ms", "12345"));
        var resource = new ConfigResource { Type = ResourceType.Topic, Name = topic };
        await Admin.AlterConfigsAsync(new() { [resource] = [new() { Name = "segment.bytes", Value = "2000000" }] });
        var configs = await ConfigsAsync(ResourceType.Topic, topic);
        Assert.Equal(("604800000", "2000000"), (configs["retention.ms"].Value, configs["segment.bytes"].Value));
    }

    [Fact]
    public async Task Deleted_records_are_gone_and_the_rest_stays()
    {
        var topic = await Fixture.CreateTopicAsync();
        Produce(topic, Enumerable.Range(0, 100).Select(i => i.ToString(CultureInfo.InvariantCulture)));
        var deleted = await Admin.DeleteRecordsAsync([new TopicPartitionOffset(topic, 0, 60)]);
        Assert.Equal(60, Assert.Single(deleted).Offset.Value);
        Assert.Equal("60", Text(Fetch(topic, 40, offset: 60)[0].Message.Value));
        var tooFar = await Assert.ThrowsAsync<DeleteRecordsException>(() =>
            Admin.DeleteRecordsAsync([new TopicPartitionOffset(topic, 0, 101)]));
        Assert.Equal(ErrorCode.OffsetOutOfRange, tooFar.Results[0].Error.Code);
        deleted = await Admin.DeleteRecordsAsync([new TopicPartitionOffset(topic, 0, Offset.End)]);
        Assert.Equal(100, Assert.Single(deleted).Offset.Value);
    }

    [Fact]
    public async Task The_cluster_is_described()
    {
        var cluster = await Admin.DescribeClusterAsync(new() { IncludeAuthorizedOperations = true });
        Assert.NotEmpty(cluster.ClusterId);
        Assert.Equal(1, cluster.Controller.Id);
        Assert.Equal([(1, "127.0.0.1", Fixture.Broker.Port)], cluster.Nodes.Select(n => (n.Id, n.Host, n.Port)));
        Assert.NotEmpty(cluster.AuthorizedOperations);
    }

    [Fact]
    public async Task Offsets_are_listed_by_every_specification()
    {
        var topic = await Fixture.CreateTopicAsync();
        using (var producer = Producer())
            foreach (var time in new[] { 3000L, 1000L, 5000L, 2000L })
                await producer.ProduceAsync(
                    topic, new() { Value = Bytes("x"), Timestamp = new(time, TimestampType.CreateTime) });
        var cases = new (OffsetSpec Spec, long Offset, long Time)[]
        {
            (OffsetSpec.Earliest(), 0, -1),
            (OffsetSpec.Latest(), 4, -1),
            (OffsetSpec.MaxTimestamp(), 2, 5000),
            (OffsetSpec.ForTimestamp(2500), 0, 3000),
            (OffsetSpec.ForTimestamp(4000), 2, 5000),
            (OffsetSpec.ForTimestamp(6000), -1, -1),
        };
        foreach (var (spec, offset, time) in cases)
        {
            var partition = new TopicPartitionOffsetSpec { TopicPartition = new(topic, 0), OffsetSpec = spec };
            var found = Assert.Single((await Admin.ListOffsetsAsync([partition])).ResultInfos);
            Assert.Equal((offset, time), (found.TopicPartitionOffsetError.Offset.Value, found.Timestamp));
        }
    }

    private List<string> TopicNames() => [.. Admin.GetMetadata(Limit).Topics.Select(t => t.Topic)];

    private async Task<Uuid> IdAsync(string topic) =>
        (await Admin.DescribeTopicsAsync(TopicCollection.OfTopicNames([topic]))).TopicDescriptions[0].TopicId;

    private async Task<Dictionary<string, ConfigEntryResult>> ConfigsAsync(ResourceType type, string name) =>
        Assert.Single(await Admin.DescribeConfigsAsync([new ConfigResource { Type = type, Name = name }])).Entries;
}
