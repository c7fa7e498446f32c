using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>
/// A blocking connection: plain send and recv calls, so that the driver costs little beside the broker.
/// </summary>
internal sealed class ProtocolConnection : IDisposable
{
    /// <summary>Where a request frame holds its correlation id: behind length, API and version.</summary>
    internal const int CorrelationIdAt = 8;

    private readonly Socket _socket;
    private byte[] _buffer;
    private int _correlationId;

    internal ProtocolConnection(int port, int bufferBytes = 64 * 1024, int receiveTimeoutMs = 0)
    {
        _socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        {
            NoDelay = true,
            ReceiveTimeout = receiveTimeoutMs,
        };
        _buffer = GC.AllocateUninitializedArray<byte>(bufferBytes);
        try
        {
            _socket.Connect(IPAddress.Loopback, port);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>One whole frame, its length prefix included.</summary>
    internal static byte[] Frame(IRequestMessage request, short version)
    {
        using var writer = new ProtocolWriter();
        var info = ApiCatalog.Get(request.ApiKey);
        var length = writer.Reserve();
        new RequestHeader { RequestApiKey = (short)request.ApiKey, RequestApiVersion = version, ClientId = "bench" }
            .Write(writer, info.RequestHeaderVersion(version));
        request.Write(writer, version);
        ProtocolWriter.PatchInt32(length, (int)writer.TotalBytes - sizeof(int));
        return writer.ToArray();
    }

    /// <summary>Sends a frame made by <see cref="Frame"/>, with the next correlation id.</summary>
    internal void Send(byte[] frame)
    {
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(CorrelationIdAt), ++_correlationId);
        SendBytes(frame);
    }

    internal void SendBytes(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[_socket.Send(bytes)..];
    }

    /// <summary>
    /// Receives one response into the connection's buffer, which the result may point into until the next one.
    /// </summary>
    internal T Receive<T>(ApiKey key, short version)
        where T : IMessage<T>
    {
        ReceiveExactly(sizeof(int));
        int length = BinaryPrimitives.ReadInt32BigEndian(_buffer);
        if (_buffer.Length < length) _buffer = GC.AllocateUninitializedArray<byte>(length);
        ReceiveExactly(length);
        var reader = new ProtocolReader(_buffer.AsMemory(0, length));
        ResponseHeader.Read(ref reader, ApiCatalog.Get(key).ResponseHeaderVersion(version));
        return T.Read(ref reader, version);
    }

    internal T Call<T>(IRequestMessage request, short version)
        where T : IMessage<T>
    {
        Send(Frame(request, version));
        return Receive<T>(request.ApiKey, version);
    }

    /// <summary>Receives and forgets; the bytes all land in the same buffer.</summary>
    internal void Discard(long bytes)
    {
        while (bytes > 0)
        {
            int count = _socket.Receive(_buffer.AsSpan(0, (int)Math.Min(bytes, _buffer.Length)));
            if (count == 0) throw new IOException("the peer closed the connection");
            bytes -= count;
        }
    }

    public void Dispose() => _socket.Dispose();

    private void ReceiveExactly(int count)
    {
        for (int have = 0; have < count;)
        {
            int step = _socket.Receive(_buffer.AsSpan(have, count - have));
            if (step == 0) throw new IOException("the broker closed the connection");
            have += step;
        }
    }
}
