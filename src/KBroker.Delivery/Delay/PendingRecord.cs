namespace KBroker.Delivery.Delay;

/// <summary>
/// A delayed record that waits, or the news that one does not wait any more. Ordered by due time, then by origin; what
/// is said of one origin stands together, and of that the largest location counts.
/// </summary>
/// <param name="DueMs">When it is to be delivered, epoch ms.</param>
/// <param name="Origin">The offset that the producer was told: its identity.</param>
/// <param name="Location">The offset where its bytes lie: the origin, or where it was carried to;
/// <see cref="Cancelled"/> when it is not to be delivered.</param>
internal readonly record struct PendingRecord(long DueMs, long Origin, long Location) : IComparable<PendingRecord>
{
    /// <summary>Bytes of an entry in a file: three int64, big-endian.</summary>
    public const int SizeInBytes = 24;

    /// <summary>The location that says: not to be delivered.</summary>
    public const long Cancelled = long.MaxValue;

    /// <summary>Below every record.</summary>
    public static PendingRecord Least => new(long.MinValue, long.MinValue, 0);

    /// <summary>Above every record.</summary>
    public static PendingRecord Greatest => new(long.MaxValue, long.MaxValue, 0);

    /// <summary>Whether both speak of the same record.</summary>
    public bool IsSame(in PendingRecord other) => DueMs == other.DueMs && Origin == other.Origin;

    /// <summary>Compares due time and origin alone.</summary>
    public int CompareKey(in PendingRecord other)
    {
        var byDue = DueMs.CompareTo(other.DueMs);
        return byDue != 0 ? byDue : Origin.CompareTo(other.Origin);
    }

    /// <inheritdoc/>
    public int CompareTo(PendingRecord other)
    {
        var byKey = CompareKey(other);
        return byKey != 0 ? byKey : Location.CompareTo(other.Location);
    }
}
