using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace KBroker.Protocol.Records;

/// <summary>The LZ4 frame format by the system's liblz4.</summary>
/// <remarks>
/// Written as Kafka's clients write it: one frame of independent blocks of 64 KiB, no checksum but the header's,
/// content size unknown. Kafka's readers refuse linked blocks and stop at the first end mark, so bytes behind the
/// frame are refused here. The wrong header checksum of the old message formats is refused by the library.
/// </remarks>
internal sealed unsafe class Lz4Codec : CompressionCodec, IDisposable
{
    private const int BlockSize64KiB = 4;
    private const int MaxOutputBytes = 64 * 1024;
    private readonly Lazy<Lz4Library> _library;
    private readonly NativeContextPool _compressors;
    private readonly NativeContextPool _decompressors;

    public Lz4Codec(string[] fileNames)
        : base(CompressionType.Lz4)
    {
        _library = new Lazy<Lz4Library>(() => new Lz4Library(fileNames));
        _compressors = new NativeContextPool(CreateCompressor);
        _decompressors = new NativeContextPool(CreateDecompressor);
    }

    public override int MinLevel => 1;

    public override int MaxLevel => 17;

    // Kafka uses the fast compressor for its default level and the thorough one for every other.
    public override int DefaultLevel => 9;

    public override bool IsAvailable([NotNullWhen(false)] out string? reason) => _library.Value.IsUsable(out reason);

    public void Dispose()
    {
        _compressors.Dispose();
        _decompressors.Dispose();
    }

    /// <summary>The library knows 3 to 12 for its thorough compressor, and takes 0 for the fast one.</summary>
    private static int LibraryLevel(int level) => level == 9 ? 0 : Math.Clamp(level, 3, 12);

    private protected override void CompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int level)
    {
        var library = _library.Value;
        var preferences = new Lz4Preferences
        {
            BlockSizeId = BlockSize64KiB,
            BlockMode = 1,
            CompressionLevel = LibraryLevel(level),
            AutoFlush = 1,
        };
        var bound = 32 + (int)library.CompressBound((nuint)source.Length, &preferences);
        var output = destination.GetSpan(bound);
        var context = _compressors.Take();
        var whole = false;
        try
        {
            fixed (byte* from = source)
            fixed (byte* to = output)
            {
                var size = Check(library.CompressBegin(context.Pointer, to, (nuint)output.Length, &preferences));
                size += Check(library.CompressUpdate(
                    context.Pointer, to + size, (nuint)output.Length - size, from, (nuint)source.Length, null));
                size += Check(library.CompressEnd(context.Pointer, to + size, (nuint)output.Length - size, null));
                destination.Advance((int)size);
            }

            whole = true;
        }
        finally
        {
            GiveBack(_compressors, context, whole);
        }
    }

    private protected override void DecompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        var context = _decompressors.Take();
        var whole = false;
        try
        {
            Decompress(context, source, destination, maxBytes);
            whole = true;
        }
        finally
        {
            GiveBack(_decompressors, context, whole);
        }
    }

    private static void GiveBack(NativeContextPool pool, NativeContext context, bool whole)
    {
        if (whole)
            pool.Return(context);
        else
            context.Dispose();
    }

    private void Decompress(
        NativeContext context, ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        var library = _library.Value;
        library.ResetDecompressionContext(context.Pointer);
        var total = 0;
        // One byte beyond the bound tells a frame that is exactly as large from one that is larger.
        byte beyond;
        while (true)
        {
            var left = maxBytes - total;
            var output = left == 0
                ? new Span<byte>(&beyond, 1)
                : destination.GetSpan(Math.Min(left, MaxOutputBytes));
            output = output[..Math.Min(Math.Max(left, 1), output.Length)];
            var consumed = (nuint)source.Length;
            var produced = (nuint)output.Length;
            nuint hint;
            fixed (byte* from = source)
            fixed (byte* to = output)
                hint = Check(library.Decompress(context.Pointer, to, &produced, from, &consumed, null));
            if (produced > 0 && left == 0)
                throw TooLarge(maxBytes);
            if (left > 0)
                destination.Advance((int)produced);
            total += (int)produced;
            source = source[(int)consumed..];
            if (hint == 0)
                break;
            if (produced == 0 && source.IsEmpty)
                throw Malformed("the frame is cut off");
        }

        if (!source.IsEmpty)
            throw Malformed($"{source.Length} bytes behind the frame");
    }

    private nuint Check(nuint result)
    {
        var library = _library.Value;
        if (library.IsError(result) != 0)
            throw Malformed(Marshal.PtrToStringUTF8((nint)library.GetErrorName(result)) ?? "unknown error");
        return result;
    }

    private NativeContext CreateCompressor()
    {
        var library = _library.Value;
        void* pointer;
        var failed = library.IsError(library.CreateCompressionContext(&pointer, Lz4Library.Version)) != 0;
        return new NativeContext(failed ? null : pointer, library.FreeCompressionContext);
    }

    private NativeContext CreateDecompressor()
    {
        var library = _library.Value;
        void* pointer;
        var failed = library.IsError(library.CreateDecompressionContext(&pointer, Lz4Library.Version)) != 0;
        return new NativeContext(failed ? null : pointer, library.FreeDecompressionContext);
    }
}
