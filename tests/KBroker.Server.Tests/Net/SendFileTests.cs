using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Server.Tests.Net;

public sealed class SendFileTests : IDisposable
{
    private const short FetchVersion = 11;
    private readonly TestFile _file = new(4 * 1024 * 1024);

    public void Dispose() => _file.Dispose();

    [Fact]
    public async Task Regions_and_bytes_arrive_in_order_byte_by_byte()
    {
        await using var network = new TestNetwork([Fetches(), Echo.Handler]);
        using var client = network.Connect();
        var random = new Random(2);
        for (var round = 0; round < 60; round++)
        {
            var seed = random.Next();
            client.Send(Fetch(seed), FetchVersion, round);
            client.SendEcho(round);
            Check(client, seed, round);
            Assert.Equal(round, client.ReceiveEcho());
        }
        await TestNetwork.Eventually(() => _file.OpenRegions == 0, "every region is given up");
    }

    [Fact]
    public async Task Many_connections_with_small_socket_buffers_get_their_own_bytes()
    {
        await using var network = new TestNetwork(
            [Fetches()], o => o with { SocketSendBufferBytes = 8192, SocketReceiveBufferBytes = 8192 });
        var clients = Enumerable.Range(0, 20).Select(number => Task.Run(() =>
        {
            using var client = network.Connect(receiveBufferBytes: 4096);
            // Pipelined, so that answers wait for one another while the socket is full.
            for (var i = 0; i < 5; i++)
                client.Send(Fetch((number * 100) + i), FetchVersion, i);
            for (var i = 0; i < 5; i++)
                Check(client, (number * 100) + i, i);
        }));
        await Task.WhenAll(clients);
        await TestNetwork.Eventually(() => _file.OpenRegions == 0, "every region is given up");
    }

    [Fact]
    public async Task A_client_that_leaves_in_the_middle_releases_the_regions()
    {
        await using var network = new TestNetwork(
            [Fetches(), Echo.Handler], o => o with { SocketSendBufferBytes = 8192 });
        for (var i = 0; i < 20; i++)
        {
            using var client = network.Connect(receiveBufferBytes: 4096);
            for (var request = 0; request < 3; request++)
                client.Send(Fetch(1), FetchVersion, request);
            Assert.Equal(1, client.Socket.Receive(new byte[1]));
            if (i % 2 == 0)
                client.Socket.LingerState = new(true, 0);
        }
        await TestNetwork.Eventually(() => _file.OpenRegions == 0, "every region is given up");
        await TestNetwork.Eventually(() => network.Server.ConnectionCount == 0, "every connection is counted out");
        Assert.DoesNotContain(network.Log.Lines, l => l.StartsWith("Error", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_file_that_is_too_short_breaks_its_connection_off()
    {
        await using var network = new TestNetwork([
            new TestHandler<FetchRequest, FetchResponse>(ApiKey.Fetch, (_, _) => Answer([_file.Region(0, 1_000_000)])),
        ]);
        _file.Truncate(500_000);
        using var client = network.Connect();
        client.Send(Fetch(0), FetchVersion, 1);
        Assert.True(ReadToEnd(client) < 1_000_000);
        await TestNetwork.Eventually(() => _file.OpenRegions == 0, "the region is given up");
        Assert.Single(network.Log.Lines, l => l.StartsWith("Warning", StringComparison.Ordinal));
    }

    private static long ReadToEnd(TestClient client)
    {
        var bytes = new byte[65536];
        long total = 0;
        for (int count; (count = client.Socket.Receive(bytes)) > 0;)
            total += count;
        return total;
    }

    private static FetchRequest Fetch(int seed) => new() { MaxWaitMs = seed };

    private static ValueTask<IResponseMessage?> Answer(List<IRecordsRegion> regions)
    {
        var partitions = regions.Select((region, index) => new FetchResponse.PartitionData
        {
            PartitionIndex = index,
            Records = new Records(region),
        }).ToList();
        return new(new FetchResponse
        {
            Responses = [new FetchResponse.FetchableTopicResponse { Topic = "t", Partitions = partitions }],
        });
    }

    private TestHandler<FetchRequest, FetchResponse> Fetches() => new(ApiKey.Fetch, async (request, _) =>
    {
        if (request.MaxWaitMs % 2 == 1)
            await Task.Yield();
        var random = new Random(request.MaxWaitMs);
        return await Answer(Shape(request.MaxWaitMs)
            .Select(s => _file.Region(s.Position, s.Length, random.Next(4) > 0)).ToList());
    });

    private List<(int Position, int Length)> Shape(int seed)
    {
        var random = new Random(seed);
        int[] lengths = [1, 100, 2000, 16_383, 16_384, 16_385, 40_000, 70_000, 300_000, 1_100_000];
        return Enumerable.Range(0, random.Next(1, 7)).Select(_ =>
        {
            var length = lengths[random.Next(lengths.Length)];
            return (random.Next(_file.Bytes.Length - length), length);
        }).ToList();
    }

    private void Check(TestClient client, int seed, int correlationId)
    {
        var (id, response) = client.Receive<FetchResponse>(FetchVersion);
        Assert.Equal(correlationId, id);
        var partitions = Assert.Single(response.Responses).Partitions;
        var shape = Shape(seed);
        Assert.Equal(shape.Count, partitions.Count);
        for (var i = 0; i < shape.Count; i++)
        {
            var expected = _file.Bytes.AsSpan(shape[i].Position, shape[i].Length);
            var received = partitions[i].Records!.Value.ToArray();
            Assert.True(expected.SequenceEqual(received), $"partition {i} of seed {seed}");
        }
    }
}
