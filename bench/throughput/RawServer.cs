using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Throughput;

/// <summary>
/// The limits of the machine, as a process of its own so that its processor time is counted like a broker's. A request
/// is 17 bytes: a <see cref="RawOperation"/>, int64 volume, int32 step (bytes of one call), int32 file number. Its
/// answer, after the work, is one byte; a sending operation sends the volume instead.
/// </summary>
internal static class RawServer
{
    internal const string Mode = "raw-server";

    internal const int RequestBytes = 17;

    /// <summary>Serves until standard input ends.</summary>
    internal static void Run(int port, string folder)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, port));
        listener.Listen();
        new Thread(() =>
        {
            while (true)
            {
                var socket = listener.Accept();
                socket.NoDelay = true;
                new Thread(() => Serve(socket, folder)) { IsBackground = true }.Start();
            }
        })
        { IsBackground = true }.Start();
        while (Console.In.Read() >= 0)
        {
        }
    }

    private static void Serve(Socket socket, string folder)
    {
        using (socket)
        {
            var request = new byte[RequestBytes];
            if (!Fill(socket, request)) return;
            var operation = (RawOperation)request[0];
            long volume = BinaryPrimitives.ReadInt64BigEndian(request.AsSpan(1));
            int step = BinaryPrimitives.ReadInt32BigEndian(request.AsSpan(9));
            string file = Path.Combine(folder, $"raw-{BinaryPrimitives.ReadInt32BigEndian(request.AsSpan(13))}");
            var buffer = GC.AllocateUninitializedArray<byte>(step);
            new Random(7).NextBytes(buffer);
            switch (operation)
            {
                case RawOperation.WriteFile:
                case RawOperation.ReceiveToFile:
                    using (var handle = File.OpenHandle(file, FileMode.Create, FileAccess.Write))
                        Write(handle, operation == RawOperation.ReceiveToFile ? socket : null, buffer, volume);
                    break;
                case RawOperation.Receive:
                    while (volume > 0 && Fill(socket, Part(buffer, volume))) volume -= Math.Min(volume, buffer.Length);
                    break;
                case RawOperation.SendMemory:
                    for (; volume > 0; volume -= Math.Min(volume, buffer.Length)) Send(socket, Part(buffer, volume));
                    return;
                case RawOperation.SendFile:
                    socket.SendFile(file);
                    return;
                default:
                    return;
            }

            socket.Send([1]);
        }
    }

    private static void Write(SafeFileHandle handle, Socket? from, byte[] buffer, long volume)
    {
        for (long position = 0; position < volume;)
        {
            var part = Part(buffer, volume - position);
            if (from is not null && !Fill(from, part)) return;
            RandomAccess.Write(handle, part, position);
            position += part.Length;
        }
    }

    private static Span<byte> Part(byte[] buffer, long left) => buffer.AsSpan(0, (int)Math.Min(left, buffer.Length));

    private static void Send(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[socket.Send(bytes)..];
    }

    private static bool Fill(Socket socket, Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int count = socket.Receive(bytes);
            if (count == 0) return false;
            bytes = bytes[count..];
        }

        return true;
    }
}

/// <summary>What the raw server is asked to do.</summary>
internal enum RawOperation : byte
{
    /// <summary>Write its own bytes to a file.</summary>
    WriteFile = 1,

    /// <summary>Receive and forget.</summary>
    Receive = 2,

    /// <summary>Receive into a buffer and write that to a file: the least a broker does for a produce.</summary>
    ReceiveToFile = 3,

    /// <summary>Send from memory.</summary>
    SendMemory = 4,

    /// <summary>Send the whole file by sendfile: the least a broker does for a fetch.</summary>
    SendFile = 5,
}
