using System.Buffers;
using System.Net;
using System.Text;
using KBroker.Server.Security;

namespace KBroker.Server.Dispatch;

/// <summary>What is known about one client connection, the same for all of its requests.</summary>
public sealed class ClientSession
{
    private readonly CancellationTokenSource _closing = new();
    private byte[] _clientIdUtf8 = [];
    private string _clientId = "";

    /// <summary>Creates a session; the network layer does so for each accepted connection.</summary>
    /// <param name="connectionId">Unique within the broker; <c>local-remote-number</c> as in Kafka's logs.</param>
    /// <param name="listenerName">Name of the listener that accepted it.</param>
    /// <param name="securityProtocol">Security protocol of that listener.</param>
    /// <param name="isControllerListener">Whether controllers' APIs are served on it, and brokers' are not.</param>
    /// <param name="remoteEndPoint">Address and port of the client; IPv4 ones are not in IPv6 form.</param>
    public ClientSession(
        string connectionId, string listenerName, SecurityProtocol securityProtocol, bool isControllerListener,
        IPEndPoint remoteEndPoint)
    {
        ConnectionId = connectionId;
        ListenerName = listenerName;
        SecurityProtocol = securityProtocol;
        IsControllerListener = isControllerListener;
        RemoteEndPoint = remoteEndPoint;
    }

    /// <summary>Unique name of the connection within the broker, for logs.</summary>
    public string ConnectionId { get; }

    /// <summary>Name of the listener that accepted the connection.</summary>
    public string ListenerName { get; }

    /// <summary>Security protocol of the listener.</summary>
    public SecurityProtocol SecurityProtocol { get; }

    /// <summary>Whether the connection came in through a controller listener.</summary>
    public bool IsControllerListener { get; }

    /// <summary>Address and port of the client.</summary>
    public IPEndPoint RemoteEndPoint { get; }

    /// <summary>Who the connection speaks for.</summary>
    public KafkaPrincipal Principal { get; set; } = KafkaPrincipal.Anonymous;

    /// <summary>Name of the client library as ApiVersions told it (KIP-511); <c>unknown</c> before.</summary>
    public string ClientSoftwareName { get; set; } = "unknown";

    /// <summary>Version of the client library as ApiVersions told it; <c>unknown</c> before.</summary>
    public string ClientSoftwareVersion { get; set; } = "unknown";

    /// <summary>
    /// Fires when the client has gone or the broker is stopping. A long poll then answers at once with what there is;
    /// work that must be finished (a flush that an answer waits for) ignores it.
    /// </summary>
    public CancellationToken Closing => _closing.Token;

    /// <summary>
    /// The string of a client id. A client sends the same one with each request, so the last is kept.
    /// </summary>
    internal string InternClientId(in ReadOnlySequence<byte> utf8)
    {
        if (utf8.IsSingleSegment && utf8.FirstSpan.SequenceEqual(_clientIdUtf8))
            return _clientId;
        var bytes = utf8.ToArray();
        _clientId = Encoding.UTF8.GetString(bytes);
        _clientIdUtf8 = bytes;
        return _clientId;
    }

    /// <summary>Fires <see cref="Closing"/>, on the thread pool: what listens may do anything.</summary>
    internal void Close()
    {
        if (!_closing.IsCancellationRequested)
            _ = _closing.CancelAsync();
    }
}
