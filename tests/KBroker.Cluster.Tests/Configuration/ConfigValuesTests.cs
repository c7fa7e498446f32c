using KBroker.Cluster.Configuration;

namespace KBroker.Cluster.Tests.Configuration;

/// <summary>The expected values, sources and orders were read from Apache Kafka 4.3.1 with the same settings.</summary>
public sealed class ConfigValuesTests
{
    private static readonly BrokerConfigValues Broker = new(
        ConfigCatalog.Default,
        new Dictionary<string, string>
        {
            ["log.retention.hours"] = "100",
            ["log.flush.interval.messages"] = "12345",
            ["ssl.key.password"] = "secret",
        },
        new Dictionary<string, string>
        {
            ["log.segment.bytes"] = "3000000",
            ["log.retention.ms"] = "1000000",
            ["min.insync.replicas"] = "2",
            ["foo.bar"] = "secret",
        },
        new Dictionary<string, string>
        {
            ["log.segment.bytes"] = "4000000",
            ["leader.replication.throttled.rate"] = "5",
        });

    private static readonly BrokerConfigValues Plain = new(ConfigCatalog.Default, new Dictionary<string, string>());

    private static readonly TopicConfigValues Topic = new(Broker, new Dictionary<string, string>
    {
        ["segment.bytes"] = "2000000",
        ["flush.ms"] = " 7 ",
        ["cleanup.policy"] = "compact,compact",
    });

    [Theory]
    [InlineData("retention.ms", "1000000", "log.retention.ms=1000000@DynamicDefaultBrokerConfig, log.retention.hours=100@StaticBrokerConfig, log.retention.hours=168@DefaultConfig")]
    [InlineData("segment.bytes", "2000000", "segment.bytes=2000000@TopicConfig, log.segment.bytes=4000000@DynamicBrokerConfig, log.segment.bytes=3000000@DynamicDefaultBrokerConfig, log.segment.bytes=1073741824@DefaultConfig")]
    [InlineData("flush.messages", "12345", "log.flush.interval.messages=12345@StaticBrokerConfig, log.flush.interval.messages=9223372036854775807@DefaultConfig")]
    [InlineData("flush.ms", "7", "flush.ms=7@TopicConfig")]
    [InlineData("segment.ms", "604800000", "")]
    [InlineData("segment.jitter.ms", "0", "")]
    [InlineData("cleanup.policy", "compact", "cleanup.policy=compact@TopicConfig, log.cleanup.policy=delete@DefaultConfig")]
    [InlineData("min.insync.replicas", "2", "min.insync.replicas=2@DynamicDefaultBrokerConfig, min.insync.replicas=1@DefaultConfig")]
    [InlineData("remote.storage.enable", "false", "")]
    [InlineData("leader.replication.throttled.replicas", "", "")]
    public void A_topic_config_shows_its_value_and_all_its_places(string name, string value, string synonyms) =>
        AssertEntry(Topic.Describe(name), value, synonyms);

    [Theory]
    [InlineData("log.segment.bytes", "4000000", "log.segment.bytes=4000000@DynamicBrokerConfig, log.segment.bytes=3000000@DynamicDefaultBrokerConfig, log.segment.bytes=1073741824@DefaultConfig")]
    [InlineData("log.retention.ms", "1000000", "log.retention.ms=1000000@DynamicDefaultBrokerConfig, log.retention.hours=100@StaticBrokerConfig, log.retention.hours=168@DefaultConfig")]
    [InlineData("log.flush.interval.ms", null, "")]
    [InlineData("log.roll.ms", null, "")]
    [InlineData("leader.replication.throttled.rate", "5", "leader.replication.throttled.rate=5@DynamicBrokerConfig")]
    [InlineData("ssl.key.password", null, "ssl.key.password=@StaticBrokerConfig")]
    [InlineData("foo.bar", null, "foo.bar=@DynamicDefaultBrokerConfig")]
    [InlineData("num.partitions", "1", "num.partitions=1@DefaultConfig")]
    public void A_broker_config_shows_its_value_and_all_its_places(string name, string? value, string synonyms) =>
        AssertEntry(Broker.Describe(name), value, synonyms);

    [Theory]
    [InlineData("consumer.session.timeout.ms", "50000", "consumer.session.timeout.ms=50000@GroupConfig, group.consumer.session.timeout.ms=45000@DefaultConfig")]
    [InlineData("consumer.heartbeat.interval.ms", "5000", "group.consumer.heartbeat.interval.ms=5000@DefaultConfig")]
    [InlineData("share.isolation.level", "read_uncommitted", "share.isolation.level=read_uncommitted@DefaultConfig")]
    public void A_group_config_shows_its_value_and_all_its_places(string name, string value, string synonyms)
    {
        var group = new GroupConfigValues(
            Plain, new Dictionary<string, string> { ["consumer.session.timeout.ms"] = "50000" });
        AssertEntry(group.Describe(name), value, synonyms);
    }

