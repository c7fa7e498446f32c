using System.Buffers;
using System.Buffers.Binary;

namespace KBroker.Protocol.Records;

/// <summary>Snappy in the xerial framing that the Java clients write; a raw block is read too.</summary>
/// <remarks>
/// The framing is the magic <c>82 'SNAPPY' 00</c>, int32 version 1, int32 oldest compatible version 1, then blocks of
/// int32 length and one raw snappy block each (content of 32 KiB, but the last). Where streams were put together the
/// 16 header bytes may come again between blocks. Without the magic the bytes are one raw block, as the Go clients
/// and librdkafka write.
/// </remarks>
internal sealed class SnappyCodec() : CompressionCodec(CompressionType.Snappy)
{
    private const int HeaderBytes = 16;
    private const int BlockBytes = 32 * 1024;

    private static ReadOnlySpan<byte> Magic =>
        [0x82, (byte)'S', (byte)'N', (byte)'A', (byte)'P', (byte)'P', (byte)'Y', 0];

    private protected override void CompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int level)
    {
        var header = destination.GetSpan(HeaderBytes);
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32BigEndian(header[8..], 1);
        BinaryPrimitives.WriteInt32BigEndian(header[12..], 1);
        destination.Advance(HeaderBytes);
        var table = ArrayPool<ushort>.Shared.Rent(SnappyBlock.HashTableEntries);
        try
        {
            while (!source.IsEmpty)
            {
                var block = source[..Math.Min(source.Length, BlockBytes)];
                var output = destination.GetSpan(4 + SnappyBlock.MaxCompressedLength(block.Length));
                var size = SnappyBlock.Compress(block, output[4..], table.AsSpan(0, SnappyBlock.HashTableEntries));
                BinaryPrimitives.WriteInt32BigEndian(output, size);
                destination.Advance(4 + size);
                source = source[block.Length..];
            }
        }
        finally
        {
            ArrayPool<ushort>.Shared.Return(table);
        }
    }

    private protected override void DecompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        if (!source.StartsWith(Magic))
        {
            DecompressBlock(source, destination, maxBytes, maxBytes);
            return;
        }

        var left = maxBytes;
        while (!source.IsEmpty)
        {
            if (source.StartsWith(Magic))
            {
                if (source.Length < HeaderBytes)
                    throw Malformed("its stream header is cut off");
                source = source[HeaderBytes..];
                continue;
            }

            if (!BinaryPrimitives.TryReadInt32BigEndian(source, out var size) || size < 0 || size > source.Length - 4)
                throw Malformed("a block is cut off");
            left -= DecompressBlock(source.Slice(4, size), destination, left, maxBytes);
            source = source[(4 + size)..];
        }
    }

    private int DecompressBlock(ReadOnlySpan<byte> block, IBufferWriter<byte> destination, int left, int maxBytes)
    {
        if (!SnappyBlock.TryReadLength(block, out var length, out var headerBytes))
            throw Malformed("the length of a block does not hold");
        if (length > left)
            throw TooLarge(maxBytes);
        if (length > 0)
        {
            var output = destination.GetSpan(length)[..length];
            if (!SnappyBlock.TryDecompress(block[headerBytes..], output))
                throw Malformed("an element of a block does not hold");
            destination.Advance(length);
        }
        else if (headerBytes != block.Length)
        {
            throw Malformed("bytes behind an empty block");
        }

        return length;
    }
}
