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
public sealed class FetchPartitionState
{
    /// <summary>Creates the state from a partition of a request.</summary>
    /// <param name="key">How the request names the partition.</param>
    /// <param name="request">The position and limits asked for.</param>
    public FetchPartitionState(FetchPartitionKey key, FetchRequest.FetchPartition request)
    {
        Key = key;
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

    /// <summary>Neighbours in the session's order; the partition served last goes to the end.</summary>
    internal LinkedListNode<FetchPartitionState>? Node { get; set; }

    /// <summary>Takes over the position and limits of a new request for the same partition.</summary>
    /// <param name="request">The partition as the request has it.</param>
    public void Update(FetchRequest.FetchPartition request)
    {
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
            || answer.DivergingEpoch is { Epoch: >= 0 };
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
