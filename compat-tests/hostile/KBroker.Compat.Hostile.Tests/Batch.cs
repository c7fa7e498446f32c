using System.Buffers.Binary;
using System.IO.Compression;

namespace KBroker.Compat.Hostile.Tests;

/// <summary>Record batches (version 2) made by hand, so that any field can lie while the checksum is right.</summary>
internal static class Batch
{
    private const int LengthAt = 8;
    private const int MagicAt = 16;
    private const int CrcAt = 17;
    private const int AttributesAt = 21;
    private const int LastOffsetDeltaAt = 23;
    private const int CountAt = 57;
    private const int HeaderBytes = 61;

    /// <summary>One batch of plain records whose values have the given sizes.</summary>
    public static byte[] Of(params int[] valueSizes)
    {
        var records = new MemoryStream();
        for (var i = 0; i < valueSizes.Length; i++)
            WriteRecord(records, i, valueSizes[i], null);
        return Assemble(records.ToArray(), valueSizes.Length, 0);
    }

    /// <summary>A gzip batch of a few hundred kilobytes with one record of that many zero bytes.</summary>
    public static byte[] Bomb(int valueBytes)
    {
        var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.SmallestSize, leaveOpen: true))
            WriteRecord(gzip, 0, valueBytes, new byte[64 * 1024]);
        return Assemble(compressed.ToArray(), 1, 1);
    }

    public static byte[] WithCount(this byte[] batch, int count) => Seal(batch, CountAt, count);

    public static byte[] WithLastOffsetDelta(this byte[] batch, int delta) => Seal(batch, LastOffsetDeltaAt, delta);

    public static byte[] WithLength(this byte[] batch, int length)
    {
        BinaryPrimitives.WriteInt32BigEndian(batch.AsSpan(LengthAt), length);
        return batch;
    }

    public static byte[] WithMagic(this byte[] batch, byte magic)
    {
        batch[MagicAt] = magic;
        return batch;
    }

    public static byte[] WithCodec(this byte[] batch, int codec)
    {
        BinaryPrimitives.WriteInt16BigEndian(batch.AsSpan(AttributesAt), (short)codec);
        return Checksum(batch);
    }

    public static byte[] WithWrongChecksum(this byte[] batch)
    {
        batch[CrcAt] ^= 0x55;
        return batch;
    }

    private static byte[] Seal(byte[] batch, int at, int value)
    {
        BinaryPrimitives.WriteInt32BigEndian(batch.AsSpan(at), value);
        return Checksum(batch);
    }

    private static byte[] Assemble(byte[] records, int count, int codec)
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        var batch = new Body()
            .Int64(0).Int32(HeaderBytes - 12 + records.Length).Int32(-1).Int8(2).Int32(0)
            .Int16(codec).Int32(count - 1).Int64(now).Int64(now).Int64(-1).Int16(-1).Int32(-1).Int32(count)
            .Raw(records).ToArray();
        return Checksum(batch);
    }

    private static byte[] Checksum(byte[] batch)
    {
        BinaryPrimitives.WriteUInt32BigEndian(batch.AsSpan(CrcAt), Crc32C(batch.AsSpan(AttributesAt)));
        return batch;
    }

    private static void WriteRecord(Stream to, int offsetDelta, int valueBytes, byte[]? zeros)
    {
        var head = new MemoryStream();
        head.WriteByte(0);
        Varint(head, 0);
        Varint(head, offsetDelta);
        Varint(head, -1);
        Varint(head, valueBytes);
        Varint(to, (int)head.Length + valueBytes + 1);
        to.Write(head.ToArray());
        zeros ??= new byte[Math.Max(1, valueBytes)];
        for (var left = valueBytes; left > 0; left -= zeros.Length)
            to.Write(zeros, 0, Math.Min(left, zeros.Length));
        Varint(to, 0);
    }

    private static void Varint(Stream to, int value)
    {
        var zigzag = (uint)((value << 1) ^ (value >> 31));
        for (; zigzag >= 0x80; zigzag >>= 7)
            to.WriteByte((byte)(zigzag | 0x80));
        to.WriteByte((byte)zigzag);
    }

    private static uint Crc32C(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
            crc = System.Numerics.BitOperations.Crc32C(crc, b);
        return ~crc;
    }
}
