using System.Collections.Concurrent;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Tests.Net;

public sealed class OrderingTests
{
    [Fact]
    public async Task Answers_come_in_request_order_however_the_handlers_complete()
    {
        var pending = new ConcurrentDictionary<int, TaskCompletionSource>();
        await using var network = new TestNetwork([Echo.On(async (request, _) =>
        {
            if (request.GenerationId % 3 == 0)
                return Echo.Answer(request.GenerationId);
            var release = pending.GetOrAdd(request.GenerationId, _ => NewSource());
            await release.Task;
            return Echo.Answer(request.GenerationId);
        })]);
        using var client = network.Connect();
        for (var i = 0; i < 20; i++)
            client.SendEcho(i);
        // All ordered halves run although nothing but number 0 is answered.
        await TestNetwork.Eventually(() => pending.Count == 13, "all requests started");
        foreach (var number in pending.Keys.OrderDescending())
            pending[number].SetResult();
        for (var i = 0; i < 20; i++)
            Assert.Equal(i, client.ReceiveEcho());
    }

    [Fact]
    public async Task Ordered_halves_of_a_connection_never_overlap_and_keep_the_order()
    {
        var order = new ConcurrentQueue<int>();
        var inside = 0;
        await using var network = new TestNetwork([Echo.On(async (request, _) =>
        {
            Assert.Equal(1, Interlocked.Increment(ref inside));
            order.Enqueue(request.GenerationId);
            Interlocked.Decrement(ref inside);
            await Task.Yield();
            return Echo.Answer(request.GenerationId);
        })]);
        using var client = network.Connect();
        const int count = 2000;
        var send = Task.Run(() =>
        {
            for (var i = 0; i < count; i++)
                client.SendEcho(i);
        });
        for (var i = 0; i < count; i++)
            Assert.Equal(i, client.ReceiveEcho());
        await send;
        Assert.Equal(Enumerable.Range(0, count), order);
    }

    [Fact]
    public async Task A_request_that_runs_alone_holds_back_the_next_and_keeps_its_bytes()
    {
        var release = NewSource();
        var started = 0;
        long bodyBytes = 0;
        await using var network = new TestNetwork([Echo.On(async (request, context) =>
        {
            Interlocked.Increment(ref started);
            await release.Task;
            Interlocked.Exchange(ref bodyBytes, context.Body.Length);
            return Echo.Answer(request.GenerationId);
        }, runsAlone: true)]);
        using var client = network.Connect();
        client.SendRaw([.. TestClient.Frame(Echo.Request(1), 4, 1), .. TestClient.Frame(Echo.Request(2), 4, 2)]);
        await TestNetwork.Eventually(() => Volatile.Read(ref started) == 1, "the first request started");
        Assert.Equal(1, Volatile.Read(ref started));
        release.SetResult();
        Assert.Equal(1, client.ReceiveEcho());
        Assert.Equal(2, client.ReceiveEcho());
        Assert.NotEqual(0, Interlocked.Read(ref bodyBytes));
    }

    [Fact]
    public async Task A_handler_without_an_answer_lets_the_next_answer_through()
    {
        await using var network = new TestNetwork([Echo.On((request, _) => new ValueTask<IResponseMessage?>(
            request.GenerationId % 2 == 0 ? null : Echo.Answer(request.GenerationId)))]);
        using var client = network.Connect();
        for (var i = 0; i < 10; i++)
            client.SendEcho(i);
        for (var i = 1; i < 10; i += 2)
            Assert.Equal(i, client.ReceiveEcho());
    }

    [Fact]
    public async Task Requests_under_way_are_bounded()
    {
        var release = NewSource();
        var started = 0;
        await using var network = new TestNetwork(
            [Echo.On(async (request, _) =>
            {
                Interlocked.Increment(ref started);
                await release.Task;
                return Echo.Answer(request.GenerationId);
            })],
            o => o with { MaxRequestsInFlight = 4 });
        using var client = network.Connect();
        using var other = network.Connect();
        for (var i = 0; i < 50; i++)
            client.SendEcho(i);
        await TestNetwork.Eventually(() => Volatile.Read(ref started) == 4, "four requests started");
        other.SendEcho(7);
        await TestNetwork.Eventually(() => Volatile.Read(ref started) == 5, "another connection's request started");
        release.SetResult();
        for (var i = 0; i < 50; i++)
            Assert.Equal(i, client.ReceiveEcho());
        Assert.Equal(7, other.ReceiveEcho());
    }

    [Fact]
    public async Task Large_requests_arrive_whole_among_small_ones()
    {
        await using var network = new TestNetwork([Echo.On((request, context) => new ValueTask<IResponseMessage?>(
            Echo.Answer(context.ClientId == "test" ? request.GroupId.Length : -1)))]);
        using var client = network.Connect();
        int[] lengths = [0, 10, 30_000, 3, 17_000, 16_384, 1, 32_000];
        var send = Task.Run(() =>
        {
            foreach (var length in lengths)
                client.Send(Echo.Request(0, new string('x', length)), 4, length);
        });
        foreach (var length in lengths)
            Assert.Equal(length, client.ReceiveEcho());
        await send;
    }

    private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
