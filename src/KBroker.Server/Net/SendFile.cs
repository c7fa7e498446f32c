using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Server.Net;

/// <summary>
/// The two Linux calls that the send loop makes itself, on the socket that the runtime has made non-blocking. Compared
/// with <see cref="Socket.SendPacketsAsync"/> they allocate nothing, save a stat of the file, and let the bytes
/// before a
/// file region travel in one packet with it.
/// </summary>
internal static partial class SendFile
{
    private const int EIntr = 4;
    private const int EAgain = 11;
    private const int MsgDontWait = 0x40;
    private const int MsgNoSignal = 0x4000;
    private const int MsgMore = 0x8000;

    /// <summary>Whether these calls exist here.</summary>
    public static bool IsSupported { get; } = OperatingSystem.IsLinux();

    /// <summary>Sends what the socket takes at once.</summary>
    /// <param name="socket">A connected socket on which an asynchronous operation was started before.</param>
    /// <param name="bytes">What to send.</param>
    /// <param name="more">Whether more follows at once, so that the system waits with a short packet.</param>
    /// <returns>Bytes sent; 0 when the socket is full.</returns>
    /// <exception cref="SocketException">The connection is gone.</exception>
    public static unsafe int TrySend(Socket socket, ReadOnlySpan<byte> bytes, bool more)
    {
        fixed (byte* pointer = bytes)
        {
            while (true)
            {
                var flags = MsgDontWait | MsgNoSignal | (more ? MsgMore : 0);
                var sent = SendNative(socket.SafeHandle, pointer, (nuint)bytes.Length, flags);
                if (sent >= 0)
                    return (int)sent;
                if (IsFull(Marshal.GetLastPInvokeError()))
                    return 0;
            }
        }
    }

    /// <summary>Sends a part of a file, as much as the socket takes at once.</summary>
    /// <param name="socket">A connected, non-blocking socket.</param>
    /// <param name="file">The file.</param>
    /// <param name="position">Where in the file to start.</param>
    /// <param name="count">Bytes to send.</param>
    /// <returns>Bytes sent; 0 when the socket is full; -1 when the file ends before <paramref
    /// name="position"/>.</returns>
    /// <exception cref="SocketException">The connection is gone, or the file cannot be read.</exception>
    public static unsafe long TrySendFile(Socket socket, SafeFileHandle file, long position, long count)
    {
        while (true)
        {
            var sent = SendFileNative(socket.SafeHandle, file, &position, (nuint)count);
            if (sent > 0)
                return sent;
            if (sent == 0)
                return -1;
            if (IsFull(Marshal.GetLastPInvokeError()))
                return 0;
        }
    }

    private static bool IsFull(int error) => error switch
    {
        EAgain => true,
        EIntr => false,
        _ => throw new SocketException(error, Marshal.GetPInvokeErrorMessage(error)),
    };

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    private static unsafe partial nint SendNative(SafeHandle socket, byte* bytes, nuint count, int flags);

    [LibraryImport("libc", EntryPoint = "sendfile64", SetLastError = true)]
    private static unsafe partial nint SendFileNative(SafeHandle socket, SafeHandle file, long* position, nuint count);
}
