using Microsoft.Win32.SafeHandles;

namespace KBroker.Storage.Files;

/// <summary>
/// An open file. Positions are always given, so one file serves any number of readers beside one writer.
/// A call through this interface costs a few nanoseconds beside a system call of a microsecond.
/// </summary>
public interface IStorageFile : IDisposable
{
    /// <summary>Full path at the time of opening.</summary>
    string Path { get; }

    /// <summary>The real handle.</summary>
    SafeFileHandle Handle { get; }

    /// <summary>Bytes of the file as the file system says.</summary>
    long Length { get; }

    /// <summary>Writes all of a buffer.</summary>
    /// <param name="bytes">What.</param>
    /// <param name="position">Where, in bytes from the start.</param>
    void Write(ReadOnlySpan<byte> bytes, long position);

    /// <summary>Writes several buffers one behind the other, in as few system calls as possible.</summary>
    /// <param name="buffers">What, in order.</param>
    /// <param name="position">Where, in bytes from the start.</param>
    void Write(IReadOnlyList<ReadOnlyMemory<byte>> buffers, long position);

    /// <summary>Reads up to the size of a buffer; fewer bytes only at the end of the file.</summary>
    /// <param name="destination">Filled from its start.</param>
    /// <param name="position">Where, in bytes from the start.</param>
    /// <returns>Bytes read.</returns>
    int Read(Span<byte> destination, long position);

    /// <summary>Puts the content on stable storage (fdatasync).</summary>
    void Flush();

    /// <summary>Cuts the file, or makes it longer with zeros.</summary>
    /// <param name="length">Bytes.</param>
    void SetLength(long length);
}
