using System.Buffers;
using System.Net;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Security;

namespace KBroker.Server.Dispatch;

/// <summary>
/// One request under way: its header, its connection, and its bytes. It belongs to the request until the handler's
/// task completes, and is then used for another one: nothing may keep it longer.
/// </summary>
/// <remarks>
/// A handler has two halves. The ordered half is what it does before its first wait: it runs in the order in which the
/// connection's requests came, and only during it are <see cref="Body"/> and everything that points into it (record
/// batches) valid. The background half is the rest: other requests of the connection run meanwhile. A handler that
/// sets <see cref="IRequestHandler.RunsAlone"/> has an ordered half only: the bytes stay valid, and the next request
/// waits, until its task completes.
/// </remarks>
public sealed class RequestContext
{
    /// <summary>Creates a context; the network layer does, and tests of handlers may.</summary>
    /// <param name="session">The connection.</param>
    public RequestContext(ClientSession session)
    {
        ArgumentNullException.ThrowIfNull(session);
        Session = session;
    }

    /// <summary>The connection that the request came in through.</summary>
    public ClientSession Session { get; }

    /// <summary>Which API is called.</summary>
    public ApiKey ApiKey { get; set; }

    /// <summary>Version of the request.</summary>
    public short ApiVersion { get; set; }

    /// <summary>The client's number for the request; its answer carries the same.</summary>
    public int CorrelationId { get; set; }

    /// <summary>What the client calls itself (<c>client.id</c>); null when it does not say.</summary>
    public string? ClientId { get; set; }

    /// <summary>The request behind its header. Valid during the ordered half only.</summary>
    public ReadOnlySequence<byte> Body { get; set; }

    /// <summary>Bytes of the request, its size field excluded.</summary>
    public int SizeInBytes { get; set; }

    /// <summary>When the request had arrived, by the broker's <see cref="TimeProvider.GetTimestamp"/>.</summary>
    public long ReceivedTimestamp { get; set; }

    /// <summary>Who asks.</summary>
    public KafkaPrincipal Principal => Session.Principal;

    /// <summary>Name of the listener that the request came in through.</summary>
    public string ListenerName => Session.ListenerName;

    /// <summary>Security protocol of that listener.</summary>
    public SecurityProtocol SecurityProtocol => Session.SecurityProtocol;

    /// <summary>Address of the client.</summary>
    public IPAddress ClientAddress => Session.RemoteEndPoint.Address;

    /// <summary>
    /// Fires when the client has gone or the broker is stopping; see <see cref="ClientSession.Closing"/>.
    /// </summary>
    public CancellationToken Closing => Session.Closing;

    /// <summary>What the listener offers, for the ApiVersions answer.</summary>
    public IReadOnlyList<ServedApi> ServedApis { get; set; } = [];

    /// <summary>The decoded request, for error answers; null before it is decoded.</summary>
    internal IRequestMessage? Request { get; set; }

    /// <summary>
    /// Version in which the answer's body is written; differs from the request's for ApiVersions only.
    /// </summary>
    internal short ResponseVersion { get; set; }

    /// <summary>Version of the answer's header: 0, or 1 with tagged fields.</summary>
    internal short ResponseHeaderVersion { get; set; }

    /// <summary>Whether the next request waits until this one is answered.</summary>
    internal bool RunsAlone { get; set; }

    /// <summary>Why the connection is to be closed once this request is answered; null when it is not.</summary>
    internal string? CloseReason { get; private set; }

    /// <summary>The API's row of the dispatch table, for measurements.</summary>
    internal ApiEntry? Api { get; set; }

    /// <summary>
    /// Closes the connection once this request and those before it are answered: the only way to tell a client that
    /// sent <c>acks=0</c> of an error.
    /// </summary>
    /// <param name="reason">For the log.</param>
    public void CloseConnection(string reason) => CloseReason ??= reason;

    /// <summary>Makes the context ready for a new request.</summary>
    internal void Start(in ReadOnlySequence<byte> frame, long receivedTimestamp)
    {
        ApiKey = default;
        ApiVersion = 0;
        CorrelationId = 0;
        ClientId = null;
        Body = frame;
        SizeInBytes = (int)frame.Length;
        ReceivedTimestamp = receivedTimestamp;
        Request = null;
        ResponseVersion = 0;
        ResponseHeaderVersion = 0;
        RunsAlone = false;
        CloseReason = null;
        Api = null;
    }
}
