using System.Buffers.Binary;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Tests.Net;

public sealed class HostileInputTests
{
    [Theory]
    [InlineData(-1, "negative")]
    [InlineData(int.MinValue, "negative")]
    [InlineData(2001, "larger than socket.request.max.bytes (2000)")]
    [InlineData(int.MaxValue, "larger than socket.request.max.bytes (2000)")]
    public async Task A_frame_size_out_of_bounds_closes_the_connection_with_one_line(int size, string reason)
    {
        await using var network = new TestNetwork([Echo.Handler], o => o with { SocketRequestMaxBytes = 2000 });
        using var client = network.Connect();
        client.SendEcho(1);
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, size);
        client.SendRaw(bytes);
        Assert.Equal(1, client.ReceiveEcho());
        Assert.True(client.IsClosedByBroker());
        var line = Assert.Single(network.Log.Lines, l => l.StartsWith("Warning", StringComparison.Ordinal));
        Assert.Contains(reason, line, StringComparison.Ordinal);
        Assert.Contains(client.Socket.LocalEndPoint!.ToString()!, line, StringComparison.Ordinal);
        AssertServes(network);
    }

    [Theory]
    [InlineData(new byte[] { 0, 0, 0, 0 }, "shorter than a request header")]
    [InlineData(new byte[] { 0, 0, 0, 3, 0, 12, 0 }, "shorter than a request header")]
    [InlineData(new byte[] { 0, 0, 0, 8, 0, 12, 0, 4, 0, 0, 0, 1 }, "malformed header")]
    [InlineData(new byte[] { 0, 0, 0, 10, 0, 12, 0, 4, 0, 0, 0, 1, 0x7f, 0xff }, "malformed header")]
    [InlineData(new byte[] { 0, 0, 0, 11, 0, 12, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0 }, "malformed Heartbeat")]
    [InlineData(new byte[] { 0, 0, 0, 10, 0, 12, 0x7f, 0, 0, 0, 0, 1, 0xff, 0xff }, "version 32512; served are 0 to 4")]
    [InlineData(new byte[] { 0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff }, "API key 32512")]
    [InlineData(new byte[] { 0, 0, 0, 10, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff }, "API key -1")]
    public async Task A_request_that_is_none_closes_the_connection_with_one_line(byte[] bytes, string reason)
    {
        await using var network = new TestNetwork([Echo.Handler]);
        using var client = network.Connect();
        client.SendEcho(1);
        client.SendRaw(bytes);
        client.SendEcho(2);
        Assert.Equal(1, client.ReceiveEcho());
        Assert.True(client.IsClosedByBroker());
        var line = Assert.Single(network.Log.Lines, l => l.StartsWith("Warning", StringComparison.Ordinal));
        Assert.Contains(reason, line, StringComparison.Ordinal);
        AssertServes(network);
    }

    [Fact]
    public async Task Random_bytes_close_their_connections_and_nothing_else()
    {
        await using var network = new TestNetwork([Echo.Handler], o => o with { SocketRequestMaxBytes = 100_000 });
        var random = new Random(4711);
        using var witness = network.Connect();
        for (var round = 0; round < 200; round++)
        {
            using var client = network.Connect();
            var bytes = new byte[random.Next(1, 3000)];
            random.NextBytes(bytes);
            if (round % 2 == 0 && bytes.Length > 12)
            {
                // A plausible frame around random content gets further.
                BinaryPrimitives.WriteInt32BigEndian(bytes, bytes.Length - 4);
                BinaryPrimitives.WriteInt16BigEndian(bytes.AsSpan(4), (short)ApiKey.Heartbeat);
                BinaryPrimitives.WriteInt16BigEndian(bytes.AsSpan(6), (short)random.Next(0, 5));
            }
            client.SendRaw(bytes);
            if (round % 20 == 0)
            {
                witness.SendEcho(round);
                Assert.Equal(round, witness.ReceiveEcho());
            }
        }
        await TestNetwork.Eventually(() => network.Server.ConnectionCount == 1, "all offenders are gone");
        AssertServes(network);
        Assert.DoesNotContain(network.Log.Lines, l => l.StartsWith("Error", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_handler_that_throws_is_answered_with_an_error_and_logged_once()
    {
        await using var network = new TestNetwork([Echo.On(async (request, _) =>
        {
            if (request.GenerationId == 2)
                await Task.Yield();
            if (request.GenerationId > 0)
                throw new InvalidTimeZoneException("boom");
            return Echo.Answer(request.GenerationId);
        })]);
        using var client = network.Connect();
        for (var i = 0; i < 3; i++)
            client.SendEcho(i);
        for (var i = 0; i < 3; i++)
        {
            var (id, response) = client.Receive<HeartbeatResponse>(4);
            Assert.Equal(i, id);
            Assert.Equal(i == 0 ? ErrorCode.None : ErrorCode.UnknownServerError, response.ErrorCode);
        }
        Assert.Equal(2, network.Log.Lines.Count(l => l.StartsWith("Error", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task An_answer_that_cannot_be_written_closes_the_connection()
    {
        await using var network = new TestNetwork(
        [
            new TestHandler<ListGroupsRequest, ListGroupsResponse>(ApiKey.ListGroups, (_, _) =>
                new ValueTask<IResponseMessage?>(new ListGroupsResponse
                {
                    Groups = [new ListGroupsResponse.ListedGroup { GroupId = null! }],
                })),
            Echo.Handler,
        ]);
        using var client = network.Connect();
        client.Send(new ListGroupsRequest(), 4, 1);
        Assert.True(client.IsClosedByBroker());
        AssertServes(network);
    }

    private static void AssertServes(TestNetwork network)
    {
        using var client = network.Connect();
        client.SendEcho(77);
        Assert.Equal(77, client.ReceiveEcho());
    }
}
