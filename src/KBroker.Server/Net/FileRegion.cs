using KBroker.Protocol.Records;
using KBroker.Storage;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Server.Net;

/// <summary>Where in which file the bytes of a region are, for sendfile.</summary>
/// <param name="Region">The region, which keeps the file open.</param>
/// <param name="Handle">The file.</param>
/// <param name="Position">Where the region starts, in bytes.</param>
internal readonly record struct FileRegion(IRecordsRegion Region, SafeFileHandle Handle, long Position)
{
    /// <summary>
    /// A stream on the file, for the runtime's own sendfile. The handle must have been opened for asynchronous use.
    /// </summary>
    public FileStream Stream => Region is FileSlice slice ? slice.Stream : ((ISendableRegion)Region).Stream;

    /// <summary>Finds out where a region's bytes are.</summary>
    /// <returns>False for a region that can only be read.</returns>
    public static bool TryGet(IRecordsRegion region, out FileRegion file)
    {
        file = region switch
        {
            FileSlice slice => new FileRegion(slice, slice.Handle, slice.Position),
            ISendableRegion sendable => new FileRegion(sendable, sendable.Stream.SafeFileHandle, sendable.Position),
            _ => default,
        };
        return file.Region is not null;
    }
}

/// <summary>A region, other than storage's own, that tells where its bytes are.</summary>
internal interface ISendableRegion : IRecordsRegion
{
    FileStream Stream { get; }

    long Position { get; }
}
