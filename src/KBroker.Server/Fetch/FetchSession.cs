using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Fetch;

/// <summary>
/// An incremental fetch session (KIP-227): the partitions one client reads, kept between requests so that a request
/// names only what changed. Used by one connection at a time; its users lock it.
/// </summary>
public sealed class FetchSession
{
    private readonly Dictionary<FetchPartitionKey, FetchPartitionState> _partitions = [];
    private readonly LinkedList<FetchPartitionState> _order = [];

    /// <summary>Creates an empty session whose next request must carry epoch 1.</summary>
    /// <param name="id">The session id, positive.</param>
    /// <param name="usesTopicIds">Whether its requests give topic ids.</param>
    /// <param name="isFollower">Whether a broker, not a consumer, fetches.</param>
    /// <param name="nowMs">The time now, in milliseconds.</param>
    public FetchSession(int id, bool usesTopicIds, bool isFollower, long nowMs)
    {
        Id = id;
        UsesTopicIds = usesTopicIds;
        IsFollower = isFollower;
        CreatedMs = nowMs;
        LastUsedMs = nowMs;
        NextEpoch = 1;
    }

    /// <summary>The session id that the client sends.</summary>
    public int Id { get; }

    /// <summary>Whether the session's requests give topic ids; a session never changes its mind.</summary>
    public bool UsesTopicIds { get; }

    /// <summary>Whether a follower fetches; its session is evicted last.</summary>
    public bool IsFollower { get; }

    /// <summary>When the session began, in milliseconds.</summary>
    public long CreatedMs { get; }

    /// <summary>When the session was last used, in milliseconds.</summary>
    public long LastUsedMs { get; internal set; }

    /// <summary>The epoch that the next request must carry; wraps from int.MaxValue to 1.</summary>
    public int NextEpoch { get; private set; }

    /// <summary>How many partitions the session holds.</summary>
    public int Count => _partitions.Count;

    /// <summary>The partitions now, in the order in which they are to be served.</summary>
    /// <returns>A copy.</returns>
    public FetchPartitionState[] ToArray() => [.. _order];

    /// <summary>Moves on to the next epoch.</summary>
    public void AdvanceEpoch() => NextEpoch = NextEpoch == int.MaxValue ? 1 : NextEpoch + 1;

    /// <summary>Adds or updates the partitions of a request, then removes the forgotten ones.</summary>
    /// <param name="request">The request.</param>
    public void Apply(FetchRequest request)
    {
        foreach (var topic in request.Topics)
        {
            foreach (var partition in topic.Partitions)
            {
                Set(FetchKeys.Of(topic, partition, UsesTopicIds), partition);
            }
        }

        foreach (var topic in request.ForgottenTopicsData)
        {
            foreach (var partition in topic.Partitions)
            {
                Remove(FetchKeys.Of(topic, partition, UsesTopicIds));
            }
        }
    }

    /// <summary>
    /// Puts a partition that was just given records behind the others, so that a busy partition at the front cannot
    /// take the whole byte budget of every answer.
    /// </summary>
    /// <param name="partition">The partition served.</param>
    public void MoveToEnd(FetchPartitionState partition)
    {
        if (partition.Node is { List: not null } node && !ReferenceEquals(node, _order.Last))
        {
            _order.Remove(node);
            _order.AddLast(node);
        }
    }

    private void Set(FetchPartitionKey key, FetchRequest.FetchPartition partition)
    {
        if (_partitions.TryGetValue(key, out var known))
        {
            known.Update(partition);
            return;
        }

        var state = new FetchPartitionState(key, partition);
        state.Node = _order.AddLast(state);
        _partitions.Add(key, state);
    }

    private void Remove(FetchPartitionKey key)
    {
        if (_partitions.Remove(key, out var known) && known.Node is { } node)
        {
            _order.Remove(node);
            known.Node = null;
        }
    }
}

/// <summary>Builds partition keys from the parts of a request.</summary>
internal static class FetchKeys
{
    public static FetchPartitionKey Of(
        FetchRequest.FetchTopic topic, FetchRequest.FetchPartition partition, bool ids) =>
        ids
            ? new FetchPartitionKey(topic.TopicId, null, partition.Partition)
            : new FetchPartitionKey(Uuid.Zero, topic.Topic, partition.Partition);

    public static FetchPartitionKey Of(FetchRequest.ForgottenTopic topic, int partition, bool ids) =>
        ids
            ? new FetchPartitionKey(topic.TopicId, null, partition)
            : new FetchPartitionKey(Uuid.Zero, topic.Topic, partition);
}
