using KBroker.Cluster.Configuration;

namespace KBroker.Cluster.Tests.Configuration;

/// <summary>The messages are those that Apache Kafka 4.3.1 answers.</summary>
public sealed class ConfigRulesTests
{
    private static readonly BrokerConfigValues Plain = new(ConfigCatalog.Default, new Dictionary<string, string>());

    [Theory]
    [InlineData("Unknown topic config name: nope", "nope", "1")]
    [InlineData("Null value not supported for topic configs: retention.ms", "retention.ms", null)]
    [InlineData("Invalid value -2 for configuration retention.ms: Value must be at least -1", "retention.ms", "-2")]
    [InlineData("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.", "remote.storage.enable", "true")]
    public void A_topic_config_is_refused(string message, string name, string? value)
    {
        var refused = Assert.Throws<ConfigException>(() => TopicConfigRules.Validate(Plain, [new(name, value)]));
        Assert.Equal(message, refused.Message);
        Assert.False(refused.IsInvalidRequest);
    }

    [Fact]
    public void Compaction_lags_must_not_contradict_each_other()
    {
        var refused = Assert.Throws<ConfigException>(() => TopicConfigRules.Validate(
            Plain, [new("min.compaction.lag.ms", "100"), new("max.compaction.lag.ms", "50")]));
        Assert.Equal(
            "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)", refused.Message);
    }

    [Fact]
    public void Sound_topic_configs_are_accepted() => TopicConfigRules.Validate(
        Plain,
        [
            new("retention.ms", "5"), new("local.retention.ms", "100"), new("cleanup.policy", ""),
            new("internal.segment.bytes", "5"), new("kbroker.flush.acks.all", "false"),
        ]);

    [Theory]
    [InlineData("consumer.session.timeout.ms", "1", "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms")]
    [InlineData("consumer.heartbeat.interval.ms", "100000", "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms")]
    [InlineData("consumer.assignment.interval.ms", "99999", "consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms")]
    [InlineData("share.delivery.count.limit", "100", "share.delivery.count.limit must be less than or equal to group.share.max.delivery.count.limit")]
    [InlineData("share.partition.max.record.locks", "99999", "share.partition.max.record.locks must be less than or equal to group.share.max.partition.max.record.locks")]
    [InlineData("streams.num.standby.replicas", "9", "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas")]
    [InlineData("x", "1", "Unknown group config name: x")]
    [InlineData("share.isolation.level", "READ", "Invalid value READ for configuration share.isolation.level: String must be one of: read_committed, read_uncommitted")]
    public void A_group_config_is_refused(string name, string value, string message)
    {
        var refused = Assert.Throws<ConfigException>(() => GroupConfigRules.Validate(Plain, [new(name, value)]));
        Assert.Equal(message, refused.Message);
    }

    [Fact]
    public void Sound_group_configs_are_accepted() => GroupConfigRules.Validate(
        Plain, [new("consumer.session.timeout.ms", "50000"), new("share.auto.offset.reset", "by_duration:PT1H")]);

    [Theory]
    [InlineData("interval.ms", "1", true, "Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)")]
    [InlineData("interval.ms", "bbb", false, "Invalid value bbb for configuration interval.ms: Not a number of type INT")]
    [InlineData("foo", "1", true, "Unknown client metrics configuration: foo")]
    [InlineData("match", "a=b", false, "Illegal client matching pattern: a=b")]
    [InlineData("match", "client_id", false, "Illegal client matching pattern: client_id")]
    public void A_client_metrics_config_is_refused(string name, string value, bool invalidRequest, string message)
    {
        var refused = Assert.Throws<ConfigException>(
            () => ClientMetricsConfigRules.Validate(Plain, [new(name, value)]));
        Assert.Equal(message, refused.Message);
        Assert.Equal(invalidRequest, refused.IsInvalidRequest);
    }

