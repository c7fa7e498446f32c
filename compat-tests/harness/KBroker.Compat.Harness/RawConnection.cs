using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace KBroker.Compat.Harness;

/// <summary>
/// A TCP connection that sends exactly the bytes it is told to. It knows no protocol library on purpose: what it sends
/// must not depend on the code under test.
/// </summary>
public sealed class RawConnection : IDisposable
{
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(40);

    private RawConnection(Socket socket) => Socket = socket;

    /// <summary>The connected socket.</summary>
    public Socket Socket { get; }

    /// <summary>Connects to a port of 127.0.0.1.</summary>
    /// <param name="port">The listener's port.</param>
    /// <param name="receiveBufferBytes">The socket's receive buffer, small for a reader that accepts little.</param>
    /// <exception cref="SocketException">Nobody listens, or the connection was refused.</exception>
    public static async Task<RawConnection> OpenAsync(int port, int receiveBufferBytes = 0)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        if (receiveBufferBytes > 0)
            socket.ReceiveBufferSize = receiveBufferBytes;
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, port);
            return new RawConnection(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>A request frame with its length prefix and request header version 1.</summary>
    /// <param name="apiKey">The API's number.</param>
    /// <param name="version">The request's version.</param>
    /// <param name="body">What follows the header.</param>
    /// <param name="correlationId">Comes back at the start of the answer.</param>
    public static byte[] Frame(short apiKey, short version, ReadOnlySpan<byte> body, int correlationId = 1)
    {
        var client = "hostile"u8;
        var frame = new byte[4 + 2 + 2 + 4 + 2 + client.Length + body.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame, frame.Length - 4);
        BinaryPrimitives.WriteInt16BigEndian(frame.AsSpan(4), apiKey);
        BinaryPrimitives.WriteInt16BigEndian(frame.AsSpan(6), version);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(8), correlationId);
        BinaryPrimitives.WriteInt16BigEndian(frame.AsSpan(12), (short)client.Length);
        client.CopyTo(frame.AsSpan(14));
        body.CopyTo(frame.AsSpan(14 + client.Length));
        return frame;
    }

    /// <summary>Sends all of the bytes.</summary>
    /// <param name="bytes">Sent as they are.</param>
    public async Task SendAsync(ReadOnlyMemory<byte> bytes)
    {
        using var limit = new CancellationTokenSource(AnswerLimit);
        while (bytes.Length > 0)
            bytes = bytes[await Socket.SendAsync(bytes, limit.Token)..];
    }

    /// <summary>Reads one response frame; the result starts with the correlation id.</summary>
    /// <exception cref="IOException">The broker closed the connection, or answered with an absurd length.</exception>
    /// <exception cref="OperationCanceledException">No answer in forty seconds.</exception>
    public async Task<byte[]> ReceiveFrameAsync()
    {
        using var limit = new CancellationTokenSource(AnswerLimit);
        var length = BinaryPrimitives.ReadInt32BigEndian(await ExactlyAsync(4, limit.Token));
        if (length is < 4 or > 64 * 1024 * 1024)
            throw new IOException($"a response frame of {length} bytes");
        return await ExactlyAsync(length, limit.Token);
    }

    /// <summary>True when the broker closes or resets the connection within forty seconds.</summary>
    public async Task<bool> IsClosedByPeerAsync()
    {
        using var limit = new CancellationTokenSource(AnswerLimit);
        var buffer = new byte[4096];
        try
        {
            while (await Socket.ReceiveAsync(buffer, limit.Token) > 0)
            {
            }

            return true;
        }
        catch (SocketException)
        {
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Asks Metadata version 1 for no topic, and returns the number of brokers in the answer.</summary>
    public async Task<int> CountBrokersAsync()
    {
        await SendAsync(Frame(3, 1, [0, 0, 0, 0], 7));
        var answer = await ReceiveFrameAsync();
        if (BinaryPrimitives.ReadInt32BigEndian(answer) != 7)
            throw new IOException($"another request's answer: {Convert.ToHexString(answer)}");
        return BinaryPrimitives.ReadInt32BigEndian(answer.AsSpan(4));
    }

    /// <summary>Big-endian bytes of a string with an int16 length, as the non-flexible requests have it.</summary>
    /// <param name="text">Encoded as UTF-8.</param>
    public static byte[] Text(string text)
    {
        var bytes = new byte[2 + Encoding.UTF8.GetByteCount(text)];
        BinaryPrimitives.WriteInt16BigEndian(bytes, (short)(bytes.Length - 2));
        Encoding.UTF8.GetBytes(text, bytes.AsSpan(2));
        return bytes;
    }

    /// <inheritdoc/>
    public void Dispose() => Socket.Dispose();

    private async Task<byte[]> ExactlyAsync(int count, CancellationToken stop)
    {
        var bytes = new byte[count];
        for (var have = 0; have < count;)
        {
            var got = await Socket.ReceiveAsync(bytes.AsMemory(have), stop);
            if (got == 0)
                throw new IOException("the broker closed the connection");
            have += got;
        }

        return bytes;
    }
}
