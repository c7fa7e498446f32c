using System.Diagnostics;
using System.Net.Sockets;
using KBroker.Crash.History;
using KBroker.Crash.Load;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Throughput;

namespace KBroker.Crash.Transactions;

/// <summary>How a transactional producer of raw requests works.</summary>
/// <param name="Number">Its number, in the identity of its records.</param>
/// <param name="IsClassic">TV1: it adds partitions itself, and its epoch stays; else TV2 (KIP-890).</param>
/// <param name="Topics">Where to.</param>
/// <param name="MostPlaces">Partitions of a transaction, at most.</param>
/// <param name="TimeoutMs">Its transaction timeout; when short, the broker ends its transactions, most of the
/// time.</param>
internal sealed record WireTraits(
    int Number, bool IsClassic, IReadOnlyList<(string Name, int Partitions)> Topics, int MostPlaces, int TimeoutMs)
{
    private const int LongMs = 60_000;

    /// <summary>Whether it lets its transactions time out.</summary>
    public bool IsLate => TimeoutMs < LongMs;
}

/// <summary>
/// A transactional producer of raw requests: each is sent again until it is answered, or the producer initialises anew
/// when it has lost its connection, and leaves the transaction to the broker.
/// </summary>
internal sealed class WireProducer : TransactionClient
{
    private const int TimeoutMs = 20_000;
    private const int MostRecords = 6;
    private const int AbortPercent = 30;
    private const int OffsetsPercent = 50;
    private const int GiveUpPercent = 35;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan AbortLimit = TimeSpan.FromSeconds(30);

    private readonly int _port;
    private readonly WireTraits _traits;
    private readonly TransactionHistory _history;
    private readonly Problems _problems;
    private readonly Random _random;
    private readonly List<Place> _places;
    private readonly Dictionary<Place, int> _sequences = [];
    private ProtocolConnection? _connection;
    private SentTransaction? _transaction;
    private bool _isInitialised;
    private bool _wasLost;
    private long _producerId = -1;
    private short _epoch = -1;
    private int _number;
    private int _sequence;

    public WireProducer(int port, WireTraits traits, TransactionHistory history, Problems problems, int seed)
        : base($"w{traits.Number}")
    {
        (_port, _traits, _history, _problems, _random) = (port, traits, history, problems, new Random(seed));
        _places = [.. traits.Topics.SelectMany(t => Enumerable.Range(0, t.Partitions).Select(p => new Place(t.Name, p)))];
        Start();
    }

    /// <summary>The transactional id.</summary>
    public string TransactionalId => $"crash-{Name}";

    /// <summary>The group in which it commits the numbers of its transactions.</summary>
    public string Group => $"crash-offsets-{Name}";

    /// <summary>The partition whose offsets it commits.</summary>
    public Place OffsetPlace => SentTransaction.OffsetPlace(_traits.Topics[0].Name);

    /// <summary>See <see cref="WireTraits.IsLate"/>.</summary>
    public bool IsLate => _traits.IsLate;

    protected override bool IsDecided => _transaction is null && _isInitialised;

    protected override void Step()
    {
        try
        {
            if (_isInitialised)
                RunTransaction();
            else
                Initialise();
        }
        catch (GivenUpException)
        {
            Leave();
        }
        catch (WireException e)
        {
            if (!IsStopping)
                _problems.Add($"{Name}: {_transaction?.Name} {e.Message}");
            Leave();
        }

        Thread.Sleep(Pause);
    }

    protected override void Close()
    {
        Leave();
        _connection?.Dispose();
    }

    /// <summary>The next incarnation ends what this one leaves.</summary>
    private void Leave()
    {
        if (_transaction is not null)
        {
            _history.Ended(
                _transaction, _transaction.Outcome == Outcome.CommitAsked ? Outcome.CommitAsked : Outcome.Aborted);
        }

        _transaction = null;
        _isInitialised = false;
    }

