using System.Buffers;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace KBroker.Protocol.Records;

/// <summary>
/// The zigzag varints inside records: 7 bits a byte, low bits first, the top bit says that more follow. Strict: no more
/// bytes and bits than the type has. A reader returns false when the bytes end too early or the number is too long.
/// </summary>
internal static class VarInt
{
    /// <summary>The most bytes that <see cref="Write(Span{byte}, int)"/> writes.</summary>
    public const int MaxInt32Bytes = 5;

    /// <summary>The most bytes that <see cref="Write(Span{byte}, long)"/> writes.</summary>
    public const int MaxInt64Bytes = 10;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryRead(ReadOnlySpan<byte> source, ref int position, out int value)
    {
        if ((uint)position < (uint)source.Length)
        {
            uint first = source[position];
            if (first < 0x80)
            {
                position++;
                value = (int)(first >> 1) ^ -(int)(first & 1);
                return true;
            }

            // Lengths and offset deltas are mostly of one or two bytes.
            if ((uint)(position + 1) < (uint)source.Length && source[position + 1] < 0x80)
            {
                first = (first & 0x7f) | ((uint)source[position + 1] << 7);
                position += 2;
                value = (int)(first >> 1) ^ -(int)(first & 1);
                return true;
            }
        }

        return TryReadLong32(source, ref position, out value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryRead(ReadOnlySpan<byte> source, ref int position, out long value)
    {
        if ((uint)position < (uint)source.Length)
        {
            uint first = source[position];
            if (first < 0x80)
            {
                position++;
                value = (int)(first >> 1) ^ -(int)(first & 1);
                return true;
            }

            // Lengths and offset deltas are mostly of one or two bytes.
            if ((uint)(position + 1) < (uint)source.Length && source[position + 1] < 0x80)
            {
                first = (first & 0x7f) | ((uint)source[position + 1] << 7);
                position += 2;
                value = (int)(first >> 1) ^ -(int)(first & 1);
                return true;
            }
        }

        return TryReadLong64(source, ref position, out value);
    }

    public static bool TryRead(ref SequenceReader<byte> source, out int value)
    {
        value = 0;
        uint raw = 0;
        for (var shift = 0; shift < 35; shift += 7)
        {
            if (!source.TryRead(out var next) || (shift == 28 && next > 0x0f))
                return false;
            raw |= (next & 0x7fu) << shift;
            if (next < 0x80)
            {
                value = (int)(raw >> 1) ^ -(int)(raw & 1);
                return true;
            }
        }

        return false;
    }

    public static bool TryRead(ref SequenceReader<byte> source, out long value)
    {
        value = 0;
        ulong raw = 0;
        for (var shift = 0; shift < 70; shift += 7)
        {
            if (!source.TryRead(out var next) || (shift == 63 && next > 0x01))
                return false;
            raw |= (next & 0x7ful) << shift;
            if (next < 0x80)
            {
                value = (long)(raw >> 1) ^ -(long)(raw & 1);
                return true;
            }
        }

        return false;
    }

    /// <summary>Bytes that a number takes.</summary>
    public static int SizeOf(int value)
    {
        var raw = (uint)((value << 1) ^ (value >> 31));
        return (38 - BitOperations.LeadingZeroCount(raw | 1)) / 7;
    }

    /// <summary>Bytes that a number takes.</summary>
    public static int SizeOf(long value)
    {
        var raw = (ulong)((value << 1) ^ (value >> 63));
        return (70 - BitOperations.LeadingZeroCount(raw | 1)) / 7;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Write(Span<byte> destination, int value)
    {
        var raw = (uint)((value << 1) ^ (value >> 31));
        var count = 0;
        for (; raw >= 0x80; raw >>= 7)
            destination[count++] = (byte)(raw | 0x80);
        destination[count++] = (byte)raw;
        return count;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Write(Span<byte> destination, long value)
    {
        var raw = (ulong)((value << 1) ^ (value >> 63));
        var count = 0;
        for (; raw >= 0x80; raw >>= 7)
            destination[count++] = (byte)(raw | 0x80);
        destination[count++] = (byte)raw;
        return count;
    }

    private static bool TryReadLong32(ReadOnlySpan<byte> source, ref int position, out int value)
    {
        value = 0;
        uint raw = 0;
        var at = position;
        for (var shift = 0; shift < 35; shift += 7, at++)
        {
            if ((uint)at >= (uint)source.Length || (shift == 28 && source[at] > 0x0f))
                return false;
            raw |= (source[at] & 0x7fu) << shift;
            if (source[at] < 0x80)
            {
                position = at + 1;
                value = (int)(raw >> 1) ^ -(int)(raw & 1);
                return true;
            }
        }

        return false;
    }

    private static bool TryReadLong64(ReadOnlySpan<byte> source, ref int position, out long value)
    {
        value = 0;
        ulong raw = 0;
        var at = position;
        for (var shift = 0; shift < 70; shift += 7, at++)
        {
            if ((uint)at >= (uint)source.Length || (shift == 63 && source[at] > 0x01))
                return false;
            raw |= (source[at] & 0x7ful) << shift;
            if (source[at] < 0x80)
            {
                position = at + 1;
                value = (long)(raw >> 1) ^ -(long)(raw & 1);
                return true;
            }
        }

        return false;
    }
}
