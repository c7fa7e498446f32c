using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Net;

namespace KBroker.Server.Tests.Brokers;

/// <summary>
/// A client that sends any request in any version and decodes its answer. Requests may be sent before earlier ones are
/// answered; answers are matched in order, as the protocol demands, and their correlation ids are checked.
/// </summary>
internal sealed class ProtocolClient : IAsyncDisposable
{
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private readonly Socket _socket;
    private readonly NetworkStream _stream;
    private readonly ConcurrentQueue<(int CorrelationId, TaskCompletionSource<byte[]> Answer)> _pending = new();
    private readonly SemaphoreSlim _sending = new(1, 1);
    private readonly Task _receiving;
    private int _correlationId;

    private ProtocolClient(Socket socket)
    {
        _socket = socket;
        _stream = new NetworkStream(socket);
        _receiving = ReceiveAsync();
    }

    /// <summary>Done when the broker has closed the connection.</summary>
    public Task Closed => _receiving;

    public string ClientId { get; init; } = "test";

    public static async Task<ProtocolClient> ConnectAsync(int port, string clientId = "test")
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, port);
        return new ProtocolClient(socket) { ClientId = clientId };
    }

    public static short Latest(ApiKey key) => ApiCatalog.Get(key).LatestStableVersion;

    /// <summary>Sends a request and decodes the answer, which must fill its frame.</summary>
    /// <param name="request">The request.</param>
    /// <param name="version">Its version; -1 for the latest.</param>
    public async Task<TResponse> SendAsync<TResponse>(IRequestMessage request, short version = -1)
        where TResponse : IResponseMessage, IMessage<TResponse>
    {
        version = version < 0 ? Latest(request.ApiKey) : version;
        var frame = await SendAsync(request, version);
        return Decode<TResponse>(frame, request.ApiKey, version);
    }

    /// <summary>Sends a request; the answer is its frame without size and correlation id.</summary>
    public async Task<byte[]> SendAsync(IRequestMessage request, short version)
    {
        var answer = new TaskCompletionSource<byte[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        await _sending.WaitAsync();
        try
        {
            var correlationId = ++_correlationId;
            _pending.Enqueue((correlationId, answer));
            await _stream.WriteAsync(TestClient.Frame(request, version, correlationId, ClientId));
        }
        finally
        {
            _sending.Release();
        }

        if (_receiving.IsCompleted)
            FailPending();
        return await answer.Task.WaitAsync(Deadline);
    }

    /// <summary>Sends a request that has no answer.</summary>
    public async Task SendOneWayAsync(IRequestMessage request, short version)
    {
        await _sending.WaitAsync();
        try
        {
            await _stream.WriteAsync(TestClient.Frame(request, version, ++_correlationId, ClientId));
        }
        finally
        {
            _sending.Release();
        }
    }

    public static TResponse Decode<TResponse>(byte[] frame, ApiKey key, short version)
        where TResponse : IMessage<TResponse>
    {
        var reader = new ProtocolReader(frame.AsMemory());
        if (ApiCatalog.Get(key).ResponseHeaderVersion(version) >= 1)
            Assert.Null(reader.ReadUnknownTaggedFields());
        var response = TResponse.Read(ref reader, version);
        reader.EnsureEnd();
        return response;
    }

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _receiving;
        await _stream.DisposeAsync();
        _sending.Dispose();
    }

    private async Task ReceiveAsync()
    {
        try
        {
            var prefix = new byte[8];
            while (true)
            {
                await _stream.ReadExactlyAsync(prefix);
                var frame = new byte[BinaryPrimitives.ReadInt32BigEndian(prefix) - 4];
                await _stream.ReadExactlyAsync(frame);
                Assert.True(_pending.TryDequeue(out var expected), "an answer to no request");
                Assert.Equal(expected.CorrelationId, BinaryPrimitives.ReadInt32BigEndian(prefix.AsSpan(4)));
                expected.Answer.SetResult(frame);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or SocketException)
        {
            FailPending();
        }
    }

    private void FailPending()
    {
        while (_pending.TryDequeue(out var expected))
            expected.Answer.TrySetException(new EndOfStreamException("the connection was closed before the answer"));
    }
}
