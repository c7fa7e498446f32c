using System.Collections.Immutable;
using System.Net;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Net;
using KBroker.Server.Net.Listeners;
using KBroker.Server.Observability;
using KBroker.Server.Security;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>The broker's sockets: from the properties to listeners that hand requests to the handlers.</summary>
internal sealed class BrokerNetwork(
    BrokerOptions options,
    BrokerState state,
    BrokerCoordination coordination,
    BrokerDelivery delivery,
    ILoggerFactory loggers,
    TimeProvider time)
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(10);

    private readonly LateDispatcher _dispatcher = new();
    private ServerMetrics? _metrics;
    private NetworkServer? _server;

    /// <summary>The listeners that are bound, with their real ports.</summary>
    public IReadOnlyList<ListenerEndpoint> BoundListeners => _server?.BoundListeners ?? [];

    /// <summary>Reserves the ports; clients are refused until <see cref="Start"/>.</summary>
    public void Bind()
    {
        var configs = options.Configs;
        var sockets = options.Sockets;
        var networkOptions = new NetworkOptions
        {
            Listeners = options.Listeners,
            MaxConnections = sockets.MaxConnections,
            MaxConnectionsPerIp = sockets.MaxConnectionsPerIp,
            MaxConnectionsPerIpOverrides = NetworkOptions.ResolveOverrides(
                BrokerConfigRules.ParseAddressLimits(configs.GetString("max.connections.per.ip.overrides") ?? ""),
                Dns.GetHostAddresses),
            MaxConnectionCreationRate = sockets.MaxConnectionCreationRate,
            ConnectionsMaxIdleMs = sockets.ConnectionsMaxIdleMs,
            SocketRequestMaxBytes = sockets.RequestMaxBytes,
            SocketSendBufferBytes = sockets.SendBufferBytes,
            SocketReceiveBufferBytes = sockets.ReceiveBufferBytes,
            SocketListenBacklogSize = sockets.ListenBacklogSize,
            SendFileMinBytes = configs.GetInt("kbroker.sendfile.min.bytes"),
        };
        _metrics = new ServerMetrics(time);
        _server = new NetworkServer(
            networkOptions,
            _dispatcher,
            _metrics,
            time,
            loggers.CreateLogger<NetworkServer>());
        _server.Bind();
    }

    /// <summary>What others are told: the advertised listeners for clients, or the controller listeners.</summary>
    /// <param name="controllers">Which of the two.</param>
    public ImmutableArray<NodeEndpoint> AdvertisedEndpoints(bool controllers)
    {
        var endpoints = controllers
            ? _server!.BoundListeners.Where(static endpoint => endpoint.IsController)
            : _server!.ResolveAdvertised();
        return
        [
            .. endpoints.Select(static endpoint => new NodeEndpoint(
                endpoint.ListenerName,
                endpoint.Host.Length == 0 ? Dns.GetHostName() : endpoint.Host,
                endpoint.Port,
                (short)endpoint.SecurityProtocol)),
        ];
    }

    /// <summary>Begins to serve; everything that handlers use is there by now.</summary>
    public void Start()
    {
        var table = new ApiTable(
            HandlerSet.Create(
                state, coordination, delivery.Delays!, options, new AllowAllAuthorizer(), loggers, time),
            options.Configs.GetBoolean("unstable.api.versions.enable"));
        _dispatcher.Target = new RequestDispatcher(table, loggers.CreateLogger<RequestDispatcher>());
        _server!.Start();
    }

    /// <summary>Finishes what was accepted, then closes every connection.</summary>
    public async Task StopAsync(CancellationToken cancellation)
    {
        if (_server is null)
            return;
        await _server.StopAsync(cancellation.IsCancellationRequested ? TimeSpan.Zero : Grace).ConfigureAwait(false);
        await _server.DisposeAsync().ConfigureAwait(false);
        _metrics?.Dispose();
    }

    /// <summary>
    /// Stands for the dispatcher until there is one: ports are bound, and known, before the broker can register, and
    /// handlers exist only after.
    /// </summary>
    private sealed class LateDispatcher : IRequestDispatcher
    {
        public IRequestDispatcher? Target { get; set; }

        public ValueTask<IResponseMessage?> Dispatch(RequestContext context) => Target!.Dispatch(context);

        public IResponseMessage? Fail(RequestContext context, Exception exception) => Target!.Fail(context, exception);
    }
}
