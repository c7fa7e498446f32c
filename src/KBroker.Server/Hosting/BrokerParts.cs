using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>Starts the parts of a broker in order, and stops those that started in the opposite order.</summary>
internal sealed class BrokerParts(IReadOnlyList<BrokerPart> parts, ILogger logger)
{
    private readonly Stack<BrokerPart> _started = new();

    /// <summary>Starts every part; when one fails, those before it are stopped and the failure is thrown on.</summary>
    internal async Task StartAsync(CancellationToken cancellationToken)
    {
        foreach (var part in parts)
        {
            try
            {
                cancellationToken.ThrowIfCancellationRequested();
                logger.LogDebug("Starting {Part}", part.Name);
                await part.StartAsync(cancellationToken).ConfigureAwait(false);
                _started.Push(part);
            }
            catch
            {
                await StopAsync(CancellationToken.None).ConfigureAwait(false);
                throw;
            }
        }
    }

    /// <summary>
    /// Stops what was started. A part that fails to stop is logged and does not keep the others from it.
    /// </summary>
    internal async Task StopAsync(CancellationToken cancellationToken)
    {
        while (_started.TryPop(out var part))
        {
            try
            {
                logger.LogDebug("Stopping {Part}", part.Name);
                await part.StopAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                logger.LogWarning("{Part} did not stop in time", part.Name);
            }
            catch (Exception failure)
            {
                logger.LogError(failure, "{Part} failed to stop", part.Name);
            }
        }
    }
}
