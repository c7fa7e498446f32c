using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;
using KBroker.Storage;

namespace KBroker.Server.Tests.Handlers;

/// <summary>DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources.</summary>
public sealed class ConfigTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private const sbyte Topic = 2;
    private const sbyte Broker = 4;
    private const sbyte BrokerLogger = 8;
    private const sbyte ClientMetrics = 16;
    private const sbyte Group = 32;

    private const sbyte Set = 0;
    private const sbyte Delete = 1;
    private const sbyte Append = 2;
    private const sbyte Subtract = 3;

    private const sbyte DynamicTopic = 1;
    private const sbyte DynamicBroker = 2;
    private const sbyte DynamicDefault = 3;
    private const sbyte Static = 4;
    private const sbyte Default = 5;

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.DescribeConfigs, 0, 99, MemberType = typeof(Versions))]
    public async Task A_topic_shows_values_sources_types_and_documentation(short version)
    {
        var topic = await fixture.CreateTopicAsync(
            configs: [("retention.ms", "77"), ("cleanup.policy", "compact,delete")]);
        var configs = await DescribeAsync(Topic, topic.Name, version);
        Assert.Equal(configs.Keys.Order(StringComparer.Ordinal), configs.Keys);
        var retention = configs["retention.ms"];
        Assert.Equal(("77", DynamicTopic, false, false), Shape(retention));
        Assert.Equal(version >= 3 ? 5 : 0, retention.ConfigType);
        Assert.Equal(version >= 3, retention.Documentation is { Length: > 0 });
        Assert.Equal(("compact,delete", DynamicTopic, false, false), Shape(configs["cleanup.policy"]));
        Assert.Equal(("1048588", Default, false, false), Shape(configs["max.message.bytes"]));
        Assert.Equal(
            [("retention.ms", "77", DynamicTopic)], retention.Synonyms.Select(static s => (s.Name, s.Value, s.Source)));
        Assert.Equal(
            [("cleanup.policy", "compact,delete", DynamicTopic), ("log.cleanup.policy", "delete", Default)],
            configs["cleanup.policy"].Synonyms.Select(static s => (s.Name, s.Value, s.Source)));
        var plain = await DescribeAsync(Topic, topic.Name, version, withDetails: false);
        Assert.Empty(plain["retention.ms"].Synonyms);
        Assert.True(string.IsNullOrEmpty(plain["retention.ms"].Documentation));
    }

    [Fact]
    public async Task Named_configs_are_given_alone_and_an_empty_list_means_all()
    {
        var topic = await fixture.CreateTopicAsync();
        Assert.Equal(
            ["max.message.bytes", "retention.ms"],
            (await DescribeAsync(Topic, topic.Name, 4, true, "retention.ms", "max.message.bytes", "no.such")).Keys);
        var request = new DescribeConfigsRequest
        {
            Resources = [new() { ResourceType = Topic, ResourceName = topic.Name, ConfigurationKeys = [] }],
        };
        Assert.True((await fixture.Client.SendAsync<DescribeConfigsResponse>(request)).Results[0].Configs.Count > 20);
    }

    [Fact]
    public async Task A_broker_shows_its_properties_and_keeps_secrets()
    {
        var configs = await DescribeAsync(Broker, "7", 4);
        Assert.Equal(("7", Static, true, false), Shape(configs["node.id"]));
        Assert.Equal(("8", Default, false, false), Shape(configs["num.io.threads"]));
        var secret = configs["ssl.keystore.password"];
        Assert.True(secret.IsSensitive);
        Assert.Null(secret.Value);

        // What was set when the directory was formatted, so that eligible leader replicas work.
        Assert.Equal(["min.insync.replicas"], (await DescribeAsync(Broker, "", 4)).Keys);
    }

    [Theory]
    [InlineData(Topic, "not-here", ErrorCode.UnknownTopicOrPartition)]
    [InlineData(Topic, "no spaces", ErrorCode.InvalidTopicException)]
    [InlineData(Broker, "8", ErrorCode.InvalidRequest)]
    [InlineData(Broker, "seven", ErrorCode.InvalidRequest)]
    [InlineData(BrokerLogger, "7", ErrorCode.InvalidRequest)]
    [InlineData(Group, "", ErrorCode.InvalidRequest)]
    [InlineData(ClientMetrics, "", ErrorCode.InvalidRequest)]
    [InlineData(99, "x", ErrorCode.InvalidRequest)]
    public async Task Resources_that_cannot_be_described_are_refused(sbyte type, string name, ErrorCode expected)
    {
        var request = new DescribeConfigsRequest { Resources = [new() { ResourceType = type, ResourceName = name }] };
        var result = Assert.Single((await fixture.Client.SendAsync<DescribeConfigsResponse>(request)).Results);
        Assert.Equal((expected, type, name), (result.ErrorCode, result.ResourceType, result.ResourceName));
        Assert.Empty(result.Configs);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.IncrementalAlterConfigs, 0, 99, MemberType = typeof(Versions))]
    public async Task Single_configs_are_set_deleted_appended_to_and_subtracted_from(short version)
    {
        var topic = await fixture.CreateTopicAsync(configs: ("retention.ms", "5"));
        Task<(ErrorCode, string?)> AlterAsync(params (string, sbyte, string?)[] changes) =>
            this.AlterAsync(Topic, topic.Name, version, false, changes);
        Assert.Equal((ErrorCode.None, null), await AlterAsync(
            ("max.message.bytes", Set, "2000"), ("retention.ms", Delete, null), ("cleanup.policy", Append, "compact")));
        var configs = await DescribeAsync(Topic, topic.Name, 4);
        Assert.Equal(("2000", DynamicTopic, false, false), Shape(configs["max.message.bytes"]));
        Assert.Equal(Default, configs["retention.ms"].ConfigSource);
        Assert.Equal("delete,compact", configs["cleanup.policy"].Value);
        Assert.Equal((ErrorCode.None, null), await AlterAsync(("cleanup.policy", Subtract, "delete")));
        Assert.Equal("compact", (await DescribeAsync(Topic, topic.Name, 4))["cleanup.policy"].Value);

        // The log goes by the new value with the next request.
        Assert.Equal(ErrorCode.MessageTooLarge,
            (await topic.ProduceAsync(Batches.Of(new string('x', 2000)))).ErrorCode);
        var partition = fixture.Broker.State.Partitions.All.Single(p => p.TopicPartition.Topic == topic.Name);
        Assert.Equal((2000, CleanupPolicy.Compact),
            (partition.Log.Config.MaxMessageBytes, partition.Log.Config.CleanupPolicy));
    }

    [Fact]
    public async Task Changes_that_are_not_allowed_change_nothing()
    {
        var topic = await fixture.CreateTopicAsync();
        Assert.Equal(ErrorCode.InvalidConfig, await ErrorAsync(Topic, topic.Name, ("retention.ms", Set, "soon")));
        Assert.Equal(ErrorCode.InvalidConfig, await ErrorAsync(Topic, topic.Name, ("no.such.config", Set, "1")));
        Assert.Equal(ErrorCode.InvalidConfig, await ErrorAsync(Topic, topic.Name, ("retention.ms", Append, "1")));
        Assert.Equal(ErrorCode.InvalidRequest, await ErrorAsync(Topic, topic.Name, ("retention.ms", 9, "1")));
        Assert.Equal(
            ErrorCode.InvalidRequest,
            await ErrorAsync(Topic, topic.Name, ("retention.ms", Set, "1"), ("retention.ms", Delete, null)));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition,
            await ErrorAsync(Topic, "not-here", ("retention.ms", Set, "1")));
        var (error, message) = await AlterAsync(Topic, topic.Name, 1, true, ("retention.ms", Set, "99"));
        Assert.Equal((ErrorCode.None, null), (error, message));
        Assert.Equal(Default, (await DescribeAsync(Topic, topic.Name, 4))["retention.ms"].ConfigSource);
    }

    [Fact]
    public async Task A_brokers_dynamic_configs_reach_it_its_topics_and_their_synonyms()
    {
        var topic = await fixture.CreateTopicAsync();
        Assert.Equal(ErrorCode.None, await ErrorAsync(Broker, "", ("message.max.bytes", Set, "3000")));
        Assert.Equal(
            ("3000", DynamicDefault, false, false), Shape((await DescribeAsync(Broker, "", 4))["message.max.bytes"]));
        Assert.Equal(("3000", DynamicDefault), SourceOf(await DescribeAsync(Topic, topic.Name, 4)));
        Assert.Equal(ErrorCode.None, await ErrorAsync(Broker, "7", ("message.max.bytes", Set, "2000")));
        Assert.Equal(("2000", DynamicBroker), SourceOf(await DescribeAsync(Topic, topic.Name, 4)));
        var partition = fixture.Broker.State.Partitions.All.Single(p => p.TopicPartition.Topic == topic.Name);
        Assert.Equal(2000, partition.Log.Config.MaxMessageBytes);
        Assert.Equal(
            [
                ("message.max.bytes", "2000", DynamicBroker), ("message.max.bytes", "3000", DynamicDefault),
                ("message.max.bytes", "1048588", Default),
            ],
            (await DescribeAsync(Topic, topic.Name, 4))["max.message.bytes"].Synonyms
                .Select(static s => (s.Name, s.Value, s.Source)));
        Assert.Equal(ErrorCode.None, await ErrorAsync(Broker, "7", ("message.max.bytes", Delete, null)));
        Assert.Equal(ErrorCode.None, await ErrorAsync(Broker, "", ("message.max.bytes", Delete, null)));
        Assert.Equal(("1048588", Default), SourceOf(await DescribeAsync(Topic, topic.Name, 4)));
        Assert.Equal(1048588, partition.Log.Config.MaxMessageBytes);
        Assert.Equal(ErrorCode.InvalidRequest, await ErrorAsync(Broker, "7", ("node.id", Set, "8")));

        static (string?, sbyte) SourceOf(
            Dictionary<string, DescribeConfigsResponse.DescribeConfigsResourceResult> configs) =>
            (configs["max.message.bytes"].Value, configs["max.message.bytes"].ConfigSource);
    }

    [Fact]
    public async Task Groups_and_client_metrics_have_configs_and_are_listed()
    {
        Assert.Equal(ErrorCode.None,
            await ErrorAsync(Group, "my-group", ("consumer.session.timeout.ms", Set, "50000")));
        var group = await DescribeAsync(Group, "my-group", 4);
        Assert.Equal("50000", group["consumer.session.timeout.ms"].Value);
        Assert.Equal(ErrorCode.None, await ErrorAsync(ClientMetrics, "my-metrics", ("interval.ms", Set, "100000")));
        Assert.Equal("100000", (await DescribeAsync(ClientMetrics, "my-metrics", 4))["interval.ms"].Value);
        var topic = await fixture.CreateTopicAsync();

        var old = await ListAsync(0);
        Assert.Equal([("my-metrics", ClientMetrics)], old);
        var all = await ListAsync(1);
        Assert.Superset(
            new HashSet<(string, sbyte)>
            {
                ("my-metrics", ClientMetrics), ("my-group", Group), (topic.Name, Topic), ("7", Broker),
                    ("7", BrokerLogger),
            },
            all.ToHashSet());
        Assert.Equal([("my-group", Group)], await ListAsync(1, Group));
        var refused = await fixture.Client.SendAsync<ListConfigResourcesResponse>(
            new ListConfigResourcesRequest { ResourceTypes = [77] });
        Assert.Equal(ErrorCode.UnsupportedVersion, refused.ErrorCode);
    }

    [Theory]
    [MemberData(nameof(Versions.Of), ApiKey.AlterConfigs, 0, 99, MemberType = typeof(Versions))]
    public async Task The_old_way_replaces_every_config_of_a_resource(short version)
    {
        var topic = await fixture.CreateTopicAsync(configs: ("retention.ms", "5"));
        async Task<ErrorCode> ReplaceAsync(bool validateOnly, params (string Name, string? Value)[] values) =>
            (await fixture.Client.SendAsync<AlterConfigsResponse>(
                new AlterConfigsRequest
                {
                    ValidateOnly = validateOnly,
                    Resources =
                    [
                        new()
                        {
                            ResourceType = Topic,
                            ResourceName = topic.Name,
                            Configs = [.. values.Select(static v =>
                                new AlterConfigsRequest.AlterableConfig { Name = v.Name, Value = v.Value })],
                        },
                    ],
                }, version)).Responses[0].ErrorCode;
        Assert.Equal(ErrorCode.None, await ReplaceAsync(true, ("segment.ms", "70")));
        Assert.Equal(Default, (await DescribeAsync(Topic, topic.Name, 4))["segment.ms"].ConfigSource);
        Assert.Equal(ErrorCode.None, await ReplaceAsync(false, ("segment.ms", "70")));
        var configs = await DescribeAsync(Topic, topic.Name, 4);
        Assert.Equal(("70", DynamicTopic, false, false), Shape(configs["segment.ms"]));
        Assert.Equal(Default, configs["retention.ms"].ConfigSource);
        Assert.Equal(ErrorCode.InvalidConfig, await ReplaceAsync(false, ("segment.ms", "never")));
    }

    private static (string? Value, sbyte Source, bool ReadOnly, bool Sensitive) Shape(
        DescribeConfigsResponse.DescribeConfigsResourceResult config) =>
        (config.Value, config.ConfigSource, config.ReadOnly, config.IsSensitive);

    private async Task<Dictionary<string, DescribeConfigsResponse.DescribeConfigsResourceResult>> DescribeAsync(
        sbyte type, string name, short version, bool withDetails = true, params string[] keys)
    {
        var request = new DescribeConfigsRequest
        {
            Resources =
            [
                new() { ResourceType = type, ResourceName = name,
                    ConfigurationKeys = keys.Length == 0 ? null : [.. keys] },
            ],
            IncludeSynonyms = withDetails,
            IncludeDocumentation = withDetails && version >= 3,
        };
        var response = await fixture.Client.SendAsync<DescribeConfigsResponse>(request, version);
        var result = Assert.Single(response.Results);
        Assert.Equal((ErrorCode.None, ""), (result.ErrorCode, result.ErrorMessage ?? ""));
        return result.Configs.ToDictionary(static c => c.Name, StringComparer.Ordinal);
    }

    private async Task<(ErrorCode Error, string? Message)> AlterAsync(
        sbyte type, string name, short version, bool validateOnly,
            params (string Name, sbyte Operation, string? Value)[] changes)
    {
        var request = new IncrementalAlterConfigsRequest
        {
            ValidateOnly = validateOnly,
            Resources =
            [
                new()
                {
                    ResourceType = type,
                    ResourceName = name,
                    Configs = [.. changes.Select(static c => new IncrementalAlterConfigsRequest.AlterableConfig
                    {
                        Name = c.Name, ConfigOperation = c.Operation, Value = c.Value,
                    })],
                },
            ],
        };
        var response = await fixture.Client.SendAsync<IncrementalAlterConfigsResponse>(request, version);
        var result = Assert.Single(response.Responses);
        Assert.Equal((type, name), (result.ResourceType, result.ResourceName));
        return (result.ErrorCode, result.ErrorMessage);
    }

    private async Task<ErrorCode> ErrorAsync(
        sbyte type, string name, params (string Name, sbyte Operation, string? Value)[] changes) =>
        (await AlterAsync(type, name, 1, false, changes)).Error;

    private async Task<IReadOnlyList<(string Name, sbyte Type)>> ListAsync(short version, params sbyte[] types)
    {
        var response = await fixture.Client.SendAsync<ListConfigResourcesResponse>(
            new ListConfigResourcesRequest { ResourceTypes = [.. types] }, version);
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        return [.. response.ConfigResources.Select(static r => (r.ResourceName, r.ResourceType))];
    }
}
