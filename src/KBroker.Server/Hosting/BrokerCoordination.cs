using KBroker.Coordination.Groups;
using KBroker.Coordination.Transactions;
using KBroker.Protocol.Records;
using KBroker.Server.Produce;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>The broker's coordinators: they live between the registration and the network.</summary>
/// <param name="options">The broker's properties.</param>
/// <param name="state">Logs, metadata and timer; open and registered when this starts.</param>
/// <param name="loggers">Where their log goes.</param>
/// <param name="time">The clock.</param>
internal sealed class BrokerCoordination(
    BrokerOptions options, BrokerState state, ILoggerFactory loggers, TimeProvider time)
{
    private GroupCoordinator? _groups;
    private TransactionCoordinator? _transactions;
    private ProducerIdSource? _producerIds;
    private CompressionCodecs? _codecs;

    /// <summary>The coordinator of consumer groups; from the start on.</summary>
    public GroupCoordinator Groups => _groups ?? throw NotStarted();

    /// <summary>The coordinator of transactions; from the start on.</summary>
    public TransactionCoordinator Transactions => _transactions ?? throw NotStarted();

    /// <summary>Where producer ids come from; from the start on.</summary>
    public ProducerIdSource ProducerIds => _producerIds ?? throw NotStarted();

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
        _producerIds = new ProducerIdSource(state.Controller, options.NodeId, () => state.BrokerEpoch);
        _transactions = new TransactionCoordinator(new TransactionCoordinatorOptions
        {
            Configs = state.Configs,
            Metadata = state.Metadata,
            Partitions = state.Partitions,
            Groups = _groups,
            NextProducerId = _producerIds.NextAsync,
            Timer = state.Delayed.Timer,
            Time = time,
            Codecs = _codecs,
            Logger = loggers.CreateLogger<TransactionCoordinator>(),
        });
        _groups.Start();
        _transactions.Start();
    }

    /// <summary>Answers whoever waits, so that connections can end, and leaves the logs alone from then on.</summary>
    public async Task StopAsync()
    {
        // First whoever writes into groups' partitions.
        if (_transactions is not null)
            await _transactions.DisposeAsync().ConfigureAwait(false);
        if (_groups is not null)
            await _groups.DisposeAsync().ConfigureAwait(false);
        _codecs?.Dispose();
    }

    private static InvalidOperationException NotStarted() => new("Coordination has not started");
}
