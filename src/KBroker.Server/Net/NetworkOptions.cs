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
    /// Not a Kafka property: file regions of fewer bytes are read and sent with the bytes around them, larger ones by
    /// sendfile. See Net/README.md for the measurement behind the default.
    /// </summary>
    public int SendFileMinBytes { get; init; } = 16 * 1024;

    /// <summary>
    /// Parses <c>max.connections.per.ip.overrides</c>: <c>host:count</c> pairs, separated by commas.
    /// </summary>
    /// <param name="value">For example <c>127.0.0.1:200,[::1]:200,build.example:10</c>.</param>
    /// <param name="resolve">From a host name or address to its addresses.</param>
    /// <returns>Limits by address.</returns>
    /// <exception cref="Listeners.ListenerConfigurationException">An entry is malformed or does not
    /// resolve.</exception>
    public static IReadOnlyDictionary<IPAddress, int> ParseOverrides(string? value, Func<string, IPAddress[]> resolve)
    {
        const string key = "max.connections.per.ip.overrides";
        ArgumentNullException.ThrowIfNull(resolve);
        var result = new Dictionary<IPAddress, int>();
        const StringSplitOptions split = StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries;
        foreach (var entry in (value ?? "").Split(',', split))
        {
            var colon = entry.LastIndexOf(':');
            if (colon <= 0 || !int.TryParse(entry[(colon + 1)..], out var count) || count < 0)
            {
                throw new Listeners.ListenerConfigurationException(key, value,
                    $"entry '{entry}' is not host:count with a count of 0 or more");
            }
            var host = entry[..colon].Trim('[', ']');
            IPAddress[] addresses;
            try
            {
                addresses = IPAddress.TryParse(host, out var ip) ? [ip] : resolve(host);
            }
            catch (System.Net.Sockets.SocketException e)
            {
                throw new Listeners.ListenerConfigurationException(key, value,
                    $"host '{host}' cannot be resolved ({e.Message})");
            }
            foreach (var address in addresses)
                result[address] = count;
        }
        return result;
    }
}
