using System.Net;
using System.Net.Sockets;
using KBroker.Server.Net.Listeners;

namespace KBroker.Server.Net;

/// <summary>
/// One bound listening socket. Binding and accepting are two steps: a port is known, and reserved, before the broker
/// is ready to serve.
/// </summary>
internal sealed class Listener : IDisposable
{
    private readonly Socket _socket;
    private readonly int _backlog;

    private Listener(Socket socket, ListenerEndpoint endpoint, int backlog)
    {
        _socket = socket;
        _backlog = backlog;
        Endpoint = endpoint;
        Tag = new KeyValuePair<string, object?>("listener", endpoint.ListenerName);
    }

    /// <summary>What the configuration says, with the port that is really bound.</summary>
    public ListenerEndpoint Endpoint { get; }

    /// <summary>The tag of measurements.</summary>
    public KeyValuePair<string, object?> Tag { get; }

    /// <summary>Binds a listener; connections are refused until <see cref="Start"/>.</summary>
    /// <param name="endpoint">Where.</param>
    /// <param name="options">Socket buffers and backlog.</param>
    /// <param name="sharesPort">Whether another listener has the same port in the other address family.</param>
    /// <exception cref="ListenerConfigurationException">The address does not resolve or cannot be bound.</exception>
    public static Listener Bind(ListenerEndpoint endpoint, NetworkOptions options, bool sharesPort)
    {
        Socket? socket = null;
        try
        {
            var address = Resolve(endpoint.Host);
            socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            if (address.AddressFamily == AddressFamily.InterNetworkV6)
                socket.DualMode = address.Equals(IPAddress.IPv6Any) && !sharesPort;
            // Accepted sockets inherit it, and only before the connection is made does it set the window's scale.
            if (options.SocketReceiveBufferBytes > 0)
                socket.ReceiveBufferSize = options.SocketReceiveBufferBytes;
            socket.Bind(new IPEndPoint(address, endpoint.Port));
            var port = ((IPEndPoint)socket.LocalEndPoint!).Port;
            return new Listener(socket, endpoint with { Port = port }, options.SocketListenBacklogSize);
        }
        catch (SocketException e)
        {
            socket?.Dispose();
            throw new ListenerConfigurationException(
                "listeners", endpoint.ToString(), $"cannot listen there: {e.Message}");
        }
    }

    /// <summary>Lets the system take connections.</summary>
    public void Start() => _socket.Listen(_backlog);

    /// <summary>Takes the next connection.</summary>
    public ValueTask<Socket> AcceptAsync(CancellationToken cancellation) => _socket.AcceptAsync(cancellation);

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private static IPAddress Resolve(string host)
    {
        if (host.Length == 0)
            return Socket.OSSupportsIPv6 ? IPAddress.IPv6Any : IPAddress.Any;
        if (IPAddress.TryParse(host, out var address))
            return address;
        var all = Dns.GetHostAddresses(host);
        return all.FirstOrDefault(a => a.AddressFamily == AddressFamily.InterNetwork) ?? all[0];
    }
}
