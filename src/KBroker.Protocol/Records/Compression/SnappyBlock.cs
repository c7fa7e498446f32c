using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KBroker.Protocol.Records;

/// <summary>The raw snappy block format: uvarint length of the content, then literals and copies.</summary>
/// <remarks>
/// The low two bits of an element's first byte tell its kind. 00: literal, length - 1 in the upper six bits, or 60 to
/// 63 for one to four length bytes behind. 01: copy of 4 to 11 bytes from up to 2047 bytes back. 10: copy of 1 to 64
/// bytes, two bytes of distance. 11: the same with four. A copy may overlap what it writes. A copy element of 3 bytes
/// makes at most 64 bytes of content, which bounds what a block of a given size can hold.
/// </remarks>
internal static class SnappyBlock
{
    /// <summary>The most bytes of content that <see cref="Compress"/> takes: positions must fit 16 bits.</summary>
    public const int MaxCompressBytes = 64 * 1024;

    private const int HashBits = 13;

    /// <summary>The entries that the table given to <see cref="Compress"/> must have.</summary>
    public const int HashTableEntries = 1 << HashBits;

    /// <summary>The most bytes that some content can take when compressed.</summary>
    public static int MaxCompressedLength(int length) => 32 + length + (length / 6);

    /// <summary>Reads the length of the content and checks that the block could hold it.</summary>
    /// <returns>False when it cannot.</returns>
    public static bool TryReadLength(ReadOnlySpan<byte> block, out int length, out int headerBytes)
    {
        ulong value = 0;
        length = 0;
        for (headerBytes = 0; headerBytes < Math.Min(5, block.Length);)
        {
            var next = block[headerBytes];
            value |= (ulong)(next & 0x7f) << (7 * headerBytes);
            headerBytes++;
            if (next >= 0x80)
                continue;
            length = (int)Math.Min(value, int.MaxValue);
            return value <= (ulong)(block.Length - headerBytes) * 22;
        }

        return false;
    }

    /// <summary>Decompresses the elements behind the length.</summary>
    /// <param name="source">The elements.</param>
    /// <param name="destination">Exactly as long as the content.</param>
    /// <returns>False when the elements are malformed or do not fill the destination exactly.</returns>
    public static bool TryDecompress(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        int from = 0, to = 0;
        while (from < source.Length)
        {
            var tag = source[from++];
            if ((tag & 3) == 0)
            {
                if (!TryCopyLiteral(source, ref from, destination, ref to, tag >> 2))
                    return false;
                continue;
            }

            int length, distance;
            var operandBytes = (tag & 3) == 1 ? 1 : (tag & 3) == 2 ? 2 : 4;
            if (operandBytes > source.Length - from)
                return false;
            if (operandBytes == 1)
            {
                length = ((tag >> 2) & 7) + 4;
                distance = ((tag >> 5) << 8) | source[from];
            }
            else
            {
                length = (tag >> 2) + 1;
                distance = operandBytes == 2
                    ? BinaryPrimitives.ReadUInt16LittleEndian(source[from..])
                    : BinaryPrimitives.ReadInt32LittleEndian(source[from..]);
            }

            from += operandBytes;
            if (distance <= 0 || distance > to || length > destination.Length - to)
                return false;
            CopyBack(destination, to, distance, length);
            to += length;
        }

        return to == destination.Length;
    }

    /// <summary>Compresses one block, length in front.</summary>
    /// <param name="source">At most <see cref="MaxCompressBytes"/>.</param>
    /// <param name="destination">At least <see cref="MaxCompressedLength"/>.</param>
    /// <param name="table">Scratch of <see cref="HashTableEntries"/>.</param>
    /// <returns>The bytes written.</returns>
    public static int Compress(ReadOnlySpan<byte> source, Span<byte> destination, Span<ushort> table)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(source.Length, MaxCompressBytes);
        var to = 0;
        for (var length = (uint)source.Length; ; length >>= 7)
        {
            destination[to++] = (byte)(length >= 0x80 ? length | 0x80 : length);
            if (length < 0x80)
                break;
        }

