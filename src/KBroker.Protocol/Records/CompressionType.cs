namespace KBroker.Protocol.Records;

/// <summary>How the records of a batch are compressed: the low three bits of the batch attributes.</summary>
/// <remarks>The numbers are persisted and on the wire. 5 to 7 are unassigned.</remarks>
public enum CompressionType : sbyte
{
    /// <summary>Records follow the header as they are.</summary>
    None = 0,

    /// <summary>RFC 1952 gzip.</summary>
    Gzip = 1,

    /// <summary>Snappy blocks in the xerial framing (or one raw block, as some clients send).</summary>
    Snappy = 2,

    /// <summary>LZ4 frame format.</summary>
    Lz4 = 3,

    /// <summary>Zstandard frames.</summary>
    Zstd = 4,
}
