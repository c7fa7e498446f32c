using KBroker.Coordination.Groups;
using KBroker.Protocol.Records;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>The broker's coordinators: they live between the registration and the network.</summary>
/// <param name="state">Logs, metadata and timer; open and registered when this starts.</param>
/// <param name="loggers">Where their log goes.</param>
/// <param name="time">The clock.</param>
internal sealed class BrokerCoordination(BrokerState state, ILoggerFactory loggers, TimeProvider time)
{
    private GroupCoordinator? _groups;
    private CompressionCodecs? _codecs;

    /// <summary>The coordinator of consumer groups; from the start on.</summary>
    public GroupCoordinator Groups => _groups ?? throw new InvalidOperationException("Coordination has not started");

    /// <summary>Begins to load what this broker coordinates; requests are answered meanwhile.</summary>
    public void Start()
    {
        _codecs = new CompressionCodecs();
        _groups = new GroupCoordinator(new GroupCoordinatorOptions
        {
            Configs = state.Configs,
            Metadata = state.Metadata,
            Partitions = state.Partitions,
            Timer = state.Delayed.Timer,
            Time = time,
            Codecs = _codecs,
            Logger = loggers.CreateLogger<GroupCoordinator>(),
        });
        _groups.Start();
    }

    /// <summary>Answers whoever waits, so that connections can end, and leaves the logs alone from then on.</summary>
    public async Task StopAsync()
    {
        if (_groups is not null)
            await _groups.DisposeAsync().ConfigureAwait(false);
        _codecs?.Dispose();
    }
}
