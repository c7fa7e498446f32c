using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;

namespace KBroker.Protocol.Records;

/// <summary>gzip (RFC 1952) by the runtime's own zlib.</summary>
/// <remarks>
/// The runtime takes the end of its input for the end of the content, and writes nothing at all for empty content. So
/// the size at the end of the last member is compared here, and the empty member is written by hand.
/// </remarks>
internal sealed class GzipCodec() : CompressionCodec(CompressionType.Gzip)
{
    private const int ReadBytes = 16 * 1024;
    private const int HeaderBytes = 10;

    private static ReadOnlySpan<byte> EmptyMember =>
        [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    private static ReadOnlySpan<byte> MemberStart => [0x1f, 0x8b, 8];

    // 0 (store) is no level in Kafka's configs, -1 is zlib's own default.
    public override int MinLevel => -1;

    public override int MaxLevel => 9;

    public override int DefaultLevel => -1;

    private protected override bool IsValidLevel(int level) => level is -1 or (>= 1 and <= 9);

    private protected override void CompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int level)
    {
        if (source.IsEmpty)
        {
            destination.Write(EmptyMember);
            return;
        }

        using var sink = new WriterStream(destination);
        var options = new ZLibCompressionOptions { CompressionLevel = level };
        using var gzip = new GZipStream(sink, options, leaveOpen: true);
        gzip.Write(source);
    }

    private protected override unsafe void DecompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        if (source.Length < EmptyMember.Length - 2)
            throw Malformed("too short for header and trailer");
        fixed (byte* pointer = source)
        {
            using var stream = new UnmanagedMemoryStream(pointer, source.Length);
            using var gzip = new GZipStream(stream, CompressionMode.Decompress);
            try
            {
                CheckEnd(source, Copy(gzip, destination, maxBytes));
            }
            catch (InvalidDataException error)
            {
                throw Malformed(error.Message.TrimEnd('.'), error);
            }
        }
    }

    private void CheckEnd(ReadOnlySpan<byte> source, int total)
    {
        var lastMember = BinaryPrimitives.ReadUInt32LittleEndian(source[^4..]);
        var severalMembers = lastMember < total && source[HeaderBytes..].IndexOf(MemberStart) >= 0;
        if (lastMember != total && !severalMembers)
            throw Malformed($"they hold {total} bytes where their end says {lastMember}");
    }

    private int Copy(GZipStream gzip, IBufferWriter<byte> destination, int maxBytes)
    {
        var total = 0;
        while (true)
        {
            var left = maxBytes - total;
            if (left == 0)
            {
                if (gzip.ReadByte() >= 0)
                    throw TooLarge(maxBytes);
                return total;
            }

            var buffer = destination.GetSpan(Math.Min(left, ReadBytes));
            var count = gzip.Read(buffer[..Math.Min(left, buffer.Length)]);
            if (count == 0)
                return total;
            destination.Advance(count);
            total += count;
        }
    }

    /// <summary>A write-only stream over a buffer writer.</summary>
    private sealed class WriterStream(IBufferWriter<byte> destination) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override void Write(ReadOnlySpan<byte> buffer) => destination.Write(buffer);

        public override void Write(byte[] buffer, int offset, int count) =>
            destination.Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
