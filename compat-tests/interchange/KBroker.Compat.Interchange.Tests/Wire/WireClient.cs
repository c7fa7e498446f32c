using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Compat.Interchange.Tests.Wire;

/// <summary>
/// One connection that sends any request in the newest version both sides know, and sees every field of the answer:
/// what a client library hides (epochs, producer state, batch headers) is what must survive a move.
/// </summary>
internal sealed class WireClient : IAsyncDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    private readonly Socket _socket;
    private readonly NetworkStream _stream;
    private readonly Dictionary<ApiKey, short> _versions = [];
    private int _correlationId;

    private WireClient(Socket socket)
    {
        _socket = socket;
        _stream = new NetworkStream(socket);
    }

    /// <summary>What the broker said of itself: APIs and features.</summary>
    public ApiVersionsResponse Versions { get; private set; } = new();

    public static async Task<WireClient> ConnectAsync(int port)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, port);
            var client = new WireClient(socket);
            var request = new ApiVersionsRequest { ClientSoftwareName = "interchange", ClientSoftwareVersion = "1" };
            client.Versions = await client.SendAsync<ApiVersionsResponse>(request, 4);
            foreach (var api in client.Versions.ApiKeys)
                if (ApiCatalog.TryGet((ApiKey)api.ApiKey, out var info))
                    client._versions[info.Key] = Math.Min(api.MaxVersion, info.LatestStableVersion);
            return client;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Whether the broker serves an API.</summary>
    public bool Serves(ApiKey key) => _versions.ContainsKey(key);

    /// <summary>The finalized level of a feature; 0 when it is not in use.</summary>
    public short LevelOf(string feature) =>
        Versions.FinalizedFeatures.Find(f => f.Name == feature)?.MaxVersionLevel ?? 0;

    /// <summary>Sends a request and decodes the answer, which must fill its frame.</summary>
    public Task<TResponse> SendAsync<TResponse>(IRequestMessage request)
        where TResponse : IResponseMessage, IMessage<TResponse> =>
        SendAsync<TResponse>(request, _versions[request.ApiKey]);

    public async Task<TResponse> SendAsync<TResponse>(IRequestMessage request, short version)
        where TResponse : IResponseMessage, IMessage<TResponse>
    {
        using var limit = new CancellationTokenSource(Deadline);
        var correlationId = ++_correlationId;
        await _stream.WriteAsync(Frame(request, version, correlationId), limit.Token);
        var prefix = new byte[8];
        await _stream.ReadExactlyAsync(prefix, limit.Token);
        var frame = new byte[BinaryPrimitives.ReadInt32BigEndian(prefix) - 4];
        await _stream.ReadExactlyAsync(frame, limit.Token);
        Assert.Equal(correlationId, BinaryPrimitives.ReadInt32BigEndian(prefix.AsSpan(4)));
        var reader = new ProtocolReader(frame.AsMemory());
        if (ApiCatalog.Get(request.ApiKey).ResponseHeaderVersion(version) >= 1)
            Assert.Null(reader.ReadUnknownTaggedFields());
        var response = TResponse.Read(ref reader, version);
        reader.EnsureEnd();
        return response;
    }

    public async ValueTask DisposeAsync()
    {
        await _stream.DisposeAsync();
        _socket.Dispose();
    }

    private static byte[] Frame(IRequestMessage request, short version, int correlationId)
    {
        using var writer = new ProtocolWriter();
        var size = writer.Reserve();
        writer.WriteInt16((short)request.ApiKey);
        writer.WriteInt16(version);
        writer.WriteInt32(correlationId);
        writer.WriteNullableString("interchange", flexible: false);
        if (ApiCatalog.Get(request.ApiKey).RequestHeaderVersion(version) >= 2)
            writer.WriteInt8(0);
        request.Write(writer, version);
        ProtocolWriter.PatchInt32(size, (int)writer.TotalBytes - 4);
        return writer.ToArray();
    }
}
