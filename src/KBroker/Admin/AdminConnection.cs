using System.Buffers.Binary;
using System.Net.Sockets;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Admin;

/// <summary>A connection of a command to a broker: one request after the other, answered in time or failed.</summary>
internal sealed class AdminConnection : IDisposable
{
    private const string ClientId = "kbroker-admin";
    private const int AnswerBytesMax = 100 << 20;
    private static readonly TimeSpan ConnectLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(60);

    private readonly Socket _socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly Dictionary<ApiKey, short> _latest = [];
    private readonly string _address;
    private NetworkStream _stream = null!;
    private int _correlationId;

    private AdminConnection(string address) => _address = address;

    /// <summary>Connects, and asks what the broker serves.</summary>
    /// <param name="host">Name or address.</param>
    /// <param name="port">TCP port.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <exception cref="AdminException">There is no broker.</exception>
    public static async Task<AdminConnection> OpenAsync(string host, int port, CancellationToken cancellation)
    {
        var connection = new AdminConnection($"{host}:{port}");
        try
        {
            await connection.ConnectAsync(host, port, cancellation).ConfigureAwait(false);
            await connection.AskVersionsAsync(cancellation).ConfigureAwait(false);
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request in the latest version that both sides know, and reads the answer.</summary>
    /// <typeparam name="TResponse">The answer's class.</typeparam>
    /// <param name="request">The request.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <exception cref="AdminException">The broker does not serve it, or does not answer.</exception>
    public Task<TResponse> CallAsync<TResponse>(IRequestMessage request, CancellationToken cancellation)
        where TResponse : IMessage<TResponse>
    {
        var info = ApiCatalog.Get(request.ApiKey);
        if (info.IsPrivate)
        {
            return CallAsync<TResponse>(
                request,
                info.LatestStableVersion,
                $"{_address} closed the connection on {info.Name} (API key {(int)info.Key}): it is not a KBroker, or "
                + "an older one. Apache Kafka has no such records",
                AnswerLimit,
                cancellation);
        }

        var version = Math.Min(info.LatestStableVersion, _latest.GetValueOrDefault(info.Key, (short)-1));
        return version >= info.LowestVersion
            ? CallAsync<TResponse>(
                request, version, $"{_address} closed the connection on {info.Name}", AnswerLimit, cancellation)
            : throw new AdminException($"{_address} does not serve {info.Name} from version {info.LowestVersion} on.");
    }

    public void Dispose() => _socket.Dispose();

    private async Task ConnectAsync(string host, int port, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(ConnectLimit);
        try
        {
            await _socket.ConnectAsync(host, port, limit.Token).ConfigureAwait(false);
        }
        catch (SocketException refused)
        {
            throw new AdminException($"{_address} cannot be reached: {refused.Message}.");
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new AdminException($"{_address} cannot be reached: no answer in {ConnectLimit.TotalSeconds} s.");
        }

        _stream = new NetworkStream(_socket);
    }

    private async Task AskVersionsAsync(CancellationToken cancellation)
    {
        var offered = await CallAsync<ApiVersionsResponse>(
            new ApiVersionsRequest(),
            0,
            $"{_address} does not speak Kafka's protocol in plain text",
            ConnectLimit,
            cancellation).ConfigureAwait(false);
        foreach (var api in offered.ApiKeys)
            _latest[(ApiKey)api.ApiKey] = api.MaxVersion;
    }

    private async Task<TResponse> CallAsync<TResponse>(
        IRequestMessage request, short version, string whenClosed, TimeSpan wait, CancellationToken cancellation)
        where TResponse : IMessage<TResponse>
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(wait);
        try
        {
            await _stream.WriteAsync(Frame(request, version), limit.Token).ConfigureAwait(false);
            var prefix = new byte[sizeof(int)];
            await _stream.ReadExactlyAsync(prefix, limit.Token).ConfigureAwait(false);
            var length = BinaryPrimitives.ReadInt32BigEndian(prefix);
            if (length is < sizeof(int) or > AnswerBytesMax)
                throw new AdminException($"{whenClosed} (an answer of {length} bytes).");
            var answer = new byte[length];
            await _stream.ReadExactlyAsync(answer, limit.Token).ConfigureAwait(false);
            return Decode<TResponse>(answer, request.ApiKey, version);
        }
        catch (IOException)
        {
            throw new AdminException($"{whenClosed}.");
        }
        catch (ProtocolException malformed)
        {
            throw new AdminException($"{_address} gave an answer that cannot be read: {malformed.Message}");
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new AdminException($"{_address} has not answered {request.ApiKey} in {wait.TotalSeconds} s.");
        }
    }

    private byte[] Frame(IRequestMessage request, short version)
    {
        using var writer = new ProtocolWriter();
        var length = writer.Reserve();
        var header = new RequestHeader
        {
            RequestApiKey = (short)request.ApiKey,
            RequestApiVersion = version,
            CorrelationId = ++_correlationId,
            ClientId = ClientId,
        };
        header.Write(writer, ApiCatalog.Get(request.ApiKey).RequestHeaderVersion(version));
        request.Write(writer, version);
        ProtocolWriter.PatchInt32(length, (int)writer.TotalBytes - sizeof(int));
        return writer.ToArray();
    }

    private TResponse Decode<TResponse>(byte[] answer, ApiKey key, short version)
        where TResponse : IMessage<TResponse>
    {
        var reader = new ProtocolReader(answer.AsMemory());
        var header = ResponseHeader.Read(ref reader, ApiCatalog.Get(key).ResponseHeaderVersion(version));
        return header.CorrelationId == _correlationId
            ? TResponse.Read(ref reader, version)
            : throw new ProtocolException($"it answers request {header.CorrelationId}, not {_correlationId}");
    }
}
