using System.Buffers.Binary;
using System.Numerics;

namespace KBroker.Coordination.Groups.Consumer.Subscriptions;

/// <summary>
/// XXH3 with 64 bits and seed 0, the hash that Kafka 4.1 and later put into a group's epoch record. Portable form,
/// after the public specification of xxHash (doc/xxhash_spec.md); used for a few hundred bytes now and then.
/// </summary>
internal static class XxHash3
{
    private const ulong Prime32X1 = 0x9E3779B1;
    private const ulong Prime32X2 = 0x85EBCA77;
    private const ulong Prime32X3 = 0xC2B2AE3D;
    private const ulong Prime64X1 = 0x9E3779B185EBCA87;
    private const ulong Prime64X2 = 0xC2B2AE3D27D4EB4F;
    private const ulong Prime64X3 = 0x165667B19E3779F9;
    private const ulong Prime64X4 = 0x85EBCA77C2B2AE63;
    private const ulong Prime64X5 = 0x27D4EB2F165667C5;
    private const ulong PrimeMx1 = 0x165667919E3779F9;
    private const ulong PrimeMx2 = 0x9FB21C651E98DF25;
    private const int StripeBytes = 64;
    private const int StripesPerBlock = 16;

    private static ReadOnlySpan<byte> Secret =>
    [
        0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
        0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
        0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
        0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
        0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
        0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
        0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
        0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
        0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
        0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
        0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
        0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
    ];

    /// <summary>Hashes bytes.</summary>
    /// <param name="input">The bytes.</param>
    public static ulong Hash(ReadOnlySpan<byte> input) => input.Length switch
    {
        0 => Avalanche64(Read64(Secret, 56) ^ Read64(Secret, 64)),
        <= 3 => Hash1To3(input),
        <= 8 => Hash4To8(input),
        <= 16 => Hash9To16(input),
        <= 128 => Hash17To128(input),
        <= 240 => Hash129To240(input),
        _ => HashLong(input),
    };

    private static ulong Hash1To3(ReadOnlySpan<byte> input)
    {
        var length = (uint)input.Length;
        var combined = ((uint)input[0] << 16) | ((uint)input[input.Length >> 1] << 24) | input[^1] | (length << 8);
        var flip = Read32(Secret, 0) ^ Read32(Secret, 4);
        return Avalanche64(combined ^ (ulong)flip);
    }

    private static ulong Hash4To8(ReadOnlySpan<byte> input)
    {
        var first = Read32(input, 0);
        var last = Read32(input, input.Length - 4);
        var mixed = (last + ((ulong)first << 32)) ^ Read64(Secret, 8) ^ Read64(Secret, 16);
        mixed ^= BitOperations.RotateLeft(mixed, 49) ^ BitOperations.RotateLeft(mixed, 24);
        mixed *= PrimeMx2;
        mixed ^= (mixed >> 35) + (ulong)input.Length;
        mixed *= PrimeMx2;
        return mixed ^ (mixed >> 28);
    }

    private static ulong Hash9To16(ReadOnlySpan<byte> input)
    {
        var low = Read64(input, 0) ^ Read64(Secret, 24) ^ Read64(Secret, 32);
        var high = Read64(input, input.Length - 8) ^ Read64(Secret, 40) ^ Read64(Secret, 48);
        return Avalanche((ulong)input.Length + BinaryPrimitives.ReverseEndianness(low) + high + Fold(low, high));
    }

    private static ulong Hash17To128(ReadOnlySpan<byte> input)
    {
        var length = input.Length;
        var sum = (ulong)length * Prime64X1;
        for (var i = (length - 1) / 32; i >= 0; i--)
        {
            sum += Mix16(input[(i * 16)..], i * 32);
            sum += Mix16(input[(length - (16 * (i + 1)))..], (i * 32) + 16);
        }

        return Avalanche(sum);
    }

    private static ulong Hash129To240(ReadOnlySpan<byte> input)
    {
        var sum = (ulong)input.Length * Prime64X1;
        var rounds = input.Length / 16;
        for (var i = 0; i < 8; i++)
            sum += Mix16(input[(16 * i)..], 16 * i);
        sum = Avalanche(sum);
        for (var i = 8; i < rounds; i++)
            sum += Mix16(input[(16 * i)..], (16 * (i - 8)) + 3);
        sum += Mix16(input[^16..], 136 - 17);
        return Avalanche(sum);
    }

    private static ulong HashLong(ReadOnlySpan<byte> input)
    {
        Span<ulong> lanes =
        [
            Prime32X3, Prime64X1, Prime64X2, Prime64X3, Prime64X4, Prime32X2, Prime64X5, Prime32X1,
        ];
        const int blockBytes = StripeBytes * StripesPerBlock;
        var blocks = (input.Length - 1) / blockBytes;
        for (var block = 0; block < blocks; block++)
        {
            for (var stripe = 0; stripe < StripesPerBlock; stripe++)
                Accumulate(lanes, input[((block * blockBytes) + (stripe * StripeBytes))..], stripe * 8);
            Scramble(lanes);
        }

        var rest = input.Length - 1 - (blockBytes * blocks);
        for (var stripe = 0; stripe < rest / StripeBytes; stripe++)
            Accumulate(lanes, input[((blocks * blockBytes) + (stripe * StripeBytes))..], stripe * 8);
        Accumulate(lanes, input[^StripeBytes..], 192 - StripeBytes - 7);

        var result = (ulong)input.Length * Prime64X1;
        for (var i = 0; i < 4; i++)
        {
            result += Fold(
                lanes[2 * i] ^ Read64(Secret, 11 + (16 * i)), lanes[(2 * i) + 1] ^ Read64(Secret, 11 + (16 * i) + 8));
        }

        return Avalanche(result);
    }

    private static void Accumulate(Span<ulong> lanes, ReadOnlySpan<byte> stripe, int secret)
    {
        for (var i = 0; i < 8; i++)
        {
            var value = Read64(stripe, 8 * i);
            var keyed = value ^ Read64(Secret, secret + (8 * i));
            lanes[i ^ 1] += value;
            lanes[i] += (keyed & 0xFFFFFFFF) * (keyed >> 32);
        }
    }

    private static void Scramble(Span<ulong> lanes)
    {
        for (var i = 0; i < 8; i++)
            lanes[i] = (lanes[i] ^ (lanes[i] >> 47) ^ Read64(Secret, 192 - StripeBytes + (8 * i))) * Prime32X1;
    }

    private static ulong Mix16(ReadOnlySpan<byte> input, int secret) =>
        Fold(Read64(input, 0) ^ Read64(Secret, secret), Read64(input, 8) ^ Read64(Secret, secret + 8));

    private static ulong Fold(ulong left, ulong right)
    {
        var high = Math.BigMul(left, right, out var low);
        return low ^ high;
    }

    private static ulong Avalanche(ulong hash)
    {
        hash = (hash ^ (hash >> 37)) * PrimeMx1;
        return hash ^ (hash >> 32);
    }

    private static ulong Avalanche64(ulong hash)
    {
        hash = (hash ^ (hash >> 33)) * Prime64X2;
        hash = (hash ^ (hash >> 29)) * Prime64X3;
        return hash ^ (hash >> 32);
    }

    private static uint Read32(ReadOnlySpan<byte> from, int offset) =>
        BinaryPrimitives.ReadUInt32LittleEndian(from[offset..]);

    private static ulong Read64(ReadOnlySpan<byte> from, int offset) =>
        BinaryPrimitives.ReadUInt64LittleEndian(from[offset..]);
}
