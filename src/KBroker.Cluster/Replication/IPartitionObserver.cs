namespace KBroker.Cluster.Replication;

/// <summary>
/// Watches one partition: see <see cref="Partition.Subscribe"/>. A fetch session watches its partitions so, and need
/// not look at those where nothing happened.
/// </summary>
public interface IPartitionObserver
{
    /// <summary>
    /// What a reader may be told has changed: the log end, the high watermark, the log start offset after a deletion,
    /// the leader or an epoch; or the partition is gone. Called on the thread that made the change, after it is
    /// visible; may come more often than anything changes. It must not block, and must not throw.
    /// </summary>
    void OnPartitionChanged();
}
