using System.Threading.Channels;
using KBroker.Coordination.Tests.Harness;
using KBroker.Coordination.Transactions;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Coordination.Tests.Transactions;

/// <summary>Drives a shard of transactional ids; the markers it decides on wait until a test takes them.</summary>
internal sealed class TransactionDriver(params (string Name, string Value)[] brokerConfigs)
    : StateDriver<TransactionShard>(brokerConfigs)
{
    private readonly Channel<MarkerWork> _markers = Channel.CreateUnbounded<MarkerWork>();

    /// <summary>Whether markers wait to be written.</summary>
    public bool HasMarkers => _markers.Reader.TryPeek(out _);

    /// <summary>The next markers that are to be written.</summary>
    public async Task<MarkerWork> NextMarkersAsync() =>
        await _markers.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask()
            .WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);

    protected override TransactionShard Create() => new(new TransactionShardOptions
    {
        Configs = Configs,
        CoordinatorEpoch = 3,
        WriteMarkers = work => _markers.Writer.TryWrite(work),
        Logger = NullLogger.Instance,
    });
}
