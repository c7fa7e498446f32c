using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Tests.Metadata;

/// <summary>Codes and messages are those that Apache Kafka 4.3.1 gave to the same requests.</summary>
public sealed class LocalControllerTests
{
    private const ConfigResourceType Topic = ConfigResourceType.Topic;
    private const ConfigResourceType Broker = ConfigResourceType.Broker;

    [Theory]
    [InlineData(Topic, "t", "nope", "x", ErrorCode.InvalidConfig, "Unknown topic config name: nope")]
    [InlineData(Topic, "t", "retention.ms", null, ErrorCode.InvalidRequest,
        "Null value not supported for : retention.ms")]
    [InlineData(Topic, "missing", "retention.ms", "1", ErrorCode.UnknownTopicOrPartition,
        "The topic 'missing' does not exist.")]
    [InlineData(Topic, "", "retention.ms", "1", ErrorCode.InvalidRequest, "Default topic resources are not allowed.")]
    [InlineData(Topic, "a b", "retention.ms", "1", ErrorCode.InvalidTopicException,
        "Topic name is invalid: 'a b' contains one or "
        + "more characters other than ASCII alphanumerics, '.', '_' and '-'")]
    [InlineData(Broker, "7", "log.retention.ms", "1", ErrorCode.InvalidRequest,
        "Unexpected broker id, expected 1, but received 7")]
    [InlineData(Broker, "x", "log.retention.ms", "1", ErrorCode.InvalidRequest,
        "Node id must be an integer, but it is: x")]
    [InlineData(Broker, "", "node.id", "5", ErrorCode.InvalidRequest,
        "Cannot update these configs dynamically: [node.id]")]
    [InlineData(Broker, "1", "log.retention.ms", "x", ErrorCode.InvalidRequest,
        "Invalid value x for configuration log.retention.ms: Not a number of type LONG")]
    [InlineData(Broker, "1", "min.insync.replicas", "2", ErrorCode.InvalidConfig,
        "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")]
    [InlineData(ConfigResourceType.Group, "", "consumer.session.timeout.ms", "50000", ErrorCode.InvalidRequest,
        "Default group resources are not allowed.")]
    [InlineData(ConfigResourceType.Group, "g", "nope", "1", ErrorCode.InvalidConfig, "Unknown group config name: nope")]
    [InlineData(ConfigResourceType.ClientMetrics, "", "interval.ms", "100", ErrorCode.InvalidRequest,
        "Subscription name can't be empty")]
    [InlineData(ConfigResourceType.ClientMetrics, "m", "nope", "1", ErrorCode.InvalidRequest,
        "Unknown client metrics configuration: nope")]
    [InlineData(ConfigResourceType.BrokerLogger, "1", "nope", "INFO", ErrorCode.InvalidConfig,
        "Logger nope does not exist!")]
    [InlineData((ConfigResourceType)3, "g", "nope", "1", ErrorCode.InvalidRequest, "Unknown resource type 3")]
    [InlineData(Broker, "1", "some.unknown", "1", ErrorCode.None, null)]
    public async Task A_config_change_is_answered(
        ConfigResourceType type, string resource, string name, string? value, ErrorCode error, string? message)
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t");

