using System.Buffers;

namespace KBroker.Protocol.Records;

/// <summary>
/// The five codecs with their pools of native contexts. One instance serves a whole broker, from any thread; a
/// library that is missing on the machine only shows when its codec is used.
/// </summary>
public sealed class CompressionCodecs : IDisposable
{
    private readonly CompressionCodec[] _codecs;

    /// <summary>Looks for the system's lz4 and zstd libraries when they are first used.</summary>
    public CompressionCodecs()
        : this(Lz4Library.FileNames, ZstdLibrary.FileNames)
    {
    }

    internal CompressionCodecs(string[] lz4FileNames, string[] zstdFileNames) => _codecs =
    [
        new NoneCodec(), new GzipCodec(), new SnappyCodec(), new Lz4Codec(lz4FileNames), new ZstdCodec(zstdFileNames),
    ];

    /// <summary>The codec for the type in a batch's attributes.</summary>
    /// <param name="type">May come from hostile input.</param>
    /// <returns>The codec, available or not.</returns>
    /// <exception cref="InvalidRecordException">No such type (UNSUPPORTED_COMPRESSION_TYPE).</exception>
    public CompressionCodec Get(CompressionType type) => (uint)type < (uint)_codecs.Length
        ? _codecs[(int)type]
        : throw new InvalidRecordException(
            $"Unknown compression type {(int)type}.", RecordErrorKind.UnsupportedCompressionType);

    /// <summary>Frees the idle native contexts. Operations under way finish; a later one makes new contexts.</summary>
    public void Dispose()
    {
        foreach (var codec in _codecs)
            (codec as IDisposable)?.Dispose();
    }

    private sealed class NoneCodec() : CompressionCodec(CompressionType.None)
    {
        private protected override void CompressCore(
            ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int level) => destination.Write(source);

        private protected override void DecompressCore(
            ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
        {
            if (source.Length > maxBytes)
                throw TooLarge(maxBytes);
            destination.Write(source);
        }
    }
}