    private void Initialise()
    {
        Doing = "InitProducerId";
        // The coordinator's topic is created by whoever looks for its coordinator.
        Ask<FindCoordinatorResponse>(
            new FindCoordinatorRequest { KeyType = 1, CoordinatorKeys = [TransactionalId] }, 4,
            static r => r.Coordinators[0].ErrorCode);
        Ask<FindCoordinatorResponse>(
            new FindCoordinatorRequest { KeyType = 0, CoordinatorKeys = [Group] }, 4,
            static r => r.Coordinators[0].ErrorCode);
        var answer = Ask<InitProducerIdResponse>(
            new InitProducerIdRequest { TransactionalId = TransactionalId, TransactionTimeoutMs = _traits.TimeoutMs }, 4,
            static r => r.ErrorCode, mayGiveUp: false);
        (_producerId, _epoch) = (answer.ProducerId, answer.ProducerEpoch);
        _sequences.Clear();
        _isInitialised = true;
    }

    private void RunTransaction()
    {
        _wasLost = false;
        _transaction = _history.Begin(_traits.Number, _number++);
        var places = _places.OrderBy(_ => _random.Next()).Take(_random.Next(1, _traits.MostPlaces + 1)).ToList();
        try
        {
            if (_traits.IsClassic)
                AddPartitions(places);
            for (var round = _random.Next(1, 3); round > 0; round--)
                places.ForEach(Produce);
            if (!_traits.IsLate && _random.Next(100) < OffsetsPercent)
                CommitOffset();
            if (_traits.IsLate && _random.Next(3) > 0)
            {
                WaitForAbort();
                return;
            }

            End(_random.Next(100) >= AbortPercent);
        }
        catch (WireException e) when (_traits.IsLate && IsFenced(e.Error))
        {
            // The broker was quicker. A commit whose answer was lost may have come before.
            if (_transaction.Outcome == Outcome.CommitAsked && !_wasLost)
                _transaction.Outcome = Outcome.Aborted;
            Leave();
        }
    }

    private void AddPartitions(List<Place> places)
    {
        Doing = "AddPartitionsToTxn";
        Ask<AddPartitionsToTxnResponse>(
            new AddPartitionsToTxnRequest
            {
                V3AndBelowTransactionalId = TransactionalId,
                V3AndBelowProducerId = _producerId,
                V3AndBelowProducerEpoch = _epoch,
                V3AndBelowTopics =
                [
                    .. places.GroupBy(static p => p.Topic).Select(static t =>
                        new AddPartitionsToTxnRequest.AddPartitionsToTxnTopic
                        {
                            Name = t.Key,
                            Partitions = [.. t.Select(static p => p.Partition)],
                        }),
                ],
            },
            3,
            static r => r.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode);
    }

