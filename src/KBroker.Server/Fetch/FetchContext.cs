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

    private readonly FetchSession? _session;
    private readonly bool _incremental;
    private readonly int _expectedEpoch;

    private FetchContext(ErrorCode error, FetchPartitionState[] partitions, FetchSession? session, bool incremental)
    {
        Error = error;
        Partitions = partitions;
        _session = session;
        _incremental = incremental;
        _expectedEpoch = session?.NextEpoch ?? 0;
    }

    /// <summary>Why the request cannot be served at all, or <see cref="ErrorCode.None"/>.</summary>
    public ErrorCode Error { get; }

    /// <summary>The partitions to serve, in the order of service.</summary>
    public FetchPartitionState[] Partitions { get; }

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
            return new FetchContext(ErrorCode.None, session.ToArray(), session, incremental: true);
        }
    }

    /// <summary>Builds the response from the answers, which stand in the order of <see cref="Partitions"/>.</summary>
    /// <param name="answers">One answer for each of <see cref="Partitions"/>.</param>
    /// <returns>The response; an incremental one leaves out partitions without news.</returns>
    public FetchResponse Finish(FetchResponse.PartitionData[] answers)
    {
        var response = new FetchResponse { SessionId = _session?.Id ?? 0 };
        if (_session is null)
        {
            AddAll(response, answers);
            return response;
        }

        lock (_session)
        {
            if (_session.NextEpoch != _expectedEpoch)
            {
                Release(answers);
                return new FetchResponse { ErrorCode = ErrorCode.InvalidFetchSessionEpoch, SessionId = _session.Id };
            }

            for (var i = 0; i < answers.Length; i++)
            {
                var news = Partitions[i].MustAnswer(answers[i]);
                if (_incremental && !news)
                {
                    answers[i].Records?.Dispose();
                    continue;
                }

                Add(response, Partitions[i].Key, answers[i]);
                if (_incremental && answers[i].Records is { IsEmpty: false })
                {
                    _session.MoveToEnd(Partitions[i]);
                }
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
                    return new FetchContext(ErrorCode.None, session.ToArray(), session, incremental: false);
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

    private static void Release(FetchResponse.PartitionData[] answers)
    {
        foreach (var answer in answers)
        {
            answer.Records?.Dispose();
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

    private void AddAll(FetchResponse response, FetchResponse.PartitionData[] answers)
    {
        for (var i = 0; i < answers.Length; i++)
        {
            Add(response, Partitions[i].Key, answers[i]);
        }
    }
}
