using KBroker.Protocol.Records;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Storage;

/// <summary>
/// Records as a region of a segment's log file: nothing was read yet. The file stays open until the slice is disposed,
/// even if the segment is deleted meanwhile; dispose it once, when the bytes are sent or dropped.
/// </summary>
public sealed class FileSlice : IRecordsRegion
{
    private readonly Segments.SegmentFile _file;
    private int _disposed;

    internal FileSlice(Segments.SegmentFile file, int position, int length)
    {
        _file = file;
        Position = position;
        Length = length;
    }

    /// <summary>Where the region starts in the file, in bytes.</summary>
    public int Position { get; }

    /// <inheritdoc/>
    public int Length { get; }

    /// <summary>
    /// A stream on the file, shared with other slices, for <c>SendPacketsElement</c>: always give the offset, never use
    /// the stream's own position, and never dispose it.
    /// </summary>
    public FileStream Stream => _file.Stream;

    /// <summary>The handle of the file.</summary>
    public SafeFileHandle Handle => _file.File.Handle;

    /// <inheritdoc/>
    public void Read(int position, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(position);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(position + (long)destination.Length, Length);
        var from = Position + (long)position;
        if (_file.File.Read(destination, from) != destination.Length)
            throw new EndOfStreamException($"{_file.Path} ends before {from + destination.Length}.");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
            _file.Release();
    }
}