        Assert.Equal((error, message), await home.SetAsync(type, resource, name, value));
        Assert.Equal(error == ErrorCode.None, home.Image.Configs.Of(new(type, resource)).ContainsKey(name));
    }

    [Fact]
    public async Task A_list_is_appended_to_and_subtracted_from()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t");

        Assert.Equal((ErrorCode.None, null), await home.SetAsync(Topic, "t", "cleanup.policy", "compact",
            operation: 2));
        Assert.Equal("delete,compact", home.Image.Configs.OfTopic("t")["cleanup.policy"]);
        Assert.Equal((ErrorCode.None, null), await home.SetAsync(Topic, "t", "cleanup.policy", "delete", operation: 3));
        Assert.Equal("compact", home.Image.Configs.OfTopic("t")["cleanup.policy"]);
        Assert.Equal(
            (ErrorCode.InvalidConfig, "Can't APPEND to key retention.ms because its type is not LIST."),
            await home.SetAsync(Topic, "t", "retention.ms", "1", operation: 2));
        Assert.Equal((ErrorCode.None, null), await home.SetAsync(Topic, "t", "cleanup.policy", null, operation: 1));
        Assert.Empty(home.Image.Configs.OfTopic("t"));
    }

    [Fact]
    public async Task A_resource_twice_in_a_request_is_refused()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t");
        IncrementalAlterConfigsRequest.AlterConfigsResource Resource(string name) => new()
        {
            ResourceType = 2,
            ResourceName = "t",
            Configs = [new() { Name = name, Value = "1000000" }],
        };
        var response = await home.Controller.IncrementalAlterConfigsAsync(
            new() { Resources = [Resource("retention.ms"), Resource("segment.ms")] });

        Assert.All(response.Responses, r => Assert.Equal(
            (ErrorCode.InvalidRequest, "Each resource must appear at most once."), (r.ErrorCode, r.ErrorMessage)));
        Assert.Empty(home.Image.Configs.OfTopic("t"));
    }

    [Fact]
    public async Task Legacy_alter_configs_replaces_everything()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t", configs: ("retention.ms", "1"));
        var response = await home.Controller.AlterConfigsAsync(new()
        {
            Resources = [new() { ResourceType = 2, ResourceName = "t", Configs = [new() { Name = "segment.ms",
                Value = "7" }] }],
        });

        Assert.Equal(ErrorCode.None, response.Responses.Single().ErrorCode);
        Assert.Equal([KeyValuePair.Create("segment.ms", "7")], home.Image.Configs.OfTopic("t"));
    }

    [Theory]
    [InlineData("metadata.version", 31, 1,
        "Invalid update version 31 for feature metadata.version. Local controller 1 only "
        + "supports versions 7-30")]
    [InlineData("metadata.version", 29, 1,
        "Invalid update version 29 for feature metadata.version. Can't downgrade the version "
        + "of this feature without setting the upgrade type to either safe or unsafe downgrade.")]
    [InlineData("metadata.version", 29, 2,
        "Unsupported metadata.version downgrade from 30 to 29. Refusing to perform the "
        + "requested downgrade because it might delete metadata information.")]
    [InlineData("metadata.version", 29, 3,
        "Unsupported metadata.version downgrade from 30 to 29. Unsafe metadata downgrade is "
        + "not supported in this version.")]
    [InlineData("metadata.version", -1, 2,
        "Invalid update version -1 for feature metadata.version. A feature version cannot be "
        + "less than 0.")]
    [InlineData("nope.version", 1, 1,
        "Invalid update version 1 for feature nope.version. Local controller 1 does not support "
        + "this feature.")]
    [InlineData("group.version", 1, 0,
        "Invalid update version 1 for feature group.version. The controller does not support the "
        + "given upgrade type.")]
    [InlineData("group.version", 0, 2, null)]
    [InlineData("transaction.version", 1, 3, null)]
    public async Task A_feature_update_is_answered(string feature, short level, sbyte type, string? problem)
    {
        const string prefix = "The update failed for all features since the following feature had an error: ";
        await using var home = await new MetadataHome().StartAsync();
        var before = home.Image.Features.Level(feature);
        UpdateFeaturesRequest Request(bool validateOnly) => new()
        {
            FeatureUpdates = [new() { Feature = feature, MaxVersionLevel = level, UpgradeType = type }],
            ValidateOnly = validateOnly,
        };
        await home.Controller.UpdateFeaturesAsync(Request(true), 2);
        Assert.Equal(before, home.Image.Features.Level(feature));
        var response = await home.Controller.UpdateFeaturesAsync(Request(false), 2);

        Assert.Equal(problem is null ? ErrorCode.None : ErrorCode.InvalidUpdateVersion, response.ErrorCode);
        Assert.Equal(problem is null ? null : prefix + problem, response.ErrorMessage);
        Assert.Equal(problem is null ? level : before, home.Image.Features.Level(feature));
    }

    [Fact]
    public async Task Producer_ids_come_in_blocks_that_survive_a_restart()
    {
        await using var home = await new MetadataHome().StartAsync();
        Assert.Equal((0, 1000), await Allocate());
        Assert.Equal((1000, 1000), await Allocate());
        await home.RestartAsync();
        Assert.Equal((2000, 1000), await Allocate());
        var stale = await home.Controller.AllocateProducerIdsAsync(new()
        {
            BrokerId = 1,
            BrokerEpoch = home.BrokerEpoch - 1
        });
        Assert.Equal(ErrorCode.StaleBrokerEpoch, stale.ErrorCode);

        async Task<(long, int)> Allocate()
        {
            var response = await home.Controller.AllocateProducerIdsAsync(new()
            {
                BrokerId = 1,
                BrokerEpoch = home.BrokerEpoch
            });
            return (response.ProducerIdStart, response.ProducerIdLen);
        }
    }

    [Fact]
    public async Task Elections_that_are_not_needed_are_answered_as_such()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t");
        var named = await home.Controller.ElectLeadersAsync(
            new()
            {
                TopicPartitions = [new() { Topic = "t", Partitions = [0, 9] }, new() { Topic = "x",
                Partitions = [0] }]
            }, 2);
        var all = await home.Controller.ElectLeadersAsync(new() { TopicPartitions = null }, 2);

        Assert.Equal(
        [
            "t 0 ElectionNotNeeded Leader election not needed for topic partition.",
            "t 9 UnknownTopicOrPartition No such partition as t-9",
            "x 0 UnknownTopicOrPartition No such topic as x",
        ], named.ReplicaElectionResults.SelectMany(
            t => t.PartitionResult.Select(p => $"{t.Topic} {p.PartitionId} {p.ErrorCode} {p.ErrorMessage}")));
        Assert.Empty(Assert.Single(all.ReplicaElectionResults).PartitionResult);
    }

    [Fact]
    public async Task Reassignments_are_answered_as_one_node_can()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t", 4);
        AlterPartitionReassignmentsRequest.ReassignablePartition To(int partition, params int[]? replicas) =>
            new() { PartitionIndex = partition, Replicas = replicas is null ? null : [.. replicas] };
        var response = await home.Controller.AlterPartitionReassignmentsAsync(new()
        {
            Topics = [new() { Name = "t", Partitions = [To(0, 1), To(1, null), To(2, 1, 2), To(3), To(9, 1)] }],
        });
        var ongoing = await home.Controller.ListPartitionReassignmentsAsync(new() { Topics = null });

        Assert.Equal(
        [
            "0 None ", "1 NoReassignmentInProgress ",
            "2 InvalidReplicaAssignment The manual partition assignment includes broker 2, but no such broker is "
                + "registered.",
            "3 InvalidReplicaAssignment The manual partition assignment includes an empty replica list.",
            "9 UnknownTopicOrPartition Unable to find partition t:9.",
        ], response.Responses.Single().Partitions.Select(p => $"{p.PartitionIndex} {p.ErrorCode} {p.ErrorMessage}"));
        Assert.Empty(ongoing.Topics);
    }

    [Fact]
    public async Task The_quorum_is_this_node()
    {
        await using var home = await new MetadataHome().StartAsync();
        var response = await home.Controller.DescribeQuorumAsync(new()
        {
            Topics = [new() { TopicName = "__cluster_metadata", Partitions = [new() { PartitionIndex = 0 },
                new() { PartitionIndex = 1 }] }],
        });

        var partitions = response.Topics.Single().Partitions;
        Assert.Equal((1, 1, home.Log.NextOffset), (partitions[0].LeaderId, partitions[0].LeaderEpoch,
            partitions[0].HighWatermark));
        Assert.Equal(1, partitions[0].CurrentVoters.Single().ReplicaId);
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, partitions[1].ErrorCode);
        Assert.Equal("CONTROLLER", response.Nodes!.Single().Listeners.Single().Name);
    }

    [Fact]
    public async Task Unknown_brokers_cannot_be_unregistered_and_this_one_not_while_it_runs()
    {
        await using var home = await new MetadataHome().StartAsync();
        var unknown = await home.Controller.UnregisterBrokerAsync(new() { BrokerId = 9 });
        var self = await home.Controller.UnregisterBrokerAsync(new() { BrokerId = 1 });

        Assert.Equal((ErrorCode.BrokerIdNotRegistered, "Broker ID 9 is not currently registered"), (unknown.ErrorCode,
            unknown.ErrorMessage));
        Assert.Equal(ErrorCode.InvalidRequest, self.ErrorCode);
        Assert.True(home.Image.Brokers.ContainsKey(1));
    }

    [Fact]
    public async Task A_broker_that_stops_is_fenced_and_comes_back_at_the_next_start()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t");
        await home.Controller.BeginControlledShutdownAsync(1, home.BrokerEpoch);
        Assert.Equal((true, true), (home.Image.Brokers[1].Fenced, home.Image.Brokers[1].InControlledShutdown));
        await home.RestartAsync();

        Assert.Equal((false, false), (home.Image.Brokers[1].Fenced, home.Image.Brokers[1].InControlledShutdown));
        Assert.Equal((1, 0), (home.Image.Topics.FindPartition("t", 0)!.Leader, home.Image.Topics.FindPartition("t",
            0)!.LeaderEpoch));
    }

    [Fact]
    public async Task A_leader_may_only_ask_for_its_own_partitions_and_epochs()
    {
        await using var home = await new MetadataHome().StartAsync();
        var id = (await home.CreateAsync("t")).TopicId;
        Assert.Equal(ErrorCode.FencedLeaderEpoch, await Ask(-1, 0));
        Assert.Equal(ErrorCode.NotController, await Ask(1, 0));
        Assert.Equal(ErrorCode.InvalidUpdateVersion, await Ask(0, -1));
        Assert.Equal(ErrorCode.None, await Ask(0, 0));
        Assert.Equal(1, home.Image.Topics.FindPartition("t", 0)!.PartitionEpoch);

        async Task<ErrorCode> Ask(int leaderEpoch, int partitionEpoch)
        {
            var response = await home.Controller.AlterPartitionAsync(new()
            {
                BrokerId = 1,
                BrokerEpoch = home.BrokerEpoch,
                Topics =
                [
                    new()
                    {
                        TopicId = id,
                        Partitions =
                        [
                            new()
                            {
                                PartitionIndex = 0, LeaderEpoch = leaderEpoch, PartitionEpoch = partitionEpoch,
                                NewIsrWithEpochs = [new() { BrokerId = 1, BrokerEpoch = home.BrokerEpoch }],
                            },
                        ],
                    },
                ],
            });
            return response.Topics.Single().Partitions.Single().ErrorCode;
        }
    }
}
