using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Fetch;

/// <summary>
/// How one fetch request stands to sessions (KIP-227): without one, opening one, or continuing one. It names the
/// partitions to serve, in order, and turns their answers into the response.
/// </summary>
/// <remarks>
/// <code>
/// session id | epoch      | meaning
/// 0          | -1         | no session, every partition in the request and in the answer
/// any        | 0          | end that session, open a new one, full answer
/// n          | -1         | end session n, no new one, full answer
/// n          | n's next   | go on: the request names changes, the answer only news
/// </code>
/// </remarks>
public sealed class FetchContext
{
    private const int InitialEpoch = 0;
    private const int FinalEpoch = -1;

    private readonly int _expectedEpoch;
    private FetchPartitionState[] _partitions;

    private FetchContext(ErrorCode error, FetchPartitionState[] partitions, FetchSession? session, bool incremental)
    {
        Error = error;
        _partitions = partitions;
        Count = partitions.Length;
        Session = session;
        IsIncremental = incremental;
        _expectedEpoch = session?.NextEpoch ?? 0;
    }

    /// <summary>Why the request cannot be served at all, or <see cref="ErrorCode.None"/>.</summary>
    public ErrorCode Error { get; }

    /// <summary>
    /// The partitions to serve, in the order of service. Those of an incremental fetch are taken from the session one
    /// by one: see <see cref="TryTakeNext"/>.
    /// </summary>
    public ReadOnlySpan<FetchPartitionState> Partitions => _partitions.AsSpan(0, Count);

    /// <summary>How many partitions there are to serve, so far.</summary>
    public int Count { get; private set; }

    /// <summary>Whether the answer leaves out partitions without news.</summary>
    public bool IsIncremental { get; }

    /// <summary>The session, or null.</summary>
    internal FetchSession? Session { get; }

    /// <summary>Adds the next partition of an incremental fetch that has something to tell.</summary>
    /// <returns>False when there is none now.</returns>
    public bool TryTakeNext()
    {
        if (!IsIncremental || !Session!.TryTake(_expectedEpoch, out var state))
            return false;
        if (Count == _partitions.Length)
            Array.Resize(ref _partitions, Math.Max(4, Count * 2));
        _partitions[Count++] = state;
        return true;
    }

    /// <summary>Finds or makes the session of a request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="version">Its version; below 7 there are no sessions, from 13 on topics go by id.</param>
    /// <param name="cache">The broker's sessions.</param>
    /// <returns>The context.</returns>
    public static FetchContext Open(FetchRequest request, short version, FetchSessionCache cache)
    {
        var ids = version >= 13;
        if (version < 7 || request.SessionEpoch is InitialEpoch or FinalEpoch)
        {
            return OpenFull(request, ids, cache);
        }

        if (!cache.TryGet(request.SessionId, out var session))
        {
            return Failed(ErrorCode.FetchSessionIdNotFound);
        }

        lock (session)
        {
            if (session.NextEpoch != request.SessionEpoch)
            {
                return Failed(ErrorCode.InvalidFetchSessionEpoch);
            }

            if (session.UsesTopicIds != ids)
            {
                return Failed(ErrorCode.FetchSessionTopicIdError);
            }

            session.Apply(request);
            if (session.Count == 0)
            {
                cache.Remove(session.Id);
                return new FetchContext(ErrorCode.None, [], null, incremental: false);
            }

            session.AdvanceEpoch();
            return new FetchContext(ErrorCode.None, [], session, incremental: true);
        }
    }

    /// <summary>Builds the response from the answers, which stand in the order of <see cref="Partitions"/>.</summary>
    /// <param name="answers">
    /// One answer for each of <see cref="Partitions"/>; null where an incremental fetch has nothing to tell.
    /// </param>
    /// <returns>The response; an incremental one leaves out partitions without news.</returns>
    public FetchResponse Finish(ReadOnlySpan<FetchResponse.PartitionData?> answers)
    {
        var response = new FetchResponse { SessionId = Session?.Id ?? 0 };
        if (Session is null)
        {
            AddAll(response, answers);
            return response;
        }

        lock (Session)
        {
            if (Session.NextEpoch != _expectedEpoch)
            {
                Release(answers);
                return new FetchResponse { ErrorCode = ErrorCode.InvalidFetchSessionEpoch, SessionId = Session.Id };
            }

            for (var i = 0; i < Count; i++)
            {
                var state = _partitions[i];
                var answer = answers[i];
                Session.Return(state, answer?.Records is { IsEmpty: false });
                if (answer is null)
                    continue;
                if (state.MustAnswer(answer) || !IsIncremental)
                    Add(response, state.Key, answer);
                else
                    answer.Records?.Dispose();
            }
        }

        return response;
    }

    private static FetchContext OpenFull(FetchRequest request, bool ids, FetchSessionCache cache)
    {
        if (request.SessionId != 0)
        {
            cache.Remove(request.SessionId);
        }

        var count = 0;
        foreach (var topic in request.Topics)
            count += topic.Partitions.Count;
        if (request.SessionEpoch == InitialEpoch && count > 0)
        {
            var isFollower = request.ReplicaId >= 0 || request.ReplicaState is { ReplicaId: >= 0 };
            if (cache.TryCreate(ids, isFollower, count) is { } session)
            {
                lock (session)
                {
                    session.Apply(request);
                    return new FetchContext(ErrorCode.None, session.TakeAll(), session, incremental: false);
                }
            }
        }

        var partitions = new FetchPartitionState[count];
        var next = 0;
        foreach (var topic in request.Topics)
        {
            foreach (var partition in topic.Partitions)
            {
                partitions[next++] = new FetchPartitionState(FetchKeys.Of(topic, partition, ids), partition);
            }
        }

        return new FetchContext(ErrorCode.None, partitions, null, incremental: false);
    }

    private static FetchContext Failed(ErrorCode error) => new(error, [], null, incremental: false);

    /// <summary>The session has gone on without this request: what it looked at is looked at again.</summary>
    private void Release(ReadOnlySpan<FetchResponse.PartitionData?> answers)
    {
        for (var i = 0; i < Count; i++)
        {
            answers[i]?.Records?.Dispose();
            _partitions[i].ChangedMeanwhile = true;
            Session!.Return(_partitions[i], wasServed: false);
        }
    }

    private static void Add(FetchResponse response, FetchPartitionKey key, FetchResponse.PartitionData answer)
    {
        var topics = response.Responses;
        var last = topics.Count > 0 ? topics[^1] : null;
        if (topics.Capacity == 0)
            topics.Capacity = 1;
        if (last is null || last.TopicId != key.TopicId || (key.TopicName is not null && last.Topic != key.TopicName))
        {
            last = new FetchResponse.FetchableTopicResponse
            {
                Topic = key.TopicName ?? string.Empty,
                TopicId = key.TopicId,
            };
            last.Partitions.Capacity = 1;
            topics.Add(last);
        }

        last.Partitions.Add(answer);
    }

    private void AddAll(FetchResponse response, ReadOnlySpan<FetchResponse.PartitionData?> answers)
    {
        for (var i = 0; i < Count; i++)
        {
            Add(response, _partitions[i].Key, answers[i]!);
        }
    }
}
