using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace KBroker.Protocol.Records;

/// <summary>A codec's system library: found by name, its functions looked up once. Never throws.</summary>
internal abstract class NativeLibraryTable
{
    private readonly nint _library;
    private readonly string[] _fileNames;
    private readonly string _package;

    protected NativeLibraryTable(string[] fileNames, string package)
    {
        _fileNames = fileNames;
        _package = package;
        foreach (var fileName in fileNames)
        {
            if (NativeLibrary.TryLoad(fileName, out _library))
                return;
        }

        Failure = $"none of {string.Join(", ", fileNames)} can be loaded: install the Debian package {package}";
    }

    /// <summary>Why the library cannot be used, or null.</summary>
    public string? Failure { get; private set; }

    public bool IsUsable([NotNullWhen(false)] out string? reason)
    {
        reason = Failure;
        return reason is null;
    }

    protected nint Find(string function)
    {
        if (Failure is not null)
            return 0;
        if (NativeLibrary.TryGetExport(_library, function, out var address))
            return address;
        Failure = $"{_fileNames[0]} has no function {function}: install a newer Debian package {_package}";
        return 0;
    }
}

/// <summary>The functions of the lz4 frame library (1.8 or newer).</summary>
internal sealed unsafe class Lz4Library : NativeLibraryTable
{
    public static readonly string[] FileNames =
        ["liblz4.so.1", "liblz4.so", "lz4.dll", "liblz4.dll", "liblz4.1.dylib", "liblz4.dylib"];

    /// <summary>LZ4F_VERSION, which the create functions want to hear.</summary>
    public const uint Version = 100;

    public readonly delegate* unmanaged[Cdecl]<nuint, uint> IsError;
    public readonly delegate* unmanaged[Cdecl]<nuint, byte*> GetErrorName;
    public readonly delegate* unmanaged[Cdecl]<void**, uint, nuint> CreateDecompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, nuint> FreeDecompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, void> ResetDecompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, nuint*, byte*, nuint*, void*, nuint> Decompress;
    public readonly delegate* unmanaged[Cdecl]<void**, uint, nuint> CreateCompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, nuint> FreeCompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, nuint, Lz4Preferences*, nuint> CompressBegin;
    public readonly delegate* unmanaged[Cdecl]<nuint, Lz4Preferences*, nuint> CompressBound;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, nuint, byte*, nuint, void*, nuint> CompressUpdate;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, nuint, void*, nuint> CompressEnd;

    public Lz4Library(string[] fileNames)
        : base(fileNames, "liblz4-1")
    {
        IsError = (delegate* unmanaged[Cdecl]<nuint, uint>)Find("LZ4F_isError");
        GetErrorName = (delegate* unmanaged[Cdecl]<nuint, byte*>)Find("LZ4F_getErrorName");
        CreateDecompressionContext =
            (delegate* unmanaged[Cdecl]<void**, uint, nuint>)Find("LZ4F_createDecompressionContext");
        FreeDecompressionContext = (delegate* unmanaged[Cdecl]<void*, nuint>)Find("LZ4F_freeDecompressionContext");
        ResetDecompressionContext = (delegate* unmanaged[Cdecl]<void*, void>)Find("LZ4F_resetDecompressionContext");
        Decompress = (delegate* unmanaged[Cdecl]<void*, byte*, nuint*, byte*, nuint*, void*, nuint>)Find(
            "LZ4F_decompress");
        CreateCompressionContext =
            (delegate* unmanaged[Cdecl]<void**, uint, nuint>)Find("LZ4F_createCompressionContext");
        FreeCompressionContext = (delegate* unmanaged[Cdecl]<void*, nuint>)Find("LZ4F_freeCompressionContext");
        CompressBegin = (delegate* unmanaged[Cdecl]<void*, byte*, nuint, Lz4Preferences*, nuint>)Find(
            "LZ4F_compressBegin");
        CompressBound = (delegate* unmanaged[Cdecl]<nuint, Lz4Preferences*, nuint>)Find("LZ4F_compressBound");
        CompressUpdate = (delegate* unmanaged[Cdecl]<void*, byte*, nuint, byte*, nuint, void*, nuint>)Find(
            "LZ4F_compressUpdate");
        CompressEnd = (delegate* unmanaged[Cdecl]<void*, byte*, nuint, void*, nuint>)Find("LZ4F_compressEnd");
    }
}

