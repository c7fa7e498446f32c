using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using KBroker.Server.Dispatch;
using KBroker.Server.Net.Listeners;
using KBroker.Server.Observability;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Net;

/// <summary>
/// The network side of one broker: its listeners and connections. <see cref="Bind"/> reserves the ports,
/// <see cref="Start"/> begins to serve, <see cref="StopAsync"/> finishes what was accepted.
/// </summary>
public sealed class NetworkServer : IAsyncDisposable
{
    private readonly NetworkOptions _options;
    private readonly ConnectionServices _services;
    private readonly ConnectionLimits _limits;
    private readonly ConnectionRate _rate;
    private readonly List<Listener> _listeners = [];
    private readonly List<Task> _acceptLoops = [];
    private readonly ConcurrentDictionary<Connection, Task> _connections = new();
    private readonly CancellationTokenSource _stopping = new();
    private ITimer? _idleTimer;
    private long _connectionNumber;

    /// <summary>Creates the server; nothing is bound yet.</summary>
    /// <param name="options">Listeners and limits.</param>
    /// <param name="dispatcher">Where requests go.</param>
    /// <param name="metrics">Instruments.</param>
    /// <param name="time">The clock.</param>
    /// <param name="log">One line an event: refused and closed connections.</param>
    public NetworkServer(
        NetworkOptions options, IRequestDispatcher dispatcher, ServerMetrics metrics, TimeProvider time,
        ILogger<NetworkServer> log)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _services = new ConnectionServices(options, dispatcher, metrics, time, log);
        _limits = new ConnectionLimits(
            options.MaxConnections, options.MaxConnectionsPerIp, options.MaxConnectionsPerIpOverrides);
        _rate = new ConnectionRate(options.MaxConnectionCreationRate, time);
    }

    /// <summary>Open connections.</summary>
    public int ConnectionCount => _limits.Count;

    /// <summary>The listeners with the ports that are really bound; empty before <see cref="Bind"/>.</summary>
    public IReadOnlyList<ListenerEndpoint> BoundListeners => _listeners.Select(l => l.Endpoint).ToArray();

    /// <summary>The port that a listener is bound to.</summary>
    /// <param name="listenerName">Name of a listener.</param>
    /// <returns>The port.</returns>
    public int BoundPort(string listenerName) =>
        _listeners.First(l => l.Endpoint.ListenerName == listenerName).Endpoint.Port;

    /// <summary>What to tell clients, once bound.</summary>
    /// <returns>Advertised endpoints with hosts and ports filled in.</returns>
    public IReadOnlyList<ListenerEndpoint> ResolveAdvertised() =>
        _options.Listeners.ResolveAdvertised(BoundPort, LocalHostName);

    /// <summary>Binds all listeners, or none. Connections are refused until <see cref="Start"/>.</summary>
    /// <exception cref="ListenerConfigurationException">A listener cannot be bound.</exception>
    public void Bind()
    {
        try
        {
            foreach (var endpoint in _options.Listeners.Listeners)
            {
                var sharesPort = _options.Listeners.Listeners
                    .Any(other => other != endpoint && other.Port == endpoint.Port && endpoint.Port != 0);
                _listeners.Add(Listener.Bind(endpoint, _options, sharesPort));
            }
        }
        catch
        {
            _listeners.ForEach(l => l.Dispose());
            _listeners.Clear();
            throw;
        }
    }

    /// <summary>Begins to accept connections.</summary>
    public void Start()
    {
        foreach (var listener in _listeners)
        {
            listener.Start();
            _acceptLoops.Add(AcceptAsync(listener));
            _services.Log.LogInformation("Listening on {Endpoint}", listener.Endpoint);
        }
        if (_options.ConnectionsMaxIdleMs < 0)
            return;
        var period = TimeSpan.FromMilliseconds(Math.Clamp(_options.ConnectionsMaxIdleMs / 10, 10, 30_000));
        _idleTimer = _services.Time.CreateTimer(_ => CloseIdle(), null, period, period);
    }

    /// <summary>
    /// Stops accepting, lets long polls end, waits for the answers to what was accepted, and closes.
    /// </summary>
    /// <param name="grace">How long answers may take; then connections are closed as they are.</param>
    /// <returns>Completes when nothing of the network runs any more, or the grace is over.</returns>
    public async Task StopAsync(TimeSpan grace)
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        foreach (var listener in _listeners)
            listener.Dispose();
        await Task.WhenAll(_acceptLoops).ConfigureAwait(false);
        foreach (var connection in _connections.Keys)
            connection.Drain();
        if (!await EndsWithinAsync(grace).ConfigureAwait(false))
        {
            foreach (var connection in _connections.Keys)
                connection.Abort("the broker is stopping and its requests took too long");
            await EndsWithinAsync(TimeSpan.FromSeconds(1)).ConfigureAwait(false);
        }
        if (_idleTimer is not null)
            await _idleTimer.DisposeAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await StopAsync(TimeSpan.Zero).ConfigureAwait(false);
        _stopping.Dispose();
    }

    private static string LocalHostName()
    {
        var name = Dns.GetHostName();
        try
        {
            return Dns.GetHostEntry(name).HostName;
        }
        catch (SocketException)
        {
            return name;
        }
    }

    private async Task<bool> EndsWithinAsync(TimeSpan limit)
    {
        try
        {
            await Task.WhenAll(_connections.Values).WaitAsync(limit, _services.Time).ConfigureAwait(false);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private async Task AcceptAsync(Listener listener)
    {
        // Kafka's rule: brokers must be able to talk to each other even when clients have filled the broker.
        var isExempt = _listeners.Count > 1
            && listener.Endpoint.ListenerName == _options.Listeners.InterBrokerListenerName;
        var stopping = _stopping.Token;
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                if (!isExempt)
                    await _limits.WaitForRoomAsync(stopping).ConfigureAwait(false);
                await _rate.TakeAsync(stopping).ConfigureAwait(false);
                Admit(listener, await listener.AcceptAsync(stopping).ConfigureAwait(false));
                if (isExempt && _limits.IsExceeded)
                    CloseLongestIdle(listener.Endpoint.ListenerName);
            }
            catch (Exception e) when (stopping.IsCancellationRequested
                && e is OperationCanceledException or ObjectDisposedException or SocketException)
            {
                return;
            }
            catch (SocketException e)
            {
                // Out of file descriptors, most likely; the connection stays in the backlog.
                _services.Log.LogWarning("Cannot accept on {Endpoint}: {Reason}", listener.Endpoint, e.Message);
                await Task.Delay(TimeSpan.FromMilliseconds(100), _services.Time, CancellationToken.None)
                    .ConfigureAwait(false);
            }
        }
    }

    private void Admit(Listener listener, Socket socket)
    {
        IPEndPoint local;
        IPEndPoint remote;
        try
        {
            socket.NoDelay = true;
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            if (_options.SocketSendBufferBytes > 0)
                socket.SendBufferSize = _options.SocketSendBufferBytes;
            local = Unmap(socket.LocalEndPoint!);
            remote = Unmap(socket.RemoteEndPoint!);
        }
        catch (SocketException)
        {
            // The client went before it was served.
            socket.Dispose();
            return;
        }
        if (!_limits.TryAdd(remote.Address, out var limit))
        {
            _services.Log.LogInformation(
                "Rejected a connection of {Client} on listener {Listener}: its address has as many as "
                + "max.connections.per.ip allows ({Limit})", remote, listener.Endpoint.ListenerName, limit);
            _services.Metrics.ConnectionRejected(listener.Tag);
            socket.Dispose();
            return;
        }
        var number = Interlocked.Increment(ref _connectionNumber);
        var session = new ClientSession(
            $"{local}-{remote}-{number}", listener.Endpoint.ListenerName, listener.Endpoint.SecurityProtocol,
            listener.Endpoint.IsController, remote);
        var connection = new Connection(socket, session, _services, _ => OnSocketClosed(listener, remote.Address));
        _services.Metrics.ConnectionOpened(listener.Tag);
        var start = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _connections[connection] = RunAsync(connection, start.Task);
        start.SetResult();
    }

    private void OnSocketClosed(Listener listener, IPAddress address)
    {
        _limits.Remove(address);
        _services.Metrics.ConnectionClosed(listener.Tag);
    }

    private async Task RunAsync(Connection connection, Task start)
    {
        // The first request must not run on the accept loop, and not before the connection is in the table.
        await start.ConfigureAwait(false);
        try
        {
            await connection.RunAsync().ConfigureAwait(false);
        }
        catch (Exception e)
        {
            _services.Log.LogError(e, "Connection {ConnectionId} broke", connection.Session.ConnectionId);
            connection.Abort(null);
        }
        finally
        {
            _connections.TryRemove(connection, out _);
        }
    }

    private void CloseIdle()
    {
        var limit = TimeSpan.FromMilliseconds(_options.ConnectionsMaxIdleMs);
        foreach (var connection in _connections.Keys)
        {
            if (connection.UpdateIdle(_services.Time) >= limit)
                connection.Abort($"idle for connections.max.idle.ms ({_options.ConnectionsMaxIdleMs})", LogLevel.Debug);
        }
    }

    private void CloseLongestIdle(string exceptListener)
    {
        var oldest = _connections.Keys
            .Where(c => c.Session.ListenerName != exceptListener && !c.IsAborted)
            .MaxBy(c => c.UpdateIdle(_services.Time));
        oldest?.Abort($"max.connections ({_options.MaxConnections}) is reached, and a broker has connected");
    }

    private static IPEndPoint Unmap(EndPoint endPoint)
    {
        var ip = (IPEndPoint)endPoint;
        return ip.Address.IsIPv4MappedToIPv6 ? new IPEndPoint(ip.Address.MapToIPv4(), ip.Port) : ip;
    }
}