    [Fact]
    public void Client_metrics_show_only_what_is_set()
    {
        var metrics = new ClientMetricsConfigValues(Plain, new Dictionary<string, string> { ["interval.ms"] = "1000" });
        AssertEntry(metrics.Describe("interval.ms"), "1000", "interval.ms=1000@ClientMetricsConfig");
        AssertEntry(metrics.Describe("match"), "", "");
        Assert.Equal(["interval.ms", "match", "metrics"], metrics.DescribeAll().Select(e => e.Name));
    }

    [Fact]
    public void Hours_and_minutes_stand_in_for_milliseconds()
    {
        Assert.Equal(360_000_000, TopicWith(("log.retention.hours", "100")).GetLong("retention.ms"));
        Assert.Equal(
            120_000, TopicWith(("log.retention.hours", "1"), ("log.retention.minutes", "2")).GetLong("retention.ms"));
        Assert.Equal(
            3, TopicWith(("log.retention.minutes", "2"), ("log.retention.ms", "3")).GetLong("retention.ms"));
        Assert.Equal(-1, TopicWith(("log.retention.hours", "-1")).GetLong("retention.ms"));
        Assert.Equal(7_200_000, TopicWith(("log.roll.hours", "2")).GetLong("segment.ms"));
        Assert.Equal(9, TopicWith(("log.flush.scheduler.interval.ms", "9")).GetLong("flush.ms"));
    }

    [Fact]
    public void Values_are_read_by_type()
    {
        Assert.Equal(0.5, Topic.GetDouble("min.cleanable.dirty.ratio"));
        Assert.Equal(["compact"], Topic.GetList("cleanup.policy"));
        Assert.True(Topic.GetBoolean("kbroker.flush.acks.all"));
        Assert.Equal(3, Plain.GetInt("offsets.topic.replication.factor"));
        Assert.Null(Plain.GetString("broker.rack"));
        Assert.Null(Plain.GetOptionalInt("num.replica.alter.log.dirs.threads"));
        Assert.Throws<ConfigException>(() => Plain.GetInt("node.id"));
    }

    [Fact]
    public void A_listing_leaves_out_internal_configs_that_nobody_set()
    {
        Assert.DoesNotContain(Topic.DescribeAll(), e => e.Name == "internal.segment.bytes");
        var set = new TopicConfigValues(Plain, new Dictionary<string, string> { ["internal.segment.bytes"] = "10" });
        Assert.Contains(set.DescribeAll(), e => e.Name == "internal.segment.bytes" && e.Value == "10");
        Assert.DoesNotContain(Plain.DescribeAll(), e => e.Name == "unstable.api.versions.enable");
        Assert.DoesNotContain(Plain.DescribeAll(), e => e.Name == "leader.replication.throttled.rate");
        Assert.Contains(Broker.DescribeAll(), e => e.Name == "foo.bar" && e.IsSensitive && e.IsReadOnly);
    }

    [Fact]
    public void Only_configs_that_can_change_at_run_time_are_not_read_only()
    {
        Assert.False(Broker.Describe("log.retention.ms")!.IsReadOnly);
        Assert.True(Broker.Describe("log.retention.hours")!.IsReadOnly);
        Assert.False(Topic.Describe("retention.ms")!.IsReadOnly);
    }

    [Fact]
    public void The_defaults_of_all_brokers_are_described_alone()
    {
        var entries = Broker.DescribeDynamicDefaults().ToList();
        Assert.Equal(
            ["foo.bar", "log.retention.ms", "log.segment.bytes", "min.insync.replicas"], entries.Select(e => e.Name));
        AssertEntry(entries[2], "3000000", "log.segment.bytes=3000000@DynamicDefaultBrokerConfig");
        AssertEntry(entries[0], null, "foo.bar=@DynamicDefaultBrokerConfig");
    }

    private static TopicConfigValues TopicWith(params (string Name, string Value)[] settings) => new(
        new BrokerConfigValues(ConfigCatalog.Default, settings.ToDictionary(s => s.Name, s => s.Value)),
        new Dictionary<string, string>());

    private static void AssertEntry(ConfigEntry? entry, string? value, string synonyms)
    {
        Assert.NotNull(entry);
        Assert.Equal(value, entry.Value);
        Assert.Equal(synonyms, string.Join(", ", entry.Synonyms.Select(s => $"{s.Name}={s.Value}@{s.Source}")));
        Assert.Equal(entry.Synonyms.Count == 0 ? ConfigSource.DefaultConfig : entry.Synonyms[0].Source, entry.Source);
    }
}