/// <summary>The library's LZ4F_preferences_t.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Lz4Preferences
{
    /// <summary>4 to 7 for 64 KiB, 256 KiB, 1 MiB, 4 MiB.</summary>
    public int BlockSizeId;

    /// <summary>0 linked, 1 independent.</summary>
    public int BlockMode;

    public int ContentChecksum;
    public int FrameType;
    public ulong ContentSize;
    public uint DictionaryId;
    public int BlockChecksum;
    public int CompressionLevel;
    public uint AutoFlush;
    public uint FavorDecompressionSpeed;
    public uint Reserved0;
    public uint Reserved1;
    public uint Reserved2;
}

/// <summary>The functions of the zstd library (1.4 or newer).</summary>
internal sealed unsafe class ZstdLibrary : NativeLibraryTable
{
    public static readonly string[] FileNames =
        ["libzstd.so.1", "libzstd.so", "zstd.dll", "libzstd.dll", "libzstd.1.dylib", "libzstd.dylib"];

    public readonly delegate* unmanaged[Cdecl]<nuint, uint> IsError;
    public readonly delegate* unmanaged[Cdecl]<nuint, byte*> GetErrorName;
    public readonly delegate* unmanaged[Cdecl]<void*> CreateDecompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, nuint> FreeDecompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, nuint> SizeOfDecompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, int, nuint> ResetDecompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, ZstdBuffer*, ZstdBuffer*, nuint> DecompressStream;
    public readonly delegate* unmanaged[Cdecl]<byte*, nuint, ulong> GetFrameContentSize;
    public readonly delegate* unmanaged[Cdecl]<void*> CreateCompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, nuint> FreeCompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, nuint> SizeOfCompressionContext;
    public readonly delegate* unmanaged[Cdecl]<void*, byte*, nuint, byte*, nuint, int, nuint> Compress;
    public readonly delegate* unmanaged[Cdecl]<nuint, nuint> CompressBound;

    public ZstdLibrary(string[] fileNames)
        : base(fileNames, "libzstd1")
    {
        IsError = (delegate* unmanaged[Cdecl]<nuint, uint>)Find("ZSTD_isError");
        GetErrorName = (delegate* unmanaged[Cdecl]<nuint, byte*>)Find("ZSTD_getErrorName");
        CreateDecompressionContext = (delegate* unmanaged[Cdecl]<void*>)Find("ZSTD_createDCtx");
        FreeDecompressionContext = (delegate* unmanaged[Cdecl]<void*, nuint>)Find("ZSTD_freeDCtx");
        SizeOfDecompressionContext = (delegate* unmanaged[Cdecl]<void*, nuint>)Find("ZSTD_sizeof_DCtx");
        ResetDecompressionContext = (delegate* unmanaged[Cdecl]<void*, int, nuint>)Find("ZSTD_DCtx_reset");
        DecompressStream = (delegate* unmanaged[Cdecl]<void*, ZstdBuffer*, ZstdBuffer*, nuint>)Find(
            "ZSTD_decompressStream");
        GetFrameContentSize = (delegate* unmanaged[Cdecl]<byte*, nuint, ulong>)Find("ZSTD_getFrameContentSize");
        CreateCompressionContext = (delegate* unmanaged[Cdecl]<void*>)Find("ZSTD_createCCtx");
        FreeCompressionContext = (delegate* unmanaged[Cdecl]<void*, nuint>)Find("ZSTD_freeCCtx");
        SizeOfCompressionContext = (delegate* unmanaged[Cdecl]<void*, nuint>)Find("ZSTD_sizeof_CCtx");
        Compress = (delegate* unmanaged[Cdecl]<void*, byte*, nuint, byte*, nuint, int, nuint>)Find(
            "ZSTD_compressCCtx");
        CompressBound = (delegate* unmanaged[Cdecl]<nuint, nuint>)Find("ZSTD_compressBound");
    }
}

/// <summary>The library's ZSTD_inBuffer and ZSTD_outBuffer.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ZstdBuffer
{
    public byte* Pointer;
    public nuint Size;
    public nuint Position;
}
