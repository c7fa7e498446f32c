using System.Collections.Immutable;
using System.Net;
using KBroker.Cluster.Metadata;
using KBroker.Server.Dispatch;
using KBroker.Server.Net;
using KBroker.Server.Net.Listeners;
using KBroker.Server.Observability;
using KBroker.Server.Security;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>The broker's sockets: from the properties to listeners that hand requests to the handlers.</summary>
internal sealed class BrokerNetwork(
    BrokerOptions options, BrokerState state, ILoggerFactory loggers, TimeProvider time)
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(10);

    private ServerMetrics? _metrics;
    private NetworkServer? _server;

    /// <summary>The listeners that are bound, with their real ports.</summary>
    public IReadOnlyList<ListenerEndpoint> BoundListeners => _server?.BoundListeners ?? [];

    /// <summary>Reserves the ports; clients wait in the backlog until <see cref="Start"/>.</summary>
    public void Bind()
    {
        var configs = options.Configs;
        var listeners = ListenerConfiguration.Parse(ListenerSettings.From(
            key => configs.StaticValues.GetValueOrDefault(key)));
        var sockets = options.Sockets;
        var networkOptions = new NetworkOptions
        {
            Listeners = listeners,
            MaxConnections = sockets.MaxConnections,
            MaxConnectionsPerIp = sockets.MaxConnectionsPerIp,
            MaxConnectionsPerIpOverrides = NetworkOptions.ParseOverrides(
                configs.GetString("max.connections.per.ip.overrides"), Dns.GetHostAddresses),
            MaxConnectionCreationRate = sockets.MaxConnectionCreationRate,
            ConnectionsMaxIdleMs = sockets.ConnectionsMaxIdleMs,
            SocketRequestMaxBytes = sockets.RequestMaxBytes,
            SocketSendBufferBytes = sockets.SendBufferBytes,
            SocketReceiveBufferBytes = sockets.ReceiveBufferBytes,
            SocketListenBacklogSize = sockets.ListenBacklogSize,
        };
        var table = new ApiTable(
            HandlerSet.Create(state, options, new AllowAllAuthorizer(), loggers, time),
            configs.GetBoolean("unstable.api.versions.enable"));
        _metrics = new ServerMetrics(time);
        _server = new NetworkServer(
            networkOptions,
            new RequestDispatcher(table, loggers.CreateLogger<RequestDispatcher>()),
            _metrics,
            time,
            loggers.CreateLogger<NetworkServer>());
        _server.Bind();
    }

    /// <summary>What clients are told: the advertised listeners.</summary>
    public ImmutableArray<NodeEndpoint> AdvertisedEndpoints() =>
    [
        .. _server!.ResolveAdvertised().Where(static endpoint => !endpoint.IsController).Select(static endpoint => new NodeEndpoint(
            endpoint.ListenerName, endpoint.Host, endpoint.Port, (short)endpoint.SecurityProtocol)),
    ];

    /// <summary>Begins to serve.</summary>
    public void Start() => _server!.Start();

    /// <summary>Finishes what was accepted, then closes every connection.</summary>
    public async Task StopAsync(CancellationToken cancellation)
    {
        if (_server is null)
            return;
        await _server.StopAsync(cancellation.IsCancellationRequested ? TimeSpan.Zero : Grace).ConfigureAwait(false);
        await _server.DisposeAsync().ConfigureAwait(false);
        _metrics?.Dispose();
    }
}
