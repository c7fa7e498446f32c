using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// A 128-bit hash of a record's key: SipHash-2-4 with 128 bits of output, under a secret of this process.
/// </summary>
/// <remarks>
/// The offset map compares hashes, never keys, so two keys of one hash would make compaction drop a live record. With
/// 128 bits of a pseudo-random function, 2^32 keys in one map meet with a probability of 2^-65; and because the secret
/// is random and never leaves the process, nobody can construct two such keys. Kafka takes MD5 for it, which has
/// constructed collisions.
/// </remarks>
internal readonly struct KeyHash(ulong secret0, ulong secret1)
{
    /// <summary>Makes a hash with a secret of its own.</summary>
    public static KeyHash Create(Random random)
    {
        lock (random)
            return new KeyHash((ulong)random.NextInt64() << 1 ^ (ulong)random.NextInt64(), (ulong)random.NextInt64());
    }

    /// <summary>Computes the hash.</summary>
    public (ulong Low, ulong High) Compute(ReadOnlySpan<byte> key)
    {
        var v0 = secret0 ^ 0x736f6d6570736575;
        var v1 = secret1 ^ 0x646f72616e646f6d ^ 0xee;
        var v2 = secret0 ^ 0x6c7967656e657261;
        var v3 = secret1 ^ 0x7465646279746573;
        var rest = key;
        for (; rest.Length >= 8; rest = rest[8..])
            Absorb(ref v0, ref v1, ref v2, ref v3, BinaryPrimitives.ReadUInt64LittleEndian(rest));
        Span<byte> last = stackalloc byte[8];
        last.Clear();
        rest.CopyTo(last);
        last[7] = (byte)key.Length;
        Absorb(ref v0, ref v1, ref v2, ref v3, BinaryPrimitives.ReadUInt64LittleEndian(last));
        v2 ^= 0xee;
        for (var i = 0; i < 4; i++)
            Round(ref v0, ref v1, ref v2, ref v3);
        var low = v0 ^ v1 ^ v2 ^ v3;
        v1 ^= 0xdd;
        for (var i = 0; i < 4; i++)
            Round(ref v0, ref v1, ref v2, ref v3);
        return (low, v0 ^ v1 ^ v2 ^ v3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Absorb(ref ulong v0, ref ulong v1, ref ulong v2, ref ulong v3, ulong word)
    {
        v3 ^= word;
        Round(ref v0, ref v1, ref v2, ref v3);
        Round(ref v0, ref v1, ref v2, ref v3);
        v0 ^= word;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Round(ref ulong v0, ref ulong v1, ref ulong v2, ref ulong v3)
    {
        v0 += v1;
        v1 = BitOperations.RotateLeft(v1, 13) ^ v0;
        v0 = BitOperations.RotateLeft(v0, 32);
        v2 += v3;
        v3 = BitOperations.RotateLeft(v3, 16) ^ v2;
        v0 += v3;
        v3 = BitOperations.RotateLeft(v3, 21) ^ v0;
        v2 += v1;
        v1 = BitOperations.RotateLeft(v1, 17) ^ v2;
        v2 = BitOperations.RotateLeft(v2, 32);
    }
}
