using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Tests.Net;

/// <summary>Runs alone: some of it measures the memory of the process.</summary>
[Collection(nameof(AllocationTests))]
public sealed class BackPressureTests
{
    private const int AnswerBytes = 1024 * 1024;

    [Fact]
    public async Task A_client_that_never_reads_stops_its_own_requests_only()
    {
        var started = 0;
        await using var network = new TestNetwork([BigAnswers(() => Interlocked.Increment(ref started)), Echo.Handler]);
        using var deaf = network.Connect(receiveBufferBytes: 4096);
        var frames = Enumerable.Range(0, 1000)
            .SelectMany(i => TestClient.Frame(new ListGroupsRequest(), 0, i)).ToArray();
        deaf.SendRaw(frames);
        using var other = network.Connect();
        for (var i = 0; i < 200; i++)
        {
            other.SendEcho(i);
            Assert.Equal(i, other.ReceiveEcho());
        }
        await TestNetwork.Eventually(() => Volatile.Read(ref started) > 0, "the deaf one's first request started");
        // A started request has an answer of 1 MB; the first fills the sockets' buffers.
        Assert.InRange(Volatile.Read(ref started), 1, 12);
        // Once it reads, all is answered.
        for (var i = 0; i < 50; i++)
            Assert.Equal(i, deaf.Receive<ListGroupsResponse>(0).CorrelationId);
        Assert.InRange(Volatile.Read(ref started), 50, 66);
    }

    [Fact]
    public async Task Many_clients_that_never_read_hold_bounded_memory_and_are_closed_when_idle()
    {
        var time = new ManualTime();
        await using var network = new TestNetwork(
            [BigAnswers(() => 0), Echo.Handler], o => o with { ConnectionsMaxIdleMs = 1000 }, time);
        var clients = new List<TestClient>();
        for (var i = 0; i < 40; i++)
        {
            var client = network.Connect(receiveBufferBytes: 4096);
            client.SendRaw(Enumerable.Range(0, 200)
                .SelectMany(n => TestClient.Frame(new ListGroupsRequest(), 0, n)).ToArray());
            clients.Add(client);
        }
        await TestNetwork.Eventually(() => network.Server.ConnectionCount == 40, "all are connected");
        using (var other = network.Connect())
        {
            for (var i = 0; i < 50; i++)
            {
                other.SendEcho(i);
                Assert.Equal(i, other.ReceiveEcho());
            }
        }
        // One written answer each, of 1 MB and a little in chunks that double; unbounded it would be 8,000 answers.
        Assert.InRange(GC.GetTotalMemory(forceFullCollection: true), 0, 40 * 4 * AnswerBytes);
        await TestNetwork.Eventually(() =>
        {
            time.Advance(TimeSpan.FromMilliseconds(200));
            return network.Server.ConnectionCount == 0;
        }, "clients that do not read are closed as idle");
        clients.ForEach(c => c.Dispose());
    }

    [Fact]
    public async Task A_promise_of_bytes_that_never_come_takes_little_memory()
    {
        await using var network = new TestNetwork([Echo.Handler]);
        var clients = new List<TestClient>();
        var before = GC.GetTotalMemory(forceFullCollection: true);
        for (var i = 0; i < 100; i++)
        {
            var client = network.Connect();
            client.SendRaw([0x05, 0xf5, 0xe1, 0, 1, 2, 3]);
            clients.Add(client);
        }
        await TestNetwork.Eventually(() => network.Server.ConnectionCount == 100, "all are connected");
        using (var other = network.Connect())
        {
            other.SendEcho(1);
            Assert.Equal(1, other.ReceiveEcho());
        }
        var grown = GC.GetTotalMemory(forceFullCollection: true) - before;
        clients.ForEach(c => c.Dispose());
        Assert.True(grown < 100 * 200_000, $"{grown} bytes for 100 promises of 100 MB");
    }

    private static TestHandler<ListGroupsRequest, ListGroupsResponse> BigAnswers(Func<int> onStart)
    {
        var text = new string('x', 32_000);
        var groups = Enumerable.Range(0, AnswerBytes / 32_000)
            .Select(_ => new ListGroupsResponse.ListedGroup { GroupId = text }).ToList();
        return new TestHandler<ListGroupsRequest, ListGroupsResponse>(ApiKey.ListGroups, (_, _) =>
        {
            onStart();
            return new ValueTask<IResponseMessage?>(new ListGroupsResponse { Groups = groups });
        });
    }
}
