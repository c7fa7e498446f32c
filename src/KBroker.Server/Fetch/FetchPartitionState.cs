using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Fetch;

/// <summary>
/// Names a partition the way a fetch request does: by topic id (version 13 and later) or by name (before).
/// Exactly one of the two is set.
/// </summary>
/// <param name="TopicId">The topic id, or <see cref="Uuid.Zero"/> when the request names topics.</param>
/// <param name="TopicName">The topic name, or null when the request gives ids.</param>
/// <param name="Partition">The partition index.</param>
public readonly record struct FetchPartitionKey(Uuid TopicId, string? TopicName, int Partition);

/// <summary>
/// What one client wants of one partition, and, inside a session, what it was last told (KIP-227). The last two
/// answers decide whether an incremental response has to mention the partition again.
/// </summary>
public sealed class FetchPartitionState : IPartitionObserver
{
    private readonly FetchSession? _session;
    private Partition? _observed;
    private bool _isDetached;
    private int _isQueued;

    /// <summary>Creates the state from a partition of a request.</summary>
    /// <param name="key">How the request names the partition.</param>
    /// <param name="request">The position and limits asked for.</param>
    /// <param name="session">The session that keeps it, which hears of changes of the partition; null without.</param>
    public FetchPartitionState(
        FetchPartitionKey key, FetchRequest.FetchPartition request, FetchSession? session = null)
    {
        Key = key;
        _session = session;
        Update(request);
    }

    /// <summary>How the client names the partition.</summary>
    public FetchPartitionKey Key { get; }

    /// <summary>The next offset the client wants.</summary>
    public long FetchOffset { get; private set; }

    /// <summary>The most bytes of this partition that the client wants in one answer.</summary>
    public int MaxBytes { get; private set; }

    /// <summary>The leader epoch the client believes in, or -1.</summary>
    public int CurrentLeaderEpoch { get; private set; } = -1;

    /// <summary>The epoch of the last record the follower has, or -1 (KIP-595).</summary>
    public int LastFetchedEpoch { get; private set; } = -1;

    /// <summary>The follower's log start offset, or -1 for a consumer.</summary>
    public long FollowerLogStartOffset { get; private set; } = -1;

    /// <summary>The high watermark last sent, or -1 when the next answer must mention the partition.</summary>
    public long SentHighWatermark { get; private set; } = -1;

    /// <summary>The log start offset last sent, or -1.</summary>
    public long SentLogStartOffset { get; private set; } = -1;

    /// <summary>
    /// Whether the last look at the partition found more than it took, or an error: it is looked at again without an
    /// event.
    /// </summary>
    internal bool HasMore { get; set; }

    /// <summary>
    /// Where the hidden records that begin at <see cref="FetchOffset"/> end, as the last look found; -1 before one.
    /// </summary>
    internal long HiddenTo { get; set; } = -1;

    /// <summary>Where the next look begins: behind what is known to be hidden.</summary>
    internal long PlannedOffset => Math.Max(FetchOffset, HiddenTo);

    /// <summary>Whether the last look ended among hidden records: the client is to come again at once.</summary>
    internal bool IsCut { get; set; }

    /// <summary>Whether the last look found hidden records alone.</summary>
    internal bool HasFiller { get; set; }

    /// <summary>The request that looks at the partition now; 0 for none. Guarded by the session's lock.</summary>
    internal int TakenEpoch { get; set; }

    /// <summary>Whether an event came while it was taken. Guarded by the session's lock.</summary>
    internal bool ChangedMeanwhile { get; set; }

    /// <summary>Whether the client has forgotten the partition, or the session is over.</summary>
    internal bool IsDetached => Volatile.Read(ref _isDetached);

    /// <inheritdoc/>
    public void OnPartitionChanged() => _session?.Wake(this);

    /// <summary>Watches the partition from now on, where a session keeps the state.</summary>
    /// <param name="partition">What <see cref="Key"/> names now.</param>
    internal void Observe(Partition partition)
    {
        if (_session is null || ReferenceEquals(Volatile.Read(ref _observed), partition))
            return;
        lock (this)
        {
            if (_isDetached || ReferenceEquals(_observed, partition))
                return;
            _observed?.Unsubscribe(this);
            partition.Subscribe(this);
            Volatile.Write(ref _observed, partition);
        }
    }

    /// <summary>Watches nothing any more.</summary>
    internal void Detach()
    {
        lock (this)
        {
            Volatile.Write(ref _isDetached, true);
            _observed?.Unsubscribe(this);
            Volatile.Write(ref _observed, null);
        }
    }

    /// <summary>Notes that the state stands in the session's queue.</summary>
    /// <returns>False when it stood there.</returns>
    internal bool TryQueue() => Volatile.Read(ref _isQueued) == 0 && Interlocked.Exchange(ref _isQueued, 1) == 0;

    /// <summary>Notes that it was taken from the queue; what changes from now on queues it again.</summary>
    internal void Unqueue() => Interlocked.Exchange(ref _isQueued, 0);

    /// <summary>Whether an incremental answer without records has anything to say of these offsets.</summary>
    /// <param name="highWatermark">The high watermark now.</param>
    /// <param name="logStartOffset">The log start offset now.</param>
    internal bool IsNews(long highWatermark, long logStartOffset) =>
        highWatermark != SentHighWatermark || logStartOffset != SentLogStartOffset;

    /// <summary>Whether the last plan found that the follower's log parts from this one.</summary>
    internal bool HasDiverged { get; set; }

    /// <summary>Takes over the position and limits of a new request for the same partition.</summary>
    /// <param name="request">The partition as the request has it.</param>
    public void Update(FetchRequest.FetchPartition request)
    {
        if (FetchOffset != request.FetchOffset)
            HiddenTo = -1;
        FetchOffset = request.FetchOffset;
        MaxBytes = request.PartitionMaxBytes;
        CurrentLeaderEpoch = request.CurrentLeaderEpoch;
        LastFetchedEpoch = request.LastFetchedEpoch;
        FollowerLogStartOffset = request.LogStartOffset;
    }

    /// <summary>
    /// Records what an answer says, and tells whether an incremental answer has to contain it: when it has records,
    /// an error, a new high watermark, a new log start offset, a diverging epoch or a preferred replica.
    /// </summary>
    /// <param name="answer">The partition's answer.</param>
    /// <returns>True when the client must hear of it.</returns>
    public bool MustAnswer(FetchResponse.PartitionData answer)
    {
        var must = answer.Records is { IsEmpty: false }
            || answer.HighWatermark != SentHighWatermark
            || answer.LogStartOffset != SentLogStartOffset
            || answer.PreferredReadReplica >= 0
            || HasDiverged;
        SentHighWatermark = answer.HighWatermark;
        SentLogStartOffset = answer.LogStartOffset;
        if (answer.ErrorCode == ErrorCode.None)
        {
            return must;
        }

        // After an error the next good answer is news, whatever its watermark.
        SentHighWatermark = -1;
        return true;
    }
}
