namespace KBroker.Server.Tests.Net;

/// <summary>Runs alone: it measures what the process allocates.</summary>
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
public sealed class AllocationCollection;

[Collection(nameof(AllocationTests))]
public sealed class AllocationTests
{
    /// <summary>
    /// A request object, two short strings and a response object: 160 bytes; the network adds nothing. In a debug build
    /// each asynchronous method is an object.
    /// </summary>
#if DEBUG
    private const int BudgetBytes = 400;
#else
    private const int BudgetBytes = 200;
#endif

    [Fact]
    public async Task A_small_request_allocates_its_messages_and_nothing_else()
    {
        await using var network = new TestNetwork([Echo.Handler]);
        using var client = network.Connect();
        var frame = TestClient.Frame(Echo.Request(1), TestClient.EchoVersion, 1);
        var answer = new byte[256];
        const int count = 20_000;
        Assert.InRange(SteadyState.BytesEach(5000, count, (_, n) => Exchange(n), BudgetBytes), 0, BudgetBytes);

        void Exchange(int requests)
        {
            for (var i = 0; i < requests; i++)
            {
                client.Socket.Send(frame);
                for (var received = 0; received < 15;)
                    received += client.Socket.Receive(answer);
            }
        }
    }
}
