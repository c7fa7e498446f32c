using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ArmCrc32 = System.Runtime.Intrinsics.Arm.Crc32;
using Sse42 = System.Runtime.Intrinsics.X86.Sse42;

namespace KBroker.Protocol.Records;

/// <summary>CRC-32C (Castagnoli, RFC 3720), the checksum of record batches, at memory speed.</summary>
/// <remarks>
/// The processor's CRC instruction takes 8 bytes a cycle but answers three cycles later, so one stream uses a third
/// of it. Long input is therefore cut in three lanes of equal length that run side by side. A lane's CRC is then
/// moved behind the next lane: appending n zero bytes is a linear map of the 32 bits, kept as four tables of 256
/// entries for each lane length. For example, 768 bytes are lanes A, B, C of 256: crc(ABC) = shift(shift(crc(A)) ^
/// crc(B)) ^ crc(C), where A starts from the caller's state and B and C from 0.
/// </remarks>
public static class Crc32C
{
    private const uint ReflectedPolynomial = 0x82F63B78;
    private const int LongLane = 4096;
    private const int ShortLane = 256;

    /// <summary>Checksum of a run of bytes.</summary>
    /// <param name="data">The bytes.</param>
    /// <returns>The finished CRC.</returns>
    public static uint Compute(ReadOnlySpan<byte> data) => Append(0, data);

    /// <summary>Checksum of a fragmented run of bytes.</summary>
    /// <param name="data">The bytes.</param>
    /// <returns>The finished CRC.</returns>
    public static uint Compute(in ReadOnlySequence<byte> data)
    {
        if (data.IsSingleSegment)
            return Append(0, data.FirstSpan);
        var crc = 0u;
        foreach (var memory in data)
            crc = Append(crc, memory.Span);
        return crc;
    }

    /// <summary>Extends a checksum.</summary>
    /// <param name="crc">The finished CRC of what came before; 0 for nothing.</param>
    /// <param name="data">The bytes that follow.</param>
    /// <returns>The finished CRC of both.</returns>
    public static uint Append(uint crc, ReadOnlySpan<byte> data)
    {
        if (Sse42.X64.IsSupported || ArmCrc32.Arm64.IsSupported)
            return ~AppendHardware(~crc, ref MemoryMarshal.GetReference(data), data.Length);
        return ~AppendSoftware(~crc, data);
    }

