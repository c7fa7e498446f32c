using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// The state of one partition of a coordinator's topic. It is what its log says: replaying the same records gives the
/// same state, but for timers and for who waits. Called by one thread at a time; owns no I/O and no clock.
/// </summary>
public interface ICoordinatorState
{
    /// <summary>Applies one record: while loading, and at once for each that a step appends.</summary>
    /// <param name="context">Where the record stands.</param>
    /// <param name="key">Its key.</param>
    /// <param name="value">Its value, or null for a tombstone.</param>
    void Replay(in ReplayContext context, IRecordMessage key, IRecordMessage? value);

    /// <summary>Applies the end of a transaction whose records this partition has.</summary>
    /// <param name="producerId">The transaction's producer id.</param>
    /// <param name="producerEpoch">Its epoch.</param>
    /// <param name="isCommit">Whether it commits; false when it aborts.</param>
    void ReplayTransactionEnd(long producerId, short producerEpoch, bool isCommit);

    /// <summary>The whole log was replayed: sets timers, and repairs what a crash left half done.</summary>
    /// <param name="turn">The shard's first step.</param>
    void OnLoaded(ICoordinatorTurn turn);

    /// <summary>The shard ends here (the partition moved, or the broker stops): fails whoever still waits.</summary>
    /// <param name="error">What they are answered, such as NOT_COORDINATOR.</param>
    void OnUnloaded(ErrorCode error);

    /// <summary>The metadata changed: one call for each change, in order.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="update">What changed.</param>
    void OnMetadata(ICoordinatorTurn turn, MetadataUpdate update);
}

/// <summary>Where a replayed record stands, and who wrote it.</summary>
/// <param name="Offset">Its offset in the partition.</param>
/// <param name="ProducerId">The producer id of a transactional record; -1 of all others.</param>
/// <param name="ProducerEpoch">Its producer epoch, or -1.</param>
public readonly record struct ReplayContext(long Offset, long ProducerId = -1, short ProducerEpoch = -1)
{
    /// <summary>Whether the record holds only once its transaction has committed.</summary>
    public bool IsTransactional => ProducerId >= 0;
}