    private void Produce(Place place)
    {
        Doing = $"Produce {place}";
        var first = _sequences.GetValueOrDefault(place);
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default with
        {
            IsTransactional = true,
            ProducerId = _producerId,
            ProducerEpoch = _epoch,
            BaseSequence = first,
        });
        var count = _random.Next(1, MostRecords + 1);
        for (var i = 0; i < count; i++)
        {
            var id = new RecordId(_traits.Number, _sequence++);
            _history.Sent(_transaction!, place, id);
            builder.Append(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), null, id.ToValue());
        }

        // A retry is the same request, byte for byte.
        var batch = builder.Build().ToArray();
        Ask<ProduceResponse>(
            new ProduceRequest
            {
                TransactionalId = TransactionalId,
                Acks = -1,
                TimeoutMs = TimeoutMs,
                TopicData =
                [
                    new()
                    {
                        Name = place.Topic,
                        PartitionData = [new() { Index = place.Partition, Records = new Records(batch) }],
                    },
                ],
            },
            (short)(_traits.IsClassic ? 11 : 12),
            static r => r.Responses[0].PartitionResponses[0].ErrorCode);
        _sequences[place] = first + count;
    }

    private void CommitOffset()
    {
        Doing = "TxnOffsetCommit";
        _transaction!.Group = Group;
        if (_traits.IsClassic)
        {
            Ask<AddOffsetsToTxnResponse>(
                new AddOffsetsToTxnRequest
                {
                    TransactionalId = TransactionalId,
                    ProducerId = _producerId,
                    ProducerEpoch = _epoch,
                    GroupId = Group,
                },
                3,
                static r => r.ErrorCode);
        }

        Ask<TxnOffsetCommitResponse>(
            new TxnOffsetCommitRequest
            {
                TransactionalId = TransactionalId,
                GroupId = Group,
                ProducerId = _producerId,
                ProducerEpoch = _epoch,
                Topics =
                [
                    new()
                    {
                        Name = OffsetPlace.Topic,
                        Partitions =
                            [new() { PartitionIndex = OffsetPlace.Partition, CommittedOffset = _transaction.Number }],
                    },
                ],
            },
            (short)(_traits.IsClassic ? 3 : 5),
            static r => r.Topics[0].Partitions[0].ErrorCode);
    }

    private void End(bool isCommit)
    {
        Doing = $"EndTxn {(isCommit ? "commit" : "abort")}";
        if (isCommit)
            _transaction!.Outcome = Outcome.CommitAsked;
        var answer = Ask<EndTxnResponse>(
            new EndTxnRequest
            {
                TransactionalId = TransactionalId,
                ProducerId = _producerId,
                ProducerEpoch = _epoch,
                Committed = isCommit,
            },
            (short)(_traits.IsClassic ? 4 : 5),
            static r => r.ErrorCode);
        _history.Ended(_transaction!, isCommit ? Outcome.Committed : Outcome.Aborted);
        _transaction = null;
        if (isCommit)
            CountCommit();
        if (!_traits.IsClassic)
        {
            (_producerId, _epoch) = (answer.ProducerId, answer.ProducerEpoch);
            _sequences.Clear();
        }
    }

    /// <summary>Leaves its transaction to the broker, and waits until it is aborted there.</summary>
    private void WaitForAbort()
    {
        Doing = "waiting for the timeout";
        for (var started = Stopwatch.GetTimestamp(); !IsStopping; Thread.Sleep(10))
        {
            var state = Ask<DescribeTransactionsResponse>(
                new DescribeTransactionsRequest { TransactionalIds = [TransactionalId] }, 0,
                static r => r.TransactionStates[0].ErrorCode, mayGiveUp: false).TransactionStates[0];
            if (state.ProducerEpoch != _epoch && state.TransactionState == "CompleteAbort")
                break;
            if (Stopwatch.GetElapsedTime(started) > AbortLimit)
            {
                _problems.Add($"{Name}: {_transaction!.Name} has a timeout of {_traits.TimeoutMs} ms and is "
                    + $"{state.TransactionState} after {AbortLimit.TotalSeconds} s");
                break;
            }
        }

        Leave();
    }

    private static bool IsFenced(ErrorCode error) =>
        error is ErrorCode.ProducerFenced or ErrorCode.InvalidProducerEpoch or ErrorCode.InvalidTxnState;

    /// <summary>Sends a request until it is answered with something other than "later".</summary>
    /// <exception cref="WireException">An answer that no client should get.</exception>
    /// <exception cref="GivenUpException">The connection was lost, and this producer begins anew.</exception>
    private T Ask<T>(IRequestMessage request, short version, Func<T, ErrorCode> errorOf, bool mayGiveUp = true)
        where T : IMessage<T>
    {
        while (!IsStopping)
        {
            try
            {
                _connection ??= new ProtocolConnection(_port, receiveTimeoutMs: TimeoutMs);
                var answer = _connection.Call<T>(request, version);
                var error = errorOf(answer);
                if (error == ErrorCode.None)
                    return answer;
                if (!IsTransient(error))
                    throw new WireException(error, Doing);
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                var wasConnected = _connection is not null;
                _connection?.Dispose();
                _connection = null;
                _wasLost = true;
                if (mayGiveUp && wasConnected && _random.Next(100) < GiveUpPercent)
                    throw new GivenUpException();
            }

            Thread.Sleep(Pause);
        }

        throw new GivenUpException();
    }

    private static bool IsTransient(ErrorCode error) => error is ErrorCode.ConcurrentTransactions
        or ErrorCode.CoordinatorLoadInProgress or ErrorCode.NotCoordinator or ErrorCode.CoordinatorNotAvailable
        or ErrorCode.NotEnoughReplicas or ErrorCode.NotLeaderOrFollower or ErrorCode.LeaderNotAvailable
        or ErrorCode.UnknownTopicOrPartition;

    private sealed class GivenUpException : Exception;
}
