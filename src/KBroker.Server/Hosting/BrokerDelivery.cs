using KBroker.Delivery.Delay;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>The broker's deliveries beyond Kafka's: they live between the coordinators and the network.</summary>
/// <param name="options">Configs.</param>
/// <param name="state">Logs, metadata and timer; open and registered when this starts.</param>
/// <param name="files">Where schedules keep their files.</param>
/// <param name="loggers">Where their log goes.</param>
/// <param name="time">The clock.</param>
internal sealed class BrokerDelivery(
    BrokerOptions options, BrokerState state, IFileSystem files, ILoggerFactory loggers, TimeProvider time)
{
    private CompressionCodecs? _codecs;

    /// <summary>The delayed records; null before the start.</summary>
    public DelayService? Delays { get; private set; }

    /// <summary>Begins; what is pending is found in the background.</summary>
    public void Start()
    {
        _codecs = new CompressionCodecs();
        Delays = new DelayService(new DelayServiceOptions
        {
            Metadata = state.Metadata,
            Partitions = state.Partitions,
            Controller = state.Controller,
            Files = files,
            Timer = state.Delayed.Timer,
            Time = time,
            Codecs = _codecs,
            Logger = loggers.CreateLogger<DelayService>(),
            MemoryRecords = options.Configs.GetInt("kbroker.delay.memory.records"),
            CheckpointRecords = options.Configs.GetLong("kbroker.delay.checkpoint.records"),
            CheckpointIntervalMs = options.Configs.GetLong("kbroker.delay.checkpoint.interval.ms"),
        });
        Delays.Start();
    }

    /// <summary>Brings the schedules' files up to date, and leaves the logs alone from then on.</summary>
    public async Task StopAsync()
    {
        if (Delays is not null)
            await Delays.DisposeAsync().ConfigureAwait(false);
        _codecs?.Dispose();
    }
}
