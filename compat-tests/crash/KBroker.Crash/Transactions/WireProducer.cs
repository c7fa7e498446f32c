using System.Diagnostics;
using KBroker.Crash.History;
using KBroker.Crash.Load;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

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
    private const int MostRecords = 6;
    private const int AbortPercent = 30;
    private const int OffsetsPercent = 50;
    private const int GiveUpPercent = 35;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan AbortLimit = TimeSpan.FromSeconds(30);

    private readonly WireTraits _traits;
    private readonly TransactionHistory _history;
    private readonly Problems _problems;
    private readonly Random _random;
    private readonly List<Place> _places;
    private readonly Dictionary<Place, int> _sequences = [];
    private readonly ProducerSession _session;
    private SentTransaction? _transaction;
    private bool _isInitialised;
    private int _number;
    private int _sequence;

    public WireProducer(int port, WireTraits traits, TransactionHistory history, Problems problems, int seed)
        : base($"w{traits.Number}")
    {
        (_traits, _history, _problems, _random) = (traits, history, problems, new Random(seed));
        _session = new ProducerSession(
            port, TransactionalId, traits.IsClassic, GiveUpPercent, _random, () => IsStopping);
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

    public override string Doing => _session.Doing;

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
        _session.Dispose();
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
        _session.FindCoordinator(0, Group);
        _session.Initialise(_traits.TimeoutMs);
        _sequences.Clear();
        _isInitialised = true;
    }

    private void RunTransaction()
    {
        _session.WasLost = false;
        _transaction = _history.Begin(_traits.Number, _number++);
        var places = _places.OrderBy(_ => _random.Next()).Take(_random.Next(1, _traits.MostPlaces + 1)).ToList();
        try
        {
            if (_traits.IsClassic)
                _session.AddPartitions(places);
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
            if (_transaction.Outcome == Outcome.CommitAsked && !_session.WasLost)
                _transaction.Outcome = Outcome.Aborted;
            Leave();
        }
    }

    private void Produce(Place place)
    {
        var first = _sequences.GetValueOrDefault(place);
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default with
        {
            IsTransactional = true,
            ProducerId = _session.ProducerId,
            ProducerEpoch = _session.Epoch,
            BaseSequence = first,
        });
        var count = _random.Next(1, MostRecords + 1);
        for (var i = 0; i < count; i++)
        {
            var id = new RecordId(_traits.Number, _sequence++);
            _history.Sent(_transaction!, place, id);
            builder.Append(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), null, id.ToValue());
        }

        _session.Produce(place, builder.Build().ToArray());
        _sequences[place] = first + count;
    }

    private void CommitOffset()
    {
        _session.Doing = "TxnOffsetCommit";
        _transaction!.Group = Group;
        if (_traits.IsClassic)
        {
            _session.Ask<AddOffsetsToTxnResponse>(
                new AddOffsetsToTxnRequest
                {
                    TransactionalId = TransactionalId,
                    ProducerId = _session.ProducerId,
                    ProducerEpoch = _session.Epoch,
                    GroupId = Group,
                },
                3,
                static r => r.ErrorCode);
        }

        _session.Ask<TxnOffsetCommitResponse>(
            new TxnOffsetCommitRequest
            {
                TransactionalId = TransactionalId,
                GroupId = Group,
                ProducerId = _session.ProducerId,
                ProducerEpoch = _session.Epoch,
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
        if (isCommit)
            _transaction!.Outcome = Outcome.CommitAsked;
        _session.End(isCommit);
        _history.Ended(_transaction!, isCommit ? Outcome.Committed : Outcome.Aborted);
        _transaction = null;
        if (isCommit)
            CountCommit();
        if (!_traits.IsClassic)
            _sequences.Clear();
    }

    /// <summary>Leaves its transaction to the broker, and waits until it is aborted there.</summary>
    private void WaitForAbort()
    {
        _session.Doing = "waiting for the timeout";
        for (var started = Stopwatch.GetTimestamp(); !IsStopping; Thread.Sleep(10))
        {
            var state = _session.Ask<DescribeTransactionsResponse>(
                new DescribeTransactionsRequest { TransactionalIds = [TransactionalId] }, 0,
                static r => r.TransactionStates[0].ErrorCode, mayGiveUp: false).TransactionStates[0];
            if (state.ProducerEpoch != _session.Epoch && state.TransactionState == "CompleteAbort")
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
}
