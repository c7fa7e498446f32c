using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace KBroker.Protocol.Records;

/// <summary>Zstandard frames by the system's libzstd. Frames may follow one another.</summary>
internal sealed unsafe class ZstdCodec : CompressionCodec, IDisposable
{
    private const int OutputBytes = 128 * 1024;
    private const int ResetSession = 1;

    // Above these a context's memory is given back to the system instead of being kept for the next operation.
    private const ulong MaxIdleBytes = 4 * 1024 * 1024;
    private const ulong MaxKnownContentBytes = 1024 * 1024;
    private readonly Lazy<ZstdLibrary> _library;
    private readonly NativeContextPool _compressors;
    private readonly NativeContextPool _decompressors;

    public ZstdCodec(string[] fileNames)
        : base(CompressionType.Zstd)
    {
        _library = new Lazy<ZstdLibrary>(() => new ZstdLibrary(fileNames));
        _compressors = new NativeContextPool(CreateCompressor);
        _decompressors = new NativeContextPool(CreateDecompressor);
    }

    public override int MinLevel => -131072;

    public override int MaxLevel => 22;

    public override int DefaultLevel => 3;

    public override bool IsAvailable([NotNullWhen(false)] out string? reason) => _library.Value.IsUsable(out reason);

    public void Dispose()
    {
        _compressors.Dispose();
        _decompressors.Dispose();
    }

    private protected override void CompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int level)
    {
        var library = _library.Value;
        var output = destination.GetSpan((int)library.CompressBound((nuint)source.Length));
        var context = _compressors.Take();
        var keep = false;
        try
        {
            fixed (byte* from = source)
            fixed (byte* to = output)
            {
                var size = Check(library.Compress(
                    context.Pointer, to, (nuint)output.Length, from, (nuint)source.Length, level));
                destination.Advance((int)size);
            }

            keep = library.SizeOfCompressionContext(context.Pointer) <= MaxIdleBytes;
        }
        finally
        {
            GiveBack(_compressors, context, keep);
        }
    }

    private protected override void DecompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        var library = _library.Value;
        var context = _decompressors.Take();
        var keep = false;
        try
        {
            Check(library.ResetDecompressionContext(context.Pointer, ResetSession));
            Decompress(context, source, destination, maxBytes);
            keep = library.SizeOfDecompressionContext(context.Pointer) <= MaxIdleBytes;
        }
        finally
        {
            GiveBack(_decompressors, context, keep);
        }
    }

    private static void GiveBack(NativeContextPool pool, NativeContext context, bool keep)
    {
        if (keep)
            pool.Return(context);
        else
            context.Dispose();
    }

    private void Decompress(
        NativeContext context, ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        var library = _library.Value;
        var total = 0;
        // One byte beyond the bound tells content that is exactly as large from content that is larger.
        byte beyond;
        fixed (byte* from = source)
        {
            var input = new ZstdBuffer { Pointer = from, Size = (nuint)source.Length };
            var hint = FirstOutputBytes(from, source.Length);
            while (true)
            {
                var left = maxBytes - total;
                var output = left == 0 ? new Span<byte>(&beyond, 1) : destination.GetSpan(Math.Min(left, hint));
                output = output[..Math.Min(Math.Max(left, 1), output.Length)];
                nuint result, produced;
                fixed (byte* to = output)
                {
                    var target = new ZstdBuffer { Pointer = to, Size = (nuint)output.Length };
                    result = Check(library.DecompressStream(context.Pointer, &target, &input));
                    produced = target.Position;
                }

                if (produced > 0 && left == 0)
                    throw TooLarge(maxBytes);
                if (left > 0)
                    destination.Advance((int)produced);
                total += (int)produced;
                hint = OutputBytes;
                if (result == 0 && input.Position == input.Size)
                    return;
                if (result != 0 && produced == 0 && input.Position == input.Size)
                    throw Malformed("the frame is cut off");
            }
        }
    }

    /// <summary>
    /// Room for all content where the frame tells its size plausibly: the library then needs no window.
    /// </summary>
    private int FirstOutputBytes(byte* from, int length)
    {
        var known = _library.Value.GetFrameContentSize(from, (nuint)length);
        return known is > 0 and <= MaxKnownContentBytes ? (int)known : OutputBytes;
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
        return new NativeContext(library.CreateCompressionContext(), library.FreeCompressionContext);
    }

    private NativeContext CreateDecompressor()
    {
        var library = _library.Value;
        return new NativeContext(library.CreateDecompressionContext(), library.FreeDecompressionContext);
    }
}
