namespace KBroker.Coordination.Groups;

/// <summary>Which partition of <c>__consumer_offsets</c> a group belongs to.</summary>
public static class GroupPartitions
{
    /// <summary>
    /// The hash that Kafka's clients and brokers share: Java's hash of a string (s[0]*31^(n-1) + ... + s[n-1] over
    /// UTF-16 units, wrapping at 32 bits), its absolute value (0 for the one that has none), modulo the number of
    /// partitions. Apache Kafka does not clear the sign bit here, as its producers do for keys.
    /// </summary>
    /// <param name="groupId">The group.</param>
    /// <param name="partitionCount">Partitions of the topic; at least 1.</param>
    /// <returns>From 0; 48 for <c>"test"</c> and 50 partitions.</returns>
    public static int Of(string groupId, int partitionCount)
    {
        ArgumentNullException.ThrowIfNull(groupId);
        ArgumentOutOfRangeException.ThrowIfLessThan(partitionCount, 1);
        var hash = 0;
        foreach (var unit in groupId)
            hash = unchecked((31 * hash) + unit);
        return (hash == int.MinValue ? 0 : Math.Abs(hash)) % partitionCount;
    }
}
