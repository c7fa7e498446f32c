using KBroker.Protocol.Records;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Server.Net;

/// <summary>Where in which file the bytes of a region are, for sendfile.</summary>
/// <param name="Handle">The file; the region keeps it open.</param>
/// <param name="Stream">A stream on it, for the runtime's own sendfile.</param>
/// <param name="Position">Where the region starts, in bytes.</param>
/// <param name="Length">Bytes of the region.</param>
internal readonly record struct FileRegion(SafeFileHandle Handle, FileStream Stream, long Position, int Length)
{
    /// <summary>Finds out where a region's bytes are.</summary>
    /// <returns>False for a region that can only be read.</returns>
    public static bool TryGet(IRecordsRegion region, out FileRegion file)
    {
        file = region is ISendableRegion sendable ? sendable.File : default;
        return file.Handle is not null;
    }
}

/// <summary>A region that tells where its bytes are.</summary>
internal interface ISendableRegion : IRecordsRegion
{
    FileRegion File { get; }
}
