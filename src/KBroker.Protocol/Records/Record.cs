namespace KBroker.Protocol.Records;

/// <summary>
/// One record. Key, value and headers point into the batch (or into the buffer it was decompressed to).
/// </summary>
public readonly struct Record
{
    /// <summary>Absolute offset in the partition, as the batch header counts it.</summary>
    public long Offset { get; init; }

    /// <summary>ms since the epoch, or -1; the append time where the batch says so.</summary>
    public long Timestamp { get; init; }

    /// <summary>Sequence number of an idempotent producer, or -1.</summary>
    public int Sequence { get; init; }

    /// <summary>The key, or null.</summary>
    public ReadOnlyMemory<byte>? Key { get; init; }

    /// <summary>The value, or null (a tombstone where the topic is compacted).</summary>
    public ReadOnlyMemory<byte>? Value { get; init; }

    /// <summary>The headers, in order.</summary>
    public RecordHeaders Headers { get; init; }
}
