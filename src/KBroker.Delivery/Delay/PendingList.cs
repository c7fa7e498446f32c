namespace KBroker.Delivery.Delay;

/// <summary>Which pending records of a partition are asked for.</summary>
public sealed record PendingQuery
{
    /// <summary>Entries from this instant on, epoch ms.</summary>
    public long FromMs { get; init; } = long.MinValue;

    /// <summary>Of the entries of just that instant, those from this offset on.</summary>
    public long FromOffset { get; init; } = long.MinValue;

    /// <summary>Only the entries with these offsets; empty for all.</summary>
    public IReadOnlyCollection<long> Offsets { get; init; } = [];

    /// <summary>Entries of the answer, at most; 0 for the numbers alone.</summary>
    public int Limit { get; init; }
}

/// <summary>A record that waits for its instant.</summary>
/// <param name="Offset">The offset that the producer was told.</param>
/// <param name="DueMs">When it is due, epoch ms.</param>
/// <param name="StoredOffset">Where its bytes lie; another offset when it was carried forward.</param>
public readonly record struct PendingEntry(long Offset, long DueMs, long StoredOffset);

/// <summary>What is pending in a partition, at one moment of its log.</summary>
public sealed record PendingList
{
    /// <summary>How many records are pending, whichever were asked for.</summary>
    public required long Count { get; init; }

    /// <summary>When the next of them is due, epoch ms; null for none.</summary>
    public required long? NextDueMs { get; init; }

    /// <summary>The log below this offset is taken into account; later deliveries stand there or behind.</summary>
    public required long UpToOffset { get; init; }

    /// <summary>Those that were asked for, soonest first, and by offset within an instant.</summary>
    public required IReadOnlyList<PendingEntry> Entries { get; init; }

    /// <summary>Instant (epoch ms) and offset at which the entries go on; null when none follow.</summary>
    public (long FromMs, long FromOffset)? Next { get; init; }
}
