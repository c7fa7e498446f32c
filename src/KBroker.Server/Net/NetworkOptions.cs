using System.Net;

namespace KBroker.Server.Net;

/// <summary>Sizes and limits of the network layer. Each is a Kafka property unless it says otherwise.</summary>
public sealed record NetworkOptions
{
    /// <summary>Where to listen.</summary>
    public required Listeners.ListenerConfiguration Listeners { get; init; }

    /// <summary><c>max.connections</c>: open connections of the broker; beyond it nothing is accepted.</summary>
    public int MaxConnections { get; init; } = int.MaxValue;

    /// <summary>
    /// <c>max.connections.per.ip</c>: open connections of one client address; more are closed at once.
    /// </summary>
    public int MaxConnectionsPerIp { get; init; } = int.MaxValue;

    /// <summary><c>max.connections.per.ip.overrides</c>, resolved to addresses.</summary>
    public IReadOnlyDictionary<IPAddress, int> MaxConnectionsPerIpOverrides { get; init; } =
        new Dictionary<IPAddress, int>();

    /// <summary><c>max.connection.creation.rate</c>: connections accepted in a second.</summary>
    public int MaxConnectionCreationRate { get; init; } = int.MaxValue;

    /// <summary><c>connections.max.idle.ms</c>; negative: never closed.</summary>
    public long ConnectionsMaxIdleMs { get; init; } = 600_000;

    /// <summary><c>socket.request.max.bytes</c>: largest size field of a request.</summary>
    public int SocketRequestMaxBytes { get; init; } = 104_857_600;

    /// <summary><c>socket.send.buffer.bytes</c>: SO_SNDBUF; -1 leaves it to the system.</summary>
    public int SocketSendBufferBytes { get; init; } = 102_400;

    /// <summary><c>socket.receive.buffer.bytes</c>: SO_RCVBUF; -1 leaves it to the system.</summary>
    public int SocketReceiveBufferBytes { get; init; } = 102_400;

    /// <summary><c>socket.listen.backlog.size</c>: connections the system holds before they are accepted.</summary>
    public int SocketListenBacklogSize { get; init; } = 50;

    /// <summary>
    /// Not a Kafka property: requests of one connection that may be under way at a time. More wait unread.
    /// </summary>
    public int MaxRequestsInFlight { get; init; } = 32;

    /// <summary>
    /// <c>kbroker.sendfile.min.bytes</c>: file regions of fewer bytes are read and sent with the bytes around them,
    /// larger ones by sendfile. See Net/README.md for the measurement behind the default.
    /// </summary>
    public int SendFileMinBytes { get; init; } = 16 * 1024;

    /// <summary>
    /// Turns the hosts of <c>max.connections.per.ip.overrides</c> into addresses.
    /// </summary>
    /// <param name="limits">Limits by host name or address, as <c>BrokerConfigRules.ParseAddressLimits</c> reads
    /// them.</param>
    /// <param name="resolve">From a host name to its addresses.</param>
    /// <returns>Limits by address.</returns>
    /// <exception cref="Listeners.ListenerConfigurationException">A host does not resolve.</exception>
    public static IReadOnlyDictionary<IPAddress, int> ResolveOverrides(
        IReadOnlyDictionary<string, int> limits, Func<string, IPAddress[]> resolve)
    {
        ArgumentNullException.ThrowIfNull(limits);
        ArgumentNullException.ThrowIfNull(resolve);
        var result = new Dictionary<IPAddress, int>();
        foreach (var (host, count) in limits)
        {
            try
            {
                foreach (var address in IPAddress.TryParse(host, out var ip) ? [ip] : resolve(host))
                    result[address] = count;
            }
            catch (System.Net.Sockets.SocketException e)
            {
                throw new Listeners.ListenerConfigurationException(
                    "max.connections.per.ip.overrides", host, $"host '{host}' cannot be resolved ({e.Message})");
            }
        }

        return result;
    }
}