    [Theory]
    [InlineData("node.id", "-1", "Invalid value -1 for configuration node.id: Value must be at least 0")]
    [InlineData("process.roles", "foo", "Invalid value foo for configuration process.roles: String must be one of: broker, controller")]
    [InlineData("process.roles", "", "Configuration 'process.roles' must not be empty. Valid values include: [broker, controller]")]
    [InlineData("log.dirs", "", "Configuration 'log.dirs' must not be empty. Valid values include: any non-empty value")]
    [InlineData("log.dirs", " , ", "Configuration 'log.dirs' values must not be empty.")]
    [InlineData("log.retention.minutes", "0", "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1")]
    [InlineData("log.roll.ms", "0", "requirement failed: log.roll.ms must be greater than or equal to 1")]
    [InlineData("queued.max.request.bytes", "5", "requirement failed: queued.max.request.bytes must be larger or equal to socket.request.max.bytes")]
    [InlineData("max.connections.per.ip", "0", "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.")]
    [InlineData("group.consumer.session.timeout.ms", "1", "group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms")]
    [InlineData("replica.lag.time.max.ms", "5", "requirement failed: replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR")]
    [InlineData("cordoned.log.dirs", "/x", "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /x")]
    [InlineData("log.cleaner.dedupe.buffer.size", "1048576", "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.")]
    [InlineData("listener.name.a.max.connections", "x", "Invalid value x for configuration max.connections: Not a number of type INT")]
    public void A_broker_config_is_refused(string name, string value, string message)
    {
        var refused = Assert.Throws<ConfigException>(() => BrokerConfigRules.Validate(With((name, value))));
        Assert.Equal(message, refused.Message);
    }

    [Fact]
    public void The_defaults_are_sound() => BrokerConfigRules.Validate(Plain);

    [Theory]
    [InlineData(false, "num.partitions", "4", "Cannot update these configs dynamically: [num.partitions]")]
    [InlineData(true, "listeners", "PLAINTEXT://:1", "Cannot update these configs at default cluster level, broker id must be specified: [listeners]")]
    [InlineData(false, "ssl.keystore.type", "JKS", "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.type]")]
    [InlineData(false, "log.segment.bytes", "1", "Invalid value 1 for configuration log.segment.bytes: Value must be at least 1048576")]
    [InlineData(true, "log.retention.ms", "0", "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1")]
    [InlineData(true, "log.cleaner.threads", "0", "Log cleaner threads should be at least 1")]
    [InlineData(true, "log.cleaner.threads", "3", "Log cleaner threads cannot be increased to more than double the current value 1")]
    [InlineData(true, "log.cleaner.dedupe.buffer.size", "9", "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.")]
    public void A_change_at_run_time_is_refused(bool isDefault, string name, string value, string message)
    {
        var refused = Assert.Throws<ConfigException>(() => BrokerConfigRules.ValidateUpdate(
            Plain, isDefault, new Dictionary<string, string> { [name] = value }));
        Assert.Equal(message, refused.Message);
        Assert.True(refused.IsInvalidRequest);
    }

    [Theory]
    [InlineData(false, "listeners", "PLAINTEXT://:1")]
    [InlineData(false, "foo.bar", "1")]
    [InlineData(true, "min.insync.replicas", "2")]
    [InlineData(false, "listener.name.internal.ssl.keystore.type", "JKS")]
    [InlineData(true, "kbroker.flush.acks.all", "false")]
    public void A_change_at_run_time_is_accepted(bool isDefault, string name, string value) =>
        BrokerConfigRules.ValidateUpdate(Plain, isDefault, new Dictionary<string, string> { [name] = value });

    [Fact]
    public void Limits_by_address_may_name_IPv6_addresses()
    {
        var limits = BrokerConfigRules.ParseAddressLimits("127.0.0.1:5, ::1:7,[fe80::2]:0,host:9");
        Assert.Equal(5, limits["127.0.0.1"]);
        Assert.Equal(7, limits["::1"]);
        Assert.Equal(0, limits["fe80::2"]);
        Assert.Equal(9, limits["HOST"]);
        Assert.Throws<ConfigException>(() => BrokerConfigRules.ParseAddressLimits("127.0.0.1"));
        Assert.Throws<ConfigException>(() => BrokerConfigRules.ParseAddressLimits("127.0.0.1:x"));
    }

    internal static BrokerConfigValues With(params (string Name, string Value)[] settings) =>
        new(ConfigCatalog.Default, settings.ToDictionary(s => s.Name, s => s.Value));
}
