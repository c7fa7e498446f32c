using KBroker.Compat.Harness;

namespace KBroker.Compat.Hostile.Tests;

[CollectionDefinition(Name)]
public sealed class OneBroker : ICollectionFixture<HostileFixture>
{
    public const string Name = "one broker";
}

/// <summary>The broker that is attacked, with a topic of one partition and a short idle limit.</summary>
public sealed class HostileFixture : IAsyncLifetime
{
    private BrokerProcess? _broker;

    public string? SkipReason { get; private set; }

    public BrokerProcess Broker => _broker ?? throw new InvalidOperationException(SkipReason);

    public async ValueTask InitializeAsync()
    {
        SkipReason = CompatEnvironment.WhyNoBroker;
        if (SkipReason is not null)
            return;
        _broker = await BrokerProcess.StartAsync("connections.max.idle.ms=15000", "max.connections.per.ip=100000");
        // Metadata version 1 creates the topic (auto-creation); asked until its leader is known.
        await Poll.UntilAsync("the topic takes a record", async () =>
        {
            using var connection = await RawConnection.OpenAsync(_broker.Port);
            await connection.SendAsync(Requests.All[1].Frame);
            await connection.ReceiveFrameAsync();
            await connection.SendAsync(Requests.Produce(Batch.Of(100)));
            return Answers.ProduceError(await connection.ReceiveFrameAsync()) == 0;
        });
    }

    public async ValueTask DisposeAsync()
    {
        if (_broker is not null)
            await _broker.DisposeAsync();
    }
}