    /// <summary>The checksum from tables alone: eight bytes a step. For processors without the instruction.</summary>
    internal static uint AppendSoftware(uint state, ReadOnlySpan<byte> data)
    {
        ref var table = ref MemoryMarshal.GetArrayDataReference(SlicingTables.Value);
        while (data.Length >= 8)
        {
            var low = BinaryPrimitives.ReadUInt32LittleEndian(data) ^ state;
            var high = BinaryPrimitives.ReadUInt32LittleEndian(data[4..]);
            state = Unsafe.Add(ref table, (7 * 256) + (int)(low & 0xff))
                ^ Unsafe.Add(ref table, (6 * 256) + (int)((low >> 8) & 0xff))
                ^ Unsafe.Add(ref table, (5 * 256) + (int)((low >> 16) & 0xff))
                ^ Unsafe.Add(ref table, (4 * 256) + (int)(low >> 24))
                ^ Unsafe.Add(ref table, (3 * 256) + (int)(high & 0xff))
                ^ Unsafe.Add(ref table, (2 * 256) + (int)((high >> 8) & 0xff))
                ^ Unsafe.Add(ref table, 256 + (int)((high >> 16) & 0xff))
                ^ Unsafe.Add(ref table, (int)(high >> 24));
            data = data[8..];
        }

        foreach (var value in data)
            state = (state >> 8) ^ Unsafe.Add(ref table, (int)((state ^ value) & 0xff));
        return state;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static uint AppendHardware(uint state, ref byte data, int length)
    {
        if (length >= 3 * ShortLane)
        {
            for (; length >= 3 * LongLane; length -= 3 * LongLane)
            {
                state = ThreeLanes(state, ref data, LongLane, LaneTables.Long);
                data = ref Unsafe.Add(ref data, 3 * LongLane);
            }

            for (; length >= 3 * ShortLane; length -= 3 * ShortLane)
            {
                state = ThreeLanes(state, ref data, ShortLane, LaneTables.Short);
                data = ref Unsafe.Add(ref data, 3 * ShortLane);
            }
        }

        ulong wide = state;
        for (; length >= 8; length -= 8)
        {
            wide = Step(wide, ref data, 0);
            data = ref Unsafe.Add(ref data, 8);
        }

        state = (uint)wide;
        for (; length > 0; length--)
        {
            state = Step(state, data);
            data = ref Unsafe.Add(ref data, 1);
        }

        return state;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static uint ThreeLanes(uint state, ref byte data, nint lane, uint[] shiftTable)
    {
        // The states stay in 64 bits: cutting them each time would add a cycle to each step.
        ulong a = state, b = 0, c = 0;
        ref var second = ref Unsafe.Add(ref data, lane);
        ref var third = ref Unsafe.Add(ref second, lane);
        for (nint i = 0; i < lane; i += 32)
        {
            a = Step(a, ref data, i);
            b = Step(b, ref second, i);
            c = Step(c, ref third, i);
            a = Step(a, ref data, i + 8);
            b = Step(b, ref second, i + 8);
            c = Step(c, ref third, i + 8);
            a = Step(a, ref data, i + 16);
            b = Step(b, ref second, i + 16);
            c = Step(c, ref third, i + 16);
            a = Step(a, ref data, i + 24);
            b = Step(b, ref second, i + 24);
            c = Step(c, ref third, i + 24);
        }

        ref var table = ref MemoryMarshal.GetArrayDataReference(shiftTable);
        return Shift(ref table, Shift(ref table, (uint)a) ^ (uint)b) ^ (uint)c;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Step(ulong state, ref byte data, nint position)
    {
        var value = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref data, position));
        return Sse42.X64.IsSupported
            ? Sse42.X64.Crc32(state, value)
            : ArmCrc32.Arm64.ComputeCrc32C((uint)state, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Shift(ref uint table, uint state) =>
        Unsafe.Add(ref table, (int)(state & 0xff))
        ^ Unsafe.Add(ref table, 256 + (int)((state >> 8) & 0xff))
        ^ Unsafe.Add(ref table, 512 + (int)((state >> 16) & 0xff))
        ^ Unsafe.Add(ref table, 768 + (int)(state >> 24));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Step(uint state, byte value) => Sse42.X64.IsSupported
        ? Sse42.Crc32(state, value)
        : ArmCrc32.ComputeCrc32C(state, value);

    /// <summary>Entry [k * 256 + b]: the state after byte b and k zero bytes.</summary>
    private static class SlicingTables
    {
        public static readonly uint[] Value = Build();

        private static uint[] Build()
        {
            var table = new uint[8 * 256];
            for (uint b = 0; b < 256; b++)
            {
                var state = b;
                for (var bit = 0; bit < 8; bit++)
                    state = (state >> 1) ^ ((state & 1) * ReflectedPolynomial);
                table[b] = state;
            }

            for (var i = 256; i < table.Length; i++)
                table[i] = (table[i - 256] >> 8) ^ table[table[i - 256] & 0xff];
            return table;
        }
    }

    /// <summary>Entry [k * 256 + b]: the state b &lt;&lt; 8k after a lane of zero bytes.</summary>
    private static class LaneTables
    {
        public static readonly uint[] Short = Build(ShortLane);
        public static readonly uint[] Long = Build(LongLane);

        private static uint[] Build(int zeroBytes)
        {
            // The map is linear, so the images of the 32 single bits give all others.
            Span<uint> images = stackalloc uint[32];
            Span<byte> zeros = stackalloc byte[64];
            zeros.Clear();
            for (var bit = 0; bit < 32; bit++)
            {
                images[bit] = 1u << bit;
                for (var done = 0; done < zeroBytes; done += zeros.Length)
                    images[bit] = AppendSoftware(images[bit], zeros);
            }

            var table = new uint[4 * 256];
            for (var i = 0; i < table.Length; i++)
            {
                for (var bit = 0; bit < 8; bit++)
                {
                    if ((i & (1 << bit)) != 0)
                        table[i] ^= images[(i / 256 * 8) + bit];
                }
            }

            return table;
        }
    }
}