        table.Clear();
        ref var start = ref MemoryMarshal.GetReference(source);
        int literal = 0, at = 1, misses = 32;
        var last = source.Length - 8;
        while (at <= last)
        {
            var word = Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref start, at));
            ref var entry = ref table[(int)((word * 0x1e35a7bd) >> (32 - HashBits))];
            int candidate = entry;
            entry = (ushort)at;
            if (Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref start, candidate)) != word)
            {
                // Content that does not compress is walked in growing steps.
                at += misses++ >> 5;
                continue;
            }

            to += WriteLiteral(source[literal..at], destination[to..]);
            var matched = 4 + MatchLength(source, candidate + 4, at + 4);
            to += WriteCopy(at - candidate, matched, destination[to..]);
            at += matched;
            literal = at;
            misses = 32;
        }

        return literal < source.Length ? to + WriteLiteral(source[literal..], destination[to..]) : to;
    }

    private static bool TryCopyLiteral(
        ReadOnlySpan<byte> source, ref int from, Span<byte> destination, ref int to, int code)
    {
        var length = code + 1L;
        if (code >= 60)
        {
            var lengthBytes = code - 59;
            if (lengthBytes > source.Length - from)
                return false;
            length = 1;
            for (var i = 0; i < lengthBytes; i++)
                length += (long)source[from + i] << (8 * i);
            from += lengthBytes;
        }

        if (length > source.Length - from || length > destination.Length - to)
            return false;
        source.Slice(from, (int)length).CopyTo(destination[to..]);
        from += (int)length;
        to += (int)length;
        return true;
    }

    private static void CopyBack(Span<byte> destination, int to, int distance, int length)
    {
        if (distance >= length)
        {
            destination.Slice(to - distance, length).CopyTo(destination[to..]);
        }
        else if (distance == 1)
        {
            destination.Slice(to, length).Fill(destination[to - 1]);
        }
        else
        {
            for (var i = to; i < to + length; i++)
                destination[i] = destination[i - distance];
        }
    }

    private static int MatchLength(ReadOnlySpan<byte> source, int earlier, int later)
    {
        var start = later;
        ref var first = ref MemoryMarshal.GetReference(source);
        while (later <= source.Length - 8)
        {
            var difference = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref first, earlier))
                ^ Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref first, later));
            if (difference != 0 && BitConverter.IsLittleEndian)
                return later - start + (BitOperations.TrailingZeroCount(difference) >> 3);
            if (difference != 0)
                break;
            earlier += 8;
            later += 8;
        }

        for (; later < source.Length && source[earlier] == source[later]; later++)
            earlier++;
        return later - start;
    }

    private static int WriteLiteral(ReadOnlySpan<byte> literal, Span<byte> destination)
    {
        if (literal.IsEmpty)
            return 0;
        var code = literal.Length - 1;
        var to = 1;
        if (code < 60)
        {
            destination[0] = (byte)(code << 2);
        }
        else if (code < 256)
        {
            destination[0] = 60 << 2;
            destination[to++] = (byte)code;
        }
        else
        {
            destination[0] = 61 << 2;
            BinaryPrimitives.WriteUInt16LittleEndian(destination[to..], (ushort)code);
            to += 2;
        }

        literal.CopyTo(destination[to..]);
        return to + literal.Length;
    }

    private static int WriteCopy(int distance, int length, Span<byte> destination)
    {
        var to = 0;
        // Never leave a rest of less than four bytes, which the short form cannot say.
        for (; length >= 68; length -= 64)
            to += WriteLongCopy(distance, 64, destination[to..]);
        if (length > 64)
        {
            to += WriteLongCopy(distance, 60, destination[to..]);
            length -= 60;
        }

        if (length >= 12 || distance >= 2048)
            return to + WriteLongCopy(distance, length, destination[to..]);
        destination[to] = (byte)(1 | ((length - 4) << 2) | ((distance >> 8) << 5));
        destination[to + 1] = (byte)distance;
        return to + 2;
    }

    private static int WriteLongCopy(int distance, int length, Span<byte> destination)
    {
        destination[0] = (byte)(2 | ((length - 1) << 2));
        BinaryPrimitives.WriteUInt16LittleEndian(destination[1..], (ushort)distance);
        return 3;
    }
}
