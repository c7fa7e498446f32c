using KBroker.Cluster.Configuration;
using KBroker.Server.Hosting;

namespace KBroker.Server.Tests.Hosting;

public sealed class BrokerOptionsTests
{
    private static readonly Dictionary<string, string> CombinedNode = new()
    {
        ["process.roles"] = "broker,controller",
        ["node.id"] = "7",
        ["controller.quorum.voters"] = "7@localhost:9093",
        ["listeners"] = "PLAINTEXT://:9092,CONTROLLER://:9093",
        ["inter.broker.listener.name"] = "PLAINTEXT",
        ["advertised.listeners"] = "PLAINTEXT://localhost:9092",
        ["controller.listener.names"] = "CONTROLLER",
        ["listener.security.protocol.map"] = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        ["num.network.threads"] = "3",
        ["log.dirs"] = "/tmp/a, /tmp/b,/tmp/a",
        ["log.retention.hours"] = "168",
    };

    [Fact]
    public void The_properties_of_one_combined_node_are_accepted()
    {
        var options = BrokerOptions.Create(CombinedNode);
        Assert.Equal(7, options.NodeId);
        Assert.Equal(["/tmp/a", "/tmp/b"], options.LogDirs);
        Assert.Equal("/tmp/a", options.MetadataLogDir);
        Assert.Equal([9092, 9093], options.Listeners.Listeners.Select(listener => listener.Port));
        Assert.Equal([false, true], options.Listeners.Listeners.Select(listener => listener.IsController));
        Assert.Equal("localhost", Assert.Single(options.Listeners.AdvertisedListeners).Host);
        Assert.Equal("PLAINTEXT", options.Listeners.InterBrokerListenerName);
        Assert.Equal("Accepted without effect: num.network.threads", Assert.Single(options.Warnings));
    }

    [Fact]
    public void Nothing_at_all_is_enough()
    {
        var options = BrokerOptions.Create(new Dictionary<string, string>());
        Assert.Equal(1, options.NodeId);
        Assert.Equal(9092, Assert.Single(options.Listeners.Listeners).Port);
        Assert.Equal(["/tmp/kafka-logs"], options.LogDirs);
        Assert.NotEmpty(options.BootstrapFeatures);
        Assert.Empty(options.Warnings);
        Assert.Equal(104_857_600, options.Sockets.RequestMaxBytes);
        Assert.Equal(600_000, options.Sockets.ConnectionsMaxIdleMs);
    }

    [Fact]
    public void The_older_broker_id_names_the_node() =>
        Assert.Equal(5, Create(("broker.id", "5")).NodeId);

    [Theory]
    [InlineData("node.id", "7", 7)]
    [InlineData("broker.id", "7", 7)]
    [InlineData("broker.id", "-1", 1)]
    public void Broker_id_is_shown_to_be_the_same_as_node_id(string name, string value, int shown) =>
        Assert.Equal(shown, Create((name, value)).Configs.GetInt("broker.id"));

    [Theory]
    [InlineData("process.roles", "broker", "the value must be broker,controller")]
    [InlineData("process.roles", "controller", "the value must be broker,controller")]
    [InlineData("controller.quorum.voters", "1@a:1,2@b:2", "the only voter must be node.id, which is 1")]
    [InlineData("controller.quorum.voters", "1@a", "{id}@{host}:{port}")]
    [InlineData("controller.quorum.voters", "x@a:1", "{id}@{host}:{port}")]
    [InlineData("controller.quorum.bootstrap.servers", "a", "host:port")]
    [InlineData("authorizer.class.name", "org.example.Authorizer", "would not protect")]
    [InlineData("remote.log.storage.system.enable", "true", "no tiered storage")]
    [InlineData("num.partitions", "x", "Not a number of type INT")]
    [InlineData("kbroker.bootstrap.features", "group.version", "feature=level")]
    [InlineData("kbroker.bootstrap.features", "group.version=99", "range")]
    [InlineData("kbroker.lost.log.dirs", "a", "an id of 22 characters")]
    [InlineData("listeners", "PLAINTEXT", "listeners")]
    [InlineData("listeners", "SSL://:9092", "listeners")]
    [InlineData("kbroker.log.level", "Loud", "Information")]
    public void What_cannot_be_is_refused_with_key_value_and_rule(string name, string value, string rule)
    {
        var refused = Assert.Throws<ConfigException>(() => Create((name, value)));
        Assert.Contains(name, refused.Message);
        Assert.Contains(rule, refused.Message);
    }

    [Fact]
    public void Node_and_broker_id_must_agree() =>
        Assert.Throws<ConfigException>(() => Create(("node.id", "1"), ("broker.id", "2")));

    [Fact]
    public void An_unknown_property_is_a_warning_that_names_a_close_one() => Assert.Equal(
        ["Unknown property num.partition is not used; did you mean num.partitions?",
            "Unknown property super.duper is not used"],
        Create(("num.partition", "3"), ("super.duper", "1"), ("rsm.config.bucket", "b")).Warnings);

    [Fact]
    public void Feature_levels_are_read()
    {
        var options = Create(("kbroker.bootstrap.features", "group.version=1, transaction.version=1"));
        var features = options.BootstrapFeatures;
        Assert.Equal(1, features["group.version"]);
        Assert.Equal(1, features["transaction.version"]);
    }

    private static BrokerOptions Create(params (string Name, string Value)[] properties) =>
        BrokerOptions.Create(properties.ToDictionary(p => p.Name, p => p.Value));
}
