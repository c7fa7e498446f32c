using System.Buffers.Binary;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Net;

namespace KBroker.Server.Tests.Brokers;

/// <summary>
/// What one Produce and one Fetch allocate on their whole way through the broker, sockets and log included: a budget
/// with headroom, not the figure. Batches have one record of 100 bytes, requests one partition.
/// </summary>
[Collection(nameof(AllocationTests))]
public sealed class AllocationBudgetTests
{
    private const int WarmUp = 1_000;
    private const int Count = 2_000;

    /// <summary>In a debug build each asynchronous method is an object more.</summary>
#if DEBUG
    private const int DebugBytes = 1_000;
#else
    private const int DebugBytes = 0;
#endif

    [Theory]
    [InlineData((short)1, 900)]
    [InlineData((short)-1, 1_100)]
    public async Task A_produce_keeps_its_budget(short acks, int budgetBytes)
    {
        await using var broker = await TestBroker.StartAsync(null, ("kbroker.flush.acks.all", "false"));
        var topic = await TopicAsync(broker);
        var frame = TestClient.Frame(topic.ProduceRequest(Batches.Of(new string('x', 100)), acks), 12, 1);
        AssertBudget(broker, $"produce acks={acks}", budgetBytes, _ => frame);
    }

    [Fact]
    public async Task A_durable_produce_keeps_its_budget()
    {
        await using var broker = await TestBroker.StartAsync();
        var topic = await TopicAsync(broker);
        var frame = TestClient.Frame(topic.ProduceRequest(Batches.Of(new string('x', 100)), -1), 12, 1);
        AssertBudget(broker, "produce acks=all, flushed", 2_000, _ => frame);
    }

    [Theory]
    [InlineData((short)12)]
    [InlineData((short)16)]
    public async Task A_fetch_without_session_keeps_its_budget(short version)
    {
        await using var broker = await TestBroker.StartAsync();
        var topic = await TopicAsync(broker);
        var frame = TestClient.Frame(topic.FetchRequest(0, maxWaitMs: 500), version, 1);
        AssertBudget(broker, $"fetch v{version}", 1_500, _ => frame);
    }

    [Fact]
    public async Task A_fetch_of_a_session_keeps_its_budget()
    {
        await using var broker = await TestBroker.StartAsync();
        var topic = await TopicAsync(broker);
        await using var client = await broker.ConnectAsync();
        var open = topic.FetchRequest(0);
        open.SessionEpoch = 0;
        var session = (await client.SendAsync<FetchResponse>(open, 12)).SessionId;
        var frame = TestClient.Frame(
            new FetchRequest { SessionId = session, MaxWaitMs = 500, MinBytes = 1, SessionEpoch = 0x7EEEEEEE }, 12, 1);
        var epochAt = frame.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x7E, 0xEE, 0xEE, 0xEE]);
        AssertBudget(broker, "fetch of a session", 1_200, i =>
        {
            BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(epochAt), i + 1);
            return frame;
        });
    }

    private static async Task<TestTopic> TopicAsync(TestBroker broker)
    {
        await using var client = await broker.ConnectAsync();
        var topic = await TestTopic.CreateAsync(client, "t");
        await topic.ProduceAsync(new string('x', 100));
        return new TestTopic(null!, topic.Name, topic.Id);
    }

    private static void AssertBudget(TestBroker broker, string what, int budgetBytes, Func<int, byte[]> frame)
    {
        using var client = new TestClient(broker.Port);
        var answer = new byte[1024];
        var each = SteadyState.BytesEach(WarmUp, Count, Exchange, budgetBytes + DebugBytes);
        TestContext.Current.TestOutputHelper?.WriteLine($"{what}: {each:0} bytes a request");
        Assert.InRange(each, 0, budgetBytes + DebugBytes);

        void Exchange(int from, int count)
        {
            for (var i = from; i < from + count; i++)
            {
                client.SendRaw(frame(i));
                var received = client.Socket.Receive(answer);
                var size = BinaryPrimitives.ReadInt32BigEndian(answer) + 4;
                while (received < size)
                    received += client.Socket.Receive(answer.AsSpan(received));
            }
        }
    }
}
