namespace KBroker.Protocol.Records;

/// <summary>What one walk over the records of a batch found.</summary>
/// <remarks>
/// Where a count or a bound here breaks a topic's rule, the offending records are found by a second, slower reading;
/// almost no batch needs that.
/// </remarks>
public readonly struct RecordBatchSummary
{
    /// <summary>Number of records, equal to the header's.</summary>
    public int RecordsCount { get; init; }

    /// <summary>Number of records without a key.</summary>
    public int KeylessCount { get; init; }

    /// <summary>Place (0 is the first record) of the first record without a key, or -1.</summary>
    public int FirstKeylessIndex { get; init; }

    /// <summary>Number of headers of all records.</summary>
    public long HeadersCount { get; init; }

    /// <summary>
    /// Number of headers whose key begins with <c>kbroker-</c>, at most; 0 says surely that there is none.
    /// </summary>
    public long RequestHeadersCount { get; init; }

    /// <summary>ms; the smallest timestamp, -1 without records or when a producer set none.</summary>
    public long MinTimestamp { get; init; }

    /// <summary>ms; the largest timestamp the records have, whatever the header says; -1 without records.</summary>
    public long MaxTimestamp { get; init; }

    /// <summary>Offset delta of the first record that has the largest timestamp, -1 without records.</summary>
    public int OffsetDeltaOfMaxTimestamp { get; init; }

    /// <summary>
    /// Whether the offset deltas are 0, 1, 2 up to the header's last offset delta: what a producer sends.
    /// </summary>
    public bool OffsetsConsecutive { get; init; }

    /// <summary>
    /// Whether the offset deltas rise and stay within the header's last offset delta: what a log holds.
    /// </summary>
    public bool OffsetsAscending { get; init; }

    /// <summary>Bytes of the records when not compressed.</summary>
    public int UncompressedBytes { get; init; }
}
