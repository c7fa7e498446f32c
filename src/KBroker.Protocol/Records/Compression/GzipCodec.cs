using System.Buffers;
using System.IO.Compression;

namespace KBroker.Protocol.Records;

/// <summary>gzip (RFC 1952) by the runtime's own zlib.</summary>
internal sealed class GzipCodec() : CompressionCodec(CompressionType.Gzip)
{
    private const int ReadBytes = 16 * 1024;

    // 0 (store) is no level in Kafka's configs, -1 is zlib's own default.
    public override int MinLevel => -1;

    public override int MaxLevel => 9;

    public override int DefaultLevel => -1;

    private protected override bool IsValidLevel(int level) => level is -1 or (>= 1 and <= 9);

    private protected override void CompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int level)
    {
        using var sink = new WriterStream(destination);
        var options = new ZLibCompressionOptions { CompressionLevel = level };
        using var gzip = new GZipStream(sink, options, leaveOpen: true);
        gzip.Write(source);
    }

    private protected override unsafe void DecompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        if (source.IsEmpty)
            throw Malformed("no bytes at all");
        fixed (byte* pointer = source)
        {
            using var stream = new UnmanagedMemoryStream(pointer, source.Length);
            using var gzip = new GZipStream(stream, CompressionMode.Decompress);
            try
            {
                Copy(gzip, destination, maxBytes);
            }
            catch (InvalidDataException error)
            {
                throw Malformed(error.Message.TrimEnd('.'), error);
            }
        }
    }

    private void Copy(GZipStream gzip, IBufferWriter<byte> destination, int maxBytes)
    {
        var total = 0;
        while (true)
        {
            var left = maxBytes - total;
            if (left == 0)
            {
                if (gzip.ReadByte() >= 0)
                    throw TooLarge(maxBytes);
                return;
            }

            var buffer = destination.GetSpan(Math.Min(left, ReadBytes));
            var count = gzip.Read(buffer[..Math.Min(left, buffer.Length)]);
            if (count == 0)
                return;
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
