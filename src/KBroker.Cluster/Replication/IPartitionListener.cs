namespace KBroker.Cluster.Replication;

/// <summary>
/// Hears of events for which delayed operations wait. Called on the appending thread; must not block.
/// </summary>
public interface IPartitionListener
{
    /// <summary>More records may be read, or an acknowledgement may be due.</summary>
    /// <param name="partition">The partition whose high watermark rose.</param>
    void OnHighWatermarkAdvanced(Partition partition);

    /// <summary>The partition is gone from this broker, or led by another: whatever waits for it must end.</summary>
    /// <param name="partition">The partition.</param>
    void OnLeadershipLost(Partition partition);

    /// <summary>The log start offset moved: deletion requests may be due.</summary>
    /// <param name="partition">The partition.</param>
    void OnLogStartOffsetAdvanced(Partition partition);
}
