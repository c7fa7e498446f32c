using System.Net.Sockets;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Server.Net.Listeners;
using KBroker.Storage;
using KBroker.Storage.Files;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>
/// A broker: made from options, started once, stopped once. Nothing is static, so a process may hold several. What it
/// consists of, and in which order that starts, is said in <see cref="Compose"/> alone.
/// </summary>
public sealed class Broker : IAsyncDisposable
{
    private readonly ILoggerFactory _loggerFactory;
    private readonly ILogger<Broker> _logger;
    private readonly TimeProvider _timeProvider;
    private readonly IFileSystem _files;
    private readonly TaskCompletionSource _failure = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private BrokerParts? _parts;
    private BrokerNetwork? _network;

    /// <summary>Creates a broker; nothing happens until it is started.</summary>
    /// <param name="options">Its checked properties.</param>
    /// <param name="loggerFactory">Where its log goes.</param>
    /// <param name="timeProvider">Its clock.</param>
    /// <param name="files">Where its data lies; null for the machine's own file system.</param>
    public Broker(
        BrokerOptions options, ILoggerFactory loggerFactory, TimeProvider timeProvider, IFileSystem? files = null)
    {
        Options = options;
        _loggerFactory = loggerFactory;
        _logger = loggerFactory.CreateLogger<Broker>();
        _timeProvider = timeProvider;
        _files = files ?? new PhysicalFileSystem();
    }

    /// <summary>The properties it was made from.</summary>
    public BrokerOptions Options { get; }

    /// <summary>Fails when the broker cannot go on, with the reason; otherwise never completes.</summary>
    public Task Failure => _failure.Task;

    /// <summary>The listeners with the ports they are really bound to; empty before the start.</summary>
    public IReadOnlyList<ListenerEndpoint> BoundListeners => _network?.BoundListeners ?? [];

    /// <summary>What lies below the sockets, for tests; null before the start.</summary>
    internal BrokerState? State { get; private set; }

    /// <summary>The deliveries, for tests; null before the start.</summary>
    internal BrokerDelivery? Delivery { get; private set; }

    /// <summary>Starts the broker; it accepts clients when this returns.</summary>
    /// <exception cref="BrokerStartException">For reasons that the operator can mend.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (_parts is not null)
        {
            throw new InvalidOperationException("A broker is started once");
        }

        var began = _timeProvider.GetTimestamp();
        foreach (var warning in Options.Warnings)
        {
            _logger.LogWarning("{Warning}", warning);
        }

        _parts = new BrokerParts(Compose(), _logger);
        try
        {
            await _parts.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception failure) when (Explain(failure) is { } message)
        {
            throw new BrokerStartException(message, failure);
        }

        _logger.LogInformation(
            "KBroker {Version} is ready after {Milliseconds:0} ms: node {NodeId}, listeners {Listeners}, "
            + "data in {LogDirs}",
            typeof(Broker).Assembly.GetName().Version?.ToString(3),
            _timeProvider.GetElapsedTime(began).TotalMilliseconds,
            Options.NodeId,
            string.Join(", ", Options.Listeners.Listeners),
            string.Join(", ", Options.LogDirs));
    }

    /// <summary>
    /// Stops the broker in good order: what it accepted is answered, and everything is on stable storage.
    /// </summary>
    /// <param name="cancellationToken">Cancelled when there is no more time for good order.</param>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (_parts is not null)
        {
            await _parts.StopAsync(cancellationToken).ConfigureAwait(false);
            _logger.LogInformation("KBroker node {NodeId} has stopped", Options.NodeId);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_parts is not null)
        {
            await _parts.StopAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    /// <summary>Says that the broker cannot go on, as when its last log directory has failed.</summary>
    internal void Fail(Exception reason) => _failure.TrySetException(reason);

    /// <summary>The parts of the broker, in the order in which they start.</summary>
    private IReadOnlyList<BrokerPart> Compose()
    {
        var state = State = new BrokerState(Options, _loggerFactory, _timeProvider, _files, Fail);
        var coordination = new BrokerCoordination(Options, state, _loggerFactory, _timeProvider);
        var delivery = Delivery = new BrokerDelivery(Options, state, _files, _loggerFactory, _timeProvider);
        var network = _network = new BrokerNetwork(
            Options, state, coordination, delivery, _loggerFactory, _timeProvider);
        return
        [
            new("the logs and the metadata", _ => Run(state.Open), _ => state.CloseAsync()),
            new("the listeners", _ => Run(network.Bind), network.StopAsync),
            new(
                "the registration",
                token => state.RegisterAsync(
                    network.AdvertisedEndpoints(controllers: false),
                    network.AdvertisedEndpoints(controllers: true),
                    token),
                static _ => Task.CompletedTask),
            new("the coordinators", _ => Run(coordination.Start), _ => coordination.StopAsync()),
            new("the deliveries", _ => Run(delivery.Start), _ => delivery.StopAsync()),
            new("the network", _ => Run(network.Start), static _ => Task.CompletedTask),
        ];
    }

    private static Task Run(Action start)
    {
        start();
        return Task.CompletedTask;
    }

    /// <summary>
    /// A sentence for a failure that lies in the broker's surroundings; null for one that is our own.
    /// </summary>
    private static string? Explain(Exception failure) => failure switch
    {
        BrokerStartException or OperationCanceledException => null,
        ConfigException or ListenerConfigurationException or LogDirectoryException or InvalidMetadataException
            or ControllerException or IOException or UnauthorizedAccessException => failure.Message,
        SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse } =>
            "The address of a listener is already in use",
        SocketException => $"A listener cannot be opened: {failure.Message}",
        _ => null,
    };
}
