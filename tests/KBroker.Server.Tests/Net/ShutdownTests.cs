using System.Net;
using System.Net.Sockets;
using KBroker.Protocol.Messages;
using KBroker.Server.Net.Listeners;

namespace KBroker.Server.Tests.Net;

public sealed class ShutdownTests
{
    [Fact]
    public async Task What_was_accepted_is_answered_before_the_connection_closes()
    {
        var release = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var started = 0;
        await using var network = new TestNetwork([Echo.On(async (request, _) =>
        {
            Interlocked.Increment(ref started);
            await release.Task;
            return Echo.Answer(request.GenerationId);
        })]);
        using var client = network.Connect();
        using var idle = network.Connect();
        for (var i = 0; i < 5; i++)
            client.SendEcho(i);
        await TestNetwork.Eventually(() => Volatile.Read(ref started) == 5, "all started");
        await TestNetwork.Eventually(() => network.Server.ConnectionCount == 2, "both connected");
        var port = network.Server.BoundPort("PLAINTEXT");
        var stop = network.Server.StopAsync(TimeSpan.FromSeconds(30));
        Assert.True(idle.IsClosedByBroker());
        Assert.Throws<SocketException>(() => new TestClient(port));
        Assert.False(stop.IsCompleted);
        release.SetResult();
        for (var i = 0; i < 5; i++)
            Assert.Equal(i, client.ReceiveEcho());
        Assert.True(client.IsClosedByBroker());
        client.Dispose();
        idle.Dispose();
        await stop;
        Assert.Equal(0, network.Server.ConnectionCount);
    }

    [Fact]
    public async Task A_long_poll_ends_early_with_an_answer()
    {
        var polling = 0;
        await using var network = new TestNetwork([Echo.On(async (request, context) =>
        {
            Interlocked.Increment(ref polling);
            var closing = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            await using var registration = context.Closing.Register(closing.SetResult);
            await closing.Task;
            return Echo.Answer(request.GenerationId);
        })]);
        using var client = network.Connect();
        client.SendEcho(3);
        await TestNetwork.Eventually(() => Volatile.Read(ref polling) == 1, "the poll waits");
        var stop = network.Server.StopAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(3, client.ReceiveEcho());
        Assert.True(client.IsClosedByBroker());
        client.Dispose();
        await stop;
    }

    [Fact]
    public async Task After_the_grace_connections_are_closed_as_they_are()
    {
        var release = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var started = 0;
        await using var network = new TestNetwork([Echo.On(async (request, _) =>
        {
            Interlocked.Increment(ref started);
            await release.Task;
            return Echo.Answer(request.GenerationId);
        })]);
        using var client = network.Connect();
        client.SendEcho(1);
        await TestNetwork.Eventually(() => Volatile.Read(ref started) == 1, "it started");
        var stop = network.Server.StopAsync(TimeSpan.FromMilliseconds(50));
        Assert.True(client.IsClosedByBroker());
        release.SetResult();
        await stop;
    }

    [Fact]
    public async Task A_client_that_half_closes_still_gets_its_answers()
    {
        await using var network = new TestNetwork([Echo.On(async (request, _) =>
        {
            await Task.Yield();
            return Echo.Answer(request.GenerationId);
        })]);
        using var client = network.Connect();
        client.SendEcho(1);
        client.SendEcho(2);
        client.Socket.Shutdown(SocketShutdown.Send);
        Assert.Equal(1, client.ReceiveEcho());
        Assert.Equal(2, client.ReceiveEcho());
        Assert.True(client.IsClosedByBroker());
    }

    [Fact]
    public async Task A_client_that_goes_ends_its_long_polls()
    {
        var ended = 0;
        await using var network = new TestNetwork([Echo.On(async (request, context) =>
        {
            var closing = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            await using var registration = context.Closing.Register(closing.SetResult);
            await closing.Task;
            Interlocked.Increment(ref ended);
            return Echo.Answer(request.GenerationId);
        })]);
        var client = network.Connect();
        client.SendEcho(3);
        client.Dispose();
        await TestNetwork.Eventually(() => Volatile.Read(ref ended) == 1, "the poll ended");
        await TestNetwork.Eventually(() => network.Server.ConnectionCount == 0, "the connection is gone");
    }

    [Fact]
    public async Task A_request_that_closes_its_connection_lets_those_before_it_be_answered()
    {
        await using var network = new TestNetwork([Echo.On(async (request, context) =>
        {
            await Task.Yield();
            if (request.GenerationId == 2)
            {
                context.CloseConnection("produce with acks=0 failed");
                return null;
            }
            return Echo.Answer(request.GenerationId);
        })]);
        using var client = network.Connect();
        for (var i = 0; i < 5; i++)
            client.SendEcho(i);
        Assert.Equal(0, client.ReceiveEcho());
        Assert.Equal(1, client.ReceiveEcho());
        Assert.True(client.IsClosedByBroker());
        Assert.Contains("acks=0", Assert.Single(
            network.Log.Lines, l => l.StartsWith("Warning", StringComparison.Ordinal)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PLAINTEXT://:0", "127.0.0.1", true)]
    [InlineData("PLAINTEXT://:0", "::1", true)]
    [InlineData("PLAINTEXT://[::1]:0", "::1", true)]
    [InlineData("PLAINTEXT://localhost:0", "127.0.0.1", true)]
    [InlineData("PLAINTEXT://[::1]:0", "127.0.0.1", false)]
    public async Task Listeners_are_reached_where_they_listen(string listeners, string address, bool isReached)
    {
        if (!Socket.OSSupportsIPv6)
            return;
        await using var network = new TestNetwork(
            [Echo.On((_, context) => new ValueTask<IResponseMessage?>(
                Echo.Answer(context.ClientAddress.Equals(IPAddress.Parse(address)) ? 1 : 0)))],
            listeners: new ListenerSettings { Listeners = listeners });
        var ip = IPAddress.Parse(address);
        using var socket = new Socket(ip.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        var endpoint = new IPEndPoint(ip, network.Server.BoundPort("PLAINTEXT"));
        if (!isReached)
        {
            Assert.Throws<SocketException>(() => socket.Connect(endpoint));
            return;
        }
        socket.Connect(endpoint);
        socket.Send(TestClient.Frame(Echo.Request(1), 0, 1));
        var answer = new byte[64];
        var count = socket.Receive(answer);
        Assert.Equal([0, 0, 0, 6, 0, 0, 0, 1, 0, 0], answer[..count]);
    }

    [Fact]
    public async Task A_port_in_use_is_a_clear_error()
    {
        await using var network = new TestNetwork([Echo.Handler]);
        var port = network.Server.BoundPort("PLAINTEXT");
        var error = Assert.Throws<ListenerConfigurationException>(() => new TestNetwork(
            [Echo.Handler], listeners: new ListenerSettings { Listeners = $"PLAINTEXT://127.0.0.1:{port}" }));
        Assert.Contains($"127.0.0.1:{port}", error.Message, StringComparison.Ordinal);
    }
}
