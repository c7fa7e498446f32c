using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Tests.Metadata;

namespace KBroker.Cluster.Tests.Configuration;

/// <summary>The configs in force, as the metadata changes them.</summary>
public sealed class ConfigViewTests
{
    [Fact]
    public async Task A_topic_config_wins_over_the_brokers_and_the_brokers_over_the_clusters()
    {
        await using var home = await new MetadataHome(null, ("message.max.bytes", "1000")).StartAsync();
        var view = new ConfigView(home.Configs, 1);
        home.Log.Subscribe(view);
        int OfTopic() => view.OfTopic("t").GetInt("max.message.bytes");
        Assert.Equal(1000, OfTopic());
        await home.SetAsync(ConfigResourceType.Broker, "", "message.max.bytes", "2000");
        Assert.Equal((2000, 2000), (OfTopic(), view.Broker.GetInt("message.max.bytes")));
        await home.SetAsync(ConfigResourceType.Broker, "1", "message.max.bytes", "3000");
        Assert.Equal((3000, 3000), (OfTopic(), view.Broker.GetInt("message.max.bytes")));
        await home.CreateAsync("t");
        await home.SetAsync(ConfigResourceType.Topic, "t", "max.message.bytes", "4000");
        Assert.Equal((4000, 3000), (OfTopic(), view.OfTopic("other").GetInt("max.message.bytes")));
    }

    [Fact]
    public async Task Another_brokers_configs_do_not_matter_here()
    {
        await using var home = await new MetadataHome().StartAsync();
        var view = new ConfigView(home.Configs, 2);
        home.Log.Subscribe(view);
        var before = view.Broker;
        await home.SetAsync(ConfigResourceType.Broker, "1", "message.max.bytes", "3000");
        Assert.Same(before, view.Broker);
        Assert.False(view.IsBroker(new ConfigResource(ConfigResourceType.Broker, "1")));
        Assert.True(view.IsBroker(new ConfigResource(ConfigResourceType.Broker, "2")));
        Assert.True(view.IsBroker(ConfigResource.DefaultBroker));
        Assert.False(view.IsBroker(new ConfigResource(ConfigResourceType.Topic, "2")));
    }

    [Fact]
    public async Task A_late_subscriber_sees_what_was_set_before()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.SetAsync(ConfigResourceType.Group, "g", "consumer.session.timeout.ms", "50000");
        await home.SetAsync(ConfigResourceType.ClientMetrics, "m", "interval.ms", "70000");
        var view = new ConfigView(home.Configs, 1);
        home.Log.Subscribe(view);
        Assert.Equal(50_000, view.OfGroup("g").GetInt("consumer.session.timeout.ms"));
        Assert.Equal(45_000, view.OfGroup("other").GetInt("consumer.session.timeout.ms"));
        Assert.Equal(70_000, view.OfClientMetrics("m").GetInt("interval.ms"));
    }
}
