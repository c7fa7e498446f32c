using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;
using KBroker.Timing;

namespace KBroker.Server.Fetch;

/// <summary>
/// An incremental fetch session (KIP-227): the partitions one client reads, kept between requests so that a request
/// names only what changed. Used by one connection at a time; its users lock it.
/// </summary>
/// <remarks>
/// <para>
/// A fetch looks at those partitions alone that have something to tell, so that its cost does not grow with the number
/// of partitions: each observes its partition, and an append (or another event) puts it into the session's queue. So
/// do a request that names it, records that were left over, and an error, which is told until it is gone.
/// </para>
/// <para>
/// Example: of a, b, c with the client at their ends an append to b queues b; the fetch takes b from the queue, sends
/// its records, and puts it at the queue's end, where it stands behind whatever came meanwhile: a busy partition
/// cannot take the whole byte budget of every answer. The next fetch finds b without records, and drops it.
/// </para>
/// <para>
/// No event is lost: it marks the partition as queued after the change is visible, and a fetch clears the mark before
/// it looks at the partition. Still every <see cref="SweepMs"/> a request queues all partitions, because the log start
/// offset moves by retention without an event.
/// </para>
/// </remarks>
public sealed class FetchSession
{
    /// <summary>How often all partitions are looked at, at most, in milliseconds.</summary>
    public const long SweepMs = 1000;

    private readonly Dictionary<FetchPartitionKey, FetchPartitionState> _partitions = [];
    private readonly ConcurrentQueue<FetchPartitionState> _queue = new();
    private readonly Queue<FetchPartitionState> _leftOver = new();
    private Purgatory<TopicPartition>? _waitsIn;
    private long _sweptMs;
    private bool _isClosed;

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
        _sweptMs = nowMs;
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

    /// <summary>What a long poll of this session watches in the purgatory; no topic has an empty name.</summary>
    internal TopicPartition WakeKey => new(string.Empty, Id);

    /// <summary>Moves on to the next epoch.</summary>
    public void AdvanceEpoch() => NextEpoch = NextEpoch == int.MaxValue ? 1 : NextEpoch + 1;

    /// <summary>Adds or updates the partitions of a request, then removes the forgotten ones.</summary>
    /// <param name="request">The request; every partition that it names is queued.</param>
    public void Apply(FetchRequest request)
    {
        foreach (var topic in request.Topics)
        {
            foreach (var partition in topic.Partitions)
                Queue(Set(FetchKeys.Of(topic, partition, UsesTopicIds), partition));
        }

        foreach (var topic in request.ForgottenTopicsData)
        {
            foreach (var partition in topic.Partitions)
            {
                if (_partitions.Remove(FetchKeys.Of(topic, partition, UsesTopicIds), out var known))
                    known.Detach();
            }
        }

        if (LastUsedMs - _sweptMs < SweepMs)
            return;
        _sweptMs = LastUsedMs;
        foreach (var state in _partitions.Values)
            Queue(state);
    }

    /// <summary>Takes the partitions of the request that opens the session, in its order.</summary>
    /// <returns>All partitions; none is queued.</returns>
    internal FetchPartitionState[] TakeAll()
    {
        var all = new List<FetchPartitionState>(_partitions.Count);
        while (TryTake(NextEpoch, out var state))
            all.Add(state);
        return [.. all];
    }

    /// <summary>Takes the next partition that has something to tell.</summary>
    /// <param name="epoch">Who takes it: what <see cref="NextEpoch"/> is after his request.</param>
    /// <param name="state">The partition; given back by <see cref="Return"/>.</param>
    /// <returns>False when there is none.</returns>
    internal bool TryTake(int epoch, [NotNullWhen(true)] out FetchPartitionState? state)
    {
        lock (this)
        {
            while (_leftOver.TryDequeue(out state) || _queue.TryDequeue(out state))
            {
                state.Unqueue();
                if (state.IsDetached)
                    continue;
                if (state.TakenEpoch != epoch)
                {
                    state.TakenEpoch = epoch;
                    state.ChangedMeanwhile = false;
                    return true;
                }

                // He has it, and may have looked before this event.
                state.ChangedMeanwhile = true;
            }
        }

        return false;
    }

    /// <summary>Gives a partition back when its answer is settled.</summary>
    /// <param name="state">The partition.</param>
    /// <param name="wasServed">Whether records of it are sent.</param>
    internal void Return(FetchPartitionState state, bool wasServed)
    {
        state.TakenEpoch = 0;
        if (!wasServed && state.HasMore)
        {
            // Before all others; one that an event has queued meanwhile keeps the place it got then.
            if (state.TryQueue())
                _leftOver.Enqueue(state);
        }
        else if (wasServed || state.ChangedMeanwhile)
        {
            Queue(state);
        }
    }

    /// <summary>An event: queues a partition, and lets a long poll look.</summary>
    internal void Wake(FetchPartitionState state)
    {
        Queue(state);
        // Whoever waits says so before he looks at the queue for the last time; so one of the two sees the other.
        Interlocked.MemoryBarrier();
        Volatile.Read(ref _waitsIn)?.CheckAndComplete(WakeKey);
    }

    /// <summary>Says where a long poll waits, or, with null, that none does.</summary>
    internal void WaitIn(Purgatory<TopicPartition>? purgatory)
    {
        Volatile.Write(ref _waitsIn, purgatory);
        Interlocked.MemoryBarrier();
    }

    /// <summary>Ends the session: it observes nothing any more.</summary>
    internal void Close()
    {
        lock (this)
        {
            _isClosed = true;
            foreach (var state in _partitions.Values)
                state.Detach();
        }
    }

    private void Queue(FetchPartitionState state)
    {
        if (state.TryQueue())
            _queue.Enqueue(state);
    }

    private FetchPartitionState Set(FetchPartitionKey key, FetchRequest.FetchPartition partition)
    {
        if (_partitions.TryGetValue(key, out var known))
        {
            known.Update(partition);
            return known;
        }

        var state = new FetchPartitionState(key, partition, this);
        _partitions.Add(key, state);
        if (_isClosed)
            state.Detach();
        return state;
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
