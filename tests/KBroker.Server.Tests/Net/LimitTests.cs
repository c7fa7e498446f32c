using System.Net;
using KBroker.Server.Net.Listeners;

namespace KBroker.Server.Tests.Net;

public sealed class LimitTests
{
    [Fact]
    public async Task An_address_beyond_its_limit_is_turned_away_and_may_come_again()
    {
        await using var network = new TestNetwork([Echo.Handler], o => o with { MaxConnectionsPerIp = 2 });
        using var first = Served(network);
        using var second = Served(network);
        using var third = network.Connect();
        Assert.True(third.IsClosedByBroker());
        Assert.Contains(network.Log.Lines, l => l.Contains("max.connections.per.ip", StringComparison.Ordinal));
        Assert.Equal(2, network.Server.ConnectionCount);
        first.Dispose();
        await TestNetwork.Eventually(() => network.Server.ConnectionCount == 1, "the place is free");
        using var fourth = Served(network);
    }

    [Fact]
    public async Task An_override_replaces_the_limit_of_its_address()
    {
        await using var network = new TestNetwork([Echo.Handler], o => o with
        {
            MaxConnectionsPerIp = 0,
            MaxConnectionsPerIpOverrides = new Dictionary<IPAddress, int> { [IPAddress.Loopback] = 1 },
        });
        using var first = Served(network);
        using var second = network.Connect();
        Assert.True(second.IsClosedByBroker());
    }

    [Fact]
    public async Task Beyond_max_connections_clients_wait_until_one_leaves()
    {
        await using var network = new TestNetwork([Echo.Handler], o => o with { MaxConnections = 1 });
        using var first = Served(network);
        using var second = network.Connect();
        second.SendEcho(2);
        first.SendEcho(3);
        Assert.Equal(3, first.ReceiveEcho());
        Assert.Equal(0, second.Socket.Available);
        Assert.Equal(1, network.Server.ConnectionCount);
        first.Dispose();
        Assert.Equal(2, second.ReceiveEcho());
    }

    [Fact]
    public async Task Brokers_get_in_when_clients_have_filled_the_broker()
    {
        await using var network = new TestNetwork(
            [Echo.Handler], o => o with { MaxConnections = 1 },
            listeners: new ListenerSettings
            {
                Listeners = "PLAINTEXT://127.0.0.1:0,INTERNAL://127.0.0.1:0",
                SecurityProtocolMap = "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
                InterBrokerListenerName = "INTERNAL",
            });
        using var client = Served(network);
        using var broker = network.Connect("INTERNAL");
        broker.SendEcho(5);
        Assert.Equal(5, broker.ReceiveEcho());
        Assert.True(client.IsClosedByBroker());
    }

    [Fact]
    public async Task Idle_connections_are_closed_and_busy_ones_are_not()
    {
        var time = new ManualTime();
        var release = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var waiting = 0;
        await using var network = new TestNetwork(
            [Echo.On(async (request, _) =>
            {
                if (request.GenerationId == 99)
                {
                    Interlocked.Increment(ref waiting);
                    await release.Task;
                }
                return Echo.Answer(request.GenerationId);
            })],
            o => o with { ConnectionsMaxIdleMs = 1000 }, time);
        using var idle = Served(network);
        using var halfOpen = network.Connect();
        halfOpen.SendRaw([0, 0]);
        using var polling = network.Connect();
        polling.SendEcho(99);
        using var active = Served(network);
        await TestNetwork.Eventually(
            () => Volatile.Read(ref waiting) == 1 && network.Server.ConnectionCount == 4, "all are there");
        for (var i = 0; i < 15; i++)
        {
            active.SendEcho(i);
            Assert.Equal(i, active.ReceiveEcho());
            time.Advance(TimeSpan.FromMilliseconds(100));
        }
        Assert.True(idle.IsClosedByBroker());
        Assert.True(halfOpen.IsClosedByBroker());
        release.SetResult();
        Assert.Equal(99, polling.ReceiveEcho());
        active.SendEcho(3);
        Assert.Equal(3, active.ReceiveEcho());
        Assert.Equal(2, network.Server.ConnectionCount);
    }

    [Fact]
    public async Task Connections_are_accepted_no_faster_than_the_rate()
    {
        var time = new ManualTime();
        await using var network = new TestNetwork(
            [Echo.Handler], o => o with { MaxConnectionCreationRate = 2, ConnectionsMaxIdleMs = -1 }, time);
        using var first = Served(network);
        using var second = Served(network);
        using var third = network.Connect();
        third.SendEcho(1);
        first.SendEcho(2);
        Assert.Equal(2, first.ReceiveEcho());
        Assert.Equal(2, network.Server.ConnectionCount);
        await TestNetwork.Eventually(() =>
        {
            time.Advance(TimeSpan.FromMilliseconds(100));
            return network.Server.ConnectionCount == 3;
        }, "the third is accepted");
        Assert.Equal(1, third.ReceiveEcho());
    }

    private static TestClient Served(TestNetwork network)
    {
        var client = network.Connect();
        client.SendEcho(1);
        Assert.Equal(1, client.ReceiveEcho());
        return client;
    }
}
