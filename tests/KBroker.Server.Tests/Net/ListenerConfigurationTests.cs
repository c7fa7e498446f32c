using System.Net;
using KBroker.Server.Net;
using KBroker.Server.Net.Listeners;
using KBroker.Server.Security;

namespace KBroker.Server.Tests.Net;

public sealed class ListenerConfigurationTests
{
    [Fact]
    public void Nothing_set_is_one_plaintext_listener_on_all_interfaces()
    {
        var configuration = ListenerConfiguration.Parse(new ListenerSettings());
        var listener = Assert.Single(configuration.Listeners);
        Assert.Equal(new ListenerEndpoint("PLAINTEXT", SecurityProtocol.Plaintext, "", 9092, false), listener);
        Assert.Equal(listener, Assert.Single(configuration.AdvertisedListeners));
        Assert.Equal("PLAINTEXT", configuration.InterBrokerListenerName);
    }

    [Fact]
    public void Kafkas_own_combined_properties_are_accepted()
    {
        var properties = new Dictionary<string, string>
        {
            ["listeners"] = "PLAINTEXT://:9092,CONTROLLER://:9093",
            ["inter.broker.listener.name"] = "PLAINTEXT",
            ["advertised.listeners"] = "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
            ["controller.listener.names"] = "CONTROLLER",
            ["listener.security.protocol.map"] = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,"
                + "SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        };
        var configuration = ListenerConfiguration.Parse(ListenerSettings.From(properties.GetValueOrDefault));
        Assert.Equal(["PLAINTEXT://:9092", "CONTROLLER://:9093"], configuration.Listeners.Select(l => l.ToString()));
        Assert.Equal([false, true], configuration.Listeners.Select(l => l.IsController));
        Assert.Equal(["PLAINTEXT://localhost:9092"], configuration.AdvertisedListeners.Select(l => l.ToString()));
    }

    [Fact]
    public void A_controller_listener_needs_no_map_when_no_map_is_set()
    {
        var configuration = Parse("PLAINTEXT://:1,MYCTL://:2", controllers: "myctl");
        Assert.True(configuration.Listeners[1].IsController);
        Assert.Equal("PLAINTEXT", Assert.Single(configuration.AdvertisedListeners).ListenerName);
    }

    [Fact]
    public void Several_listeners_with_mapped_names_and_ipv6_are_accepted()
    {
        var configuration = Parse(
            "internal://127.0.0.1:9092, EXTERNAL://[::1]:9092", map: "INTERNAL:PLAINTEXT,EXTERNAL:plaintext",
            interBroker: "internal");
        Assert.Equal(["INTERNAL://127.0.0.1:9092", "EXTERNAL://[::1]:9092"],
            configuration.Listeners.Select(l => l.ToString()));
        Assert.Equal("::1", configuration.Listeners[1].Host);
        Assert.Equal("INTERNAL", configuration.InterBrokerListenerName);
    }

    [Fact]
    public void Ephemeral_port_and_empty_host_are_filled_in_after_binding()
    {
        var configuration = Parse("PLAINTEXT://:0");
        var advertised = Assert.Single(configuration.ResolveAdvertised(_ => 4711, () => "box.example"));
        Assert.Equal("PLAINTEXT://box.example:4711", advertised.ToString());
    }

    [Theory]
    [InlineData("PLAINTEXT://:9092,PLAINTEXT://:9093", "different name")]
    [InlineData("PLAINTEXT://:9092,SSL://:9092", "different port")]
    [InlineData("PLAINTEXT://127.0.0.1:9092,SSL://127.0.0.2:9092", "different port")]
    [InlineData("PLAINTEXT:9092", "NAME://host:port")]
    [InlineData("://:9092", "NAME://host:port")]
    [InlineData("PLAINTEXT://host name:9092", "NAME://host:port")]
    [InlineData("PLAINTEXT://:port", "0 to 65535")]
    [InlineData("PLAINTEXT://:65536", "0 to 65535")]
    [InlineData("PLAINTEXT://:-1", "0 to 65535")]
    [InlineData("PLAINTEXT://[1.2.3.4]:9092", "IPv6")]
    [InlineData("PLAINTEXT://a:b:9092", "IPv6")]
    [InlineData("OTHER://:9092", "no security protocol in listener.security.protocol.map")]
    [InlineData("SSL://:9092", "SSL, which is not built yet")]
    [InlineData("SASL_PLAINTEXT://:9092", "SASL_PLAINTEXT, which is not built yet")]
    [InlineData(" , ", "at least one")]
    public void Bad_listeners_are_refused_with_key_value_and_rule(string value, string rule)
    {
        var error = Assert.Throws<ListenerConfigurationException>(() => Parse(value));
        Assert.Equal("listeners", error.Key);
        Assert.Equal(value, error.Value);
        Assert.Contains(rule, error.Message, StringComparison.Ordinal);
        Assert.Contains($"'{value}'", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PLAINTEXT://0.0.0.0:9092", null)]
    [InlineData("PLAINTEXT://:9092", "PLAINTEXT://0.0.0.0:9092")]
    public void The_wildcard_address_is_not_advertised(string listeners, string? advertised)
    {
        var error = Assert.Throws<ListenerConfigurationException>(() => Parse(listeners, advertised));
        Assert.Equal("advertised.listeners", error.Key);
        Assert.Contains("0.0.0.0", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_advertised_name_must_be_a_listener()
    {
        var error = Assert.Throws<ListenerConfigurationException>(() => Parse("PLAINTEXT://:1", "SSL://h:1"));
        Assert.Equal("advertised.listeners", error.Key);
        Assert.Contains("PLAINTEXT", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_inter_broker_listener_must_be_advertised()
    {
        var error = Assert.Throws<ListenerConfigurationException>(() => Parse("A://:1", map: "A:PLAINTEXT"));
        Assert.Equal("security.inter.broker.protocol", error.Key);
        error = Assert.Throws<ListenerConfigurationException>(() => Parse("PLAINTEXT://:1", interBroker: "B"));
        Assert.Equal("inter.broker.listener.name", error.Key);
        error = Assert.Throws<ListenerConfigurationException>(
            () => Parse("PLAINTEXT://:1,C://:2", controllers: "C", interBroker: "C"));
        Assert.Contains("controller.listener.names", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Only_one_way_of_naming_the_inter_broker_listener_may_be_used()
    {
        var error = Assert.Throws<ListenerConfigurationException>(() => ListenerConfiguration.Parse(
            new ListenerSettings { InterBrokerListenerName = "PLAINTEXT", SecurityInterBrokerProtocol = "PLAINTEXT" }));
        Assert.Contains("only one", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("A:PLAINTEXT,A:SSL", "twice")]
    [InlineData("A", "NAME:PROTOCOL")]
    [InlineData("A:TLS", "NAME:PROTOCOL")]
    public void A_bad_protocol_map_is_refused(string map, string rule)
    {
        var error = Assert.Throws<ListenerConfigurationException>(() => Parse("A://:1", map: map));
        Assert.Equal("listener.security.protocol.map", error.Key);
        Assert.Contains(rule, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Controller_listeners_alone_serve_nobody()
    {
        var error = Assert.Throws<ListenerConfigurationException>(() => Parse("C://:1", controllers: "C"));
        Assert.Equal("listeners", error.Key);
    }

    [Fact]
    public void Overrides_per_host_are_resolved()
    {
        var limits = new Dictionary<string, int> { ["127.0.0.1"] = 5, ["::1"] = 6, ["box"] = 7 };
        var overrides = NetworkOptions.ResolveOverrides(
            limits, host => host == "box" ? [IPAddress.Parse("10.0.0.1")] : []);
        Assert.Equal(5, overrides[IPAddress.Loopback]);
        Assert.Equal(6, overrides[IPAddress.IPv6Loopback]);
        Assert.Equal(7, overrides[IPAddress.Parse("10.0.0.1")]);
        var error = Assert.Throws<ListenerConfigurationException>(() => NetworkOptions.ResolveOverrides(
            limits,
            _ => throw new System.Net.Sockets.SocketException((int)System.Net.Sockets.SocketError.HostNotFound)));
        Assert.Equal("max.connections.per.ip.overrides", error.Key);
        Assert.Contains("'box'", error.Message, StringComparison.Ordinal);
    }

    private static ListenerConfiguration Parse(
        string listeners, string? advertised = null, string? map = null, string? controllers = null,
        string? interBroker = null) => ListenerConfiguration.Parse(new ListenerSettings
        {
            Listeners = listeners,
            AdvertisedListeners = advertised,
            SecurityProtocolMap = map,
            ControllerListenerNames = controllers,
            InterBrokerListenerName = interBroker,
        });
}
