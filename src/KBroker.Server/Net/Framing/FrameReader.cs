using System.Buffers;
using System.Buffers.Binary;

namespace KBroker.Server.Net.Framing;

/// <summary>
/// Cuts requests out of the input. A frame is an int32 size, big-endian, and that many bytes.
/// </summary>
internal static class FrameReader
{
    /// <summary>Bytes of the size field.</summary>
    public const int SizeBytes = 4;

    /// <summary>Takes the next frame off the front of the buffer.</summary>
    /// <param name="buffer">What has arrived; moved behind the frame when there is a whole one.</param>
    /// <param name="maxBytes">Largest size that is accepted (<c>socket.request.max.bytes</c>).</param>
    /// <param name="frame">The frame without its size field.</param>
    /// <param name="missing">When false is answered: bytes still to come of this frame, 0 when its size is
    /// unknown.</param>
    /// <returns>Whether a whole frame was there.</returns>
    /// <exception cref="InvalidFrameException">The size is negative or too large.</exception>
    public static bool TryRead(
        ref ReadOnlySequence<byte> buffer, int maxBytes, out ReadOnlySequence<byte> frame, out int missing)
    {
        frame = default;
        missing = 0;
        if (!TryReadSize(buffer, out var size))
            return false;
        if (size < 0 || size > maxBytes)
            throw new InvalidFrameException(size, maxBytes);
        var available = buffer.Length - SizeBytes;
        if (available < size)
        {
            missing = (int)(size - available);
            return false;
        }
        frame = buffer.Slice(SizeBytes, size);
        buffer = buffer.Slice(frame.End);
        return true;
    }

    /// <summary>Whether a whole, short frame is at the front: more work that is about to be done.</summary>
    public static bool HasShortFrame(in ReadOnlySequence<byte> buffer, int shortBytes) =>
        TryReadSize(buffer, out var size) && size >= 0 && size <= shortBytes && buffer.Length - SizeBytes >= size;

    private static bool TryReadSize(in ReadOnlySequence<byte> buffer, out int size)
    {
        if (BinaryPrimitives.TryReadInt32BigEndian(buffer.FirstSpan, out size))
            return true;
        if (buffer.Length < SizeBytes)
            return false;
        Span<byte> bytes = stackalloc byte[SizeBytes];
        buffer.Slice(0, SizeBytes).CopyTo(bytes);
        size = BinaryPrimitives.ReadInt32BigEndian(bytes);
        return true;
    }
}

/// <summary>A size field that no request may have.</summary>
internal sealed class InvalidFrameException(int size, int maxBytes) : Exception(Describe(size, maxBytes))
{
    /// <summary>The size as read.</summary>
    public int Size { get; } = size;

    private static string Describe(int size, int maxBytes)
    {
        var message = size < 0
            ? $"request size {size} is negative"
            : $"request size {size} is larger than socket.request.max.bytes ({maxBytes})";
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, size);
        // The usual mistakes: a TLS or an HTTP client on a plaintext port.
        if (bytes[0] == 0x16 && bytes[1] == 3)
            return message + "; it looks like a TLS handshake";
        return System.Text.Encoding.Latin1.GetString(bytes) is "GET " or "POST" or "PUT " or "HEAD" or "OPTI"
            ? message + "; it looks like HTTP"
            : message;
    }
}
