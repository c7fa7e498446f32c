using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>
/// Ties a broker's life to that of the host: it starts and stops with it, and stops it when it fails.
/// </summary>
internal sealed class BrokerHostedService(
    Broker broker, IHostApplicationLifetime lifetime, ILogger<BrokerHostedService> logger) : IHostedService
{
    /// <inheritdoc/>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        await broker.StartAsync(cancellationToken).ConfigureAwait(false);
        _ = WatchAsync();
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => broker.StopAsync(cancellationToken);

    private async Task WatchAsync()
    {
        try
        {
            await broker.Failure.ConfigureAwait(false);
        }
        catch (Exception reason)
        {
            logger.LogCritical(reason, "KBroker node {NodeId} cannot go on", broker.Options.NodeId);
            lifetime.StopApplication();
        }
    }
}
