using System.Diagnostics.CodeAnalysis;

namespace KBroker.Server.Fetch;

/// <summary>
/// The broker's fetch sessions, at most <c>max.incremental.fetch.session.cache.slots</c>. When it is full a new
/// session takes the place of one that has been idle for two minutes, or of a smaller or less privileged one that is
/// as old (KIP-227); else the client gets session id 0 and goes on with full fetches.
/// </summary>
/// <param name="slots">The most sessions kept.</param>
/// <param name="time">The clock.</param>
/// <param name="random">Where session ids come from; used under the cache's lock.</param>
public sealed class FetchSessionCache(int slots, TimeProvider time, Random random)
{
    /// <summary>Idle time, and age, after which a session may be evicted, in milliseconds.</summary>
    public const long EvictionMs = 120_000;

    private readonly Dictionary<int, FetchSession> _sessions = [];
    private readonly Lock _lock = new();

    /// <summary>How many sessions there are.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _sessions.Count;
            }
        }
    }

    private long NowMs => (long)time.GetElapsedTime(0, time.GetTimestamp()).TotalMilliseconds;

    /// <summary>Finds a session and marks it used.</summary>
    /// <param name="id">The session id.</param>
    /// <param name="session">The session.</param>
    /// <returns>False when there is none: it was never here, was closed, or was evicted.</returns>
    public bool TryGet(int id, [NotNullWhen(true)] out FetchSession? session)
    {
        lock (_lock)
        {
            if (!_sessions.TryGetValue(id, out session))
            {
                return false;
            }

            session.LastUsedMs = NowMs;
            return true;
        }
    }

    /// <summary>Makes a new session if there is room for it.</summary>
    /// <param name="usesTopicIds">Whether the client gives topic ids.</param>
    /// <param name="isFollower">Whether a broker fetches.</param>
    /// <param name="size">How many partitions it will hold; a larger session may displace a smaller.</param>
    /// <returns>The session, or null when the cache is full of sessions that must stay.</returns>
    public FetchSession? TryCreate(bool usesTopicIds, bool isFollower, int size)
    {
        FetchSession? victim = null;
        try
        {
            return TryCreate(usesTopicIds, isFollower, size, out victim);
        }
        finally
        {
            // Not under the cache's lock: sessions are locked before it.
            victim?.Close();
        }
    }

    /// <summary>Ends a session.</summary>
    /// <param name="id">The session id; one that is not there is ignored.</param>
    public void Remove(int id)
    {
        FetchSession? session;
        lock (_lock)
        {
            _sessions.Remove(id, out session);
        }

        session?.Close();
    }

    private FetchSession? TryCreate(bool usesTopicIds, bool isFollower, int size, out FetchSession? victim)
    {
        victim = null;
        lock (_lock)
        {
            var nowMs = NowMs;
            if (_sessions.Count >= slots && (victim = TryEvict(isFollower, size, nowMs)) is null)
            {
                return null;
            }

            int id;
            do
            {
                id = random.Next(1, int.MaxValue);
            }
            while (_sessions.ContainsKey(id));

            var session = new FetchSession(id, usesTopicIds, isFollower, nowMs);
            _sessions.Add(id, session);
            return session;
        }
    }

    private FetchSession? TryEvict(bool isFollower, int size, long nowMs)
    {
        FetchSession? stale = null;
        FetchSession? lesser = null;
        foreach (var session in _sessions.Values)
        {
            if (nowMs - session.LastUsedMs > EvictionMs && (stale is null || session.LastUsedMs < stale.LastUsedMs))
            {
                stale = session;
            }

            var mayGo = nowMs - session.CreatedMs > EvictionMs
                && ((isFollower && !session.IsFollower) || (isFollower == session.IsFollower && session.Count < size));
            if (mayGo && (lesser is null || session.Count < lesser.Count))
            {
                lesser = session;
            }
        }

        var victim = stale ?? lesser;
        if (victim is not null)
        {
            _sessions.Remove(victim.Id);
        }

        return victim;
    }
}
