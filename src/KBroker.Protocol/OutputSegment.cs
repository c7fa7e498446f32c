using KBroker.Protocol.Records;

namespace KBroker.Protocol;

/// <summary>One piece of what a <see cref="ProtocolWriter"/> has written: memory, or a region of a file.</summary>
public readonly struct OutputSegment
{
    /// <summary>A piece in memory.</summary>
    public OutputSegment(ReadOnlyMemory<byte> bytes) => Bytes = bytes;

    /// <summary>A piece in a file.</summary>
    public OutputSegment(IRecordsRegion region) => Region = region;

    /// <summary>The bytes; empty when <see cref="Region"/> is set.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <summary>The region of a file, or null.</summary>
    public IRecordsRegion? Region { get; }

    /// <summary>Bytes of this piece.</summary>
    public int Length => Region is null ? Bytes.Length : Region.Length;
}
