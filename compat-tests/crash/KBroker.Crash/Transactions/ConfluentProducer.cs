using Confluent.Kafka;
using KBroker.Crash.Load;

namespace KBroker.Crash.Transactions;

/// <summary>How a transactional Confluent producer works.</summary>
/// <param name="Number">Its number, in the identity of its records.</param>
/// <param name="Codec">Of its batches.</param>
/// <param name="Topics">Where to.</param>
/// <param name="MostPlaces">Partitions of a transaction, at most.</param>
/// <param name="MostRecords">Records for each of them, at most.</param>
/// <param name="ReplacePercent">How often it goes away in a transaction, and another one takes its transactional
/// id.</param>
internal sealed record ProducerTraits(
    int Number,
    CompressionType Codec,
    IReadOnlyList<(string Name, int Partitions)> Topics,
    int MostPlaces,
    int MostRecords,
    int ReplacePercent);

/// <summary>A transactional producer of Confluent.Kafka (TV1).</summary>
internal sealed class ConfluentProducer : TransactionClient
{
    private const int AbortPercent = 25;
    private static readonly TimeSpan FlushSlice = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(4);

    private readonly string _bootstrap;
    private readonly ProducerTraits _traits;
    private readonly TransactionHistory _history;
    private readonly Problems _problems;
    private readonly Random _random;
    private readonly List<Place> _places;
    private IProducer<byte[], byte[]>? _producer;
    private SentTransaction? _transaction;
    private int _number;
    private int _sequence;
    private int _deathsBefore;
    private bool _isClean = true;

    public ConfluentProducer(
        string bootstrap, ProducerTraits traits, TransactionHistory history, Problems problems, int seed)
        : base($"c{traits.Number}")
    {
        (_bootstrap, _traits, _history, _problems) = (bootstrap, traits, history, problems);
        _random = new Random(seed);
        _places = [.. traits.Topics.SelectMany(t => Enumerable.Range(0, t.Partitions).Select(p => new Place(t.Name, p)))];
        Start();
    }

    /// <summary>The transactional id.</summary>
    public string TransactionalId => $"crash-{Name}";

    protected override bool IsDecided => _transaction is null && _producer is not null;

    protected override void Step()
    {
        // What a transaction left that did not end as it was meant to is with the client library for a while.
        if (_isClean)
            _deathsBefore = _history.Deaths;
        if (_producer is null)
        {
            _producer = Build();
            Doing = "InitTransactions";
            if (!TransactionCalls.Initialise(_producer, () => IsStopping, out var failure))
                Failed(failure);
            return;
        }

        Doing = "sending";
        Begin();
        if (_random.Next(100) < _traits.ReplacePercent)
            Replace();
        else
            End(_random.Next(100) >= AbortPercent);
        Thread.Sleep(Pause);
    }

    protected override void Close()
    {
        Abandon();
        Drop();
    }

    private IProducer<byte[], byte[]> Build() => new ProducerBuilder<byte[], byte[]>(new ProducerConfig
    {
        BootstrapServers = _bootstrap,
        TransactionalId = TransactionalId,
        TransactionTimeoutMs = 60_000,
        CompressionType = _traits.Codec,
        LingerMs = 2,
        BatchNumMessages = 50,
        ReconnectBackoffMs = 20,
        ReconnectBackoffMaxMs = 60,
        RetryBackoffMs = 20,
        SocketTimeoutMs = 20_000,
        Debug = "eos",
    }).SetLogHandler((_, line) => Note($"{line.Facility} {line.Message}")).SetErrorHandler(static (_, _) => { }).Build();

    private void Begin()
    {
        _producer!.BeginTransaction();
        _transaction = _history.Begin(_traits.Number, _number++);
        var places = _places.OrderBy(_ => _random.Next()).Take(_random.Next(1, _traits.MostPlaces + 1)).ToList();
        // In turn, as an application would: a partition has several batches.
        foreach (var place in places.SelectMany(p => Enumerable.Repeat(p, _random.Next(1, _traits.MostRecords + 1))))
        {
            var id = new History.RecordId(_traits.Number, _sequence++);
            _history.Sent(_transaction, place, id);
            _producer.Produce(
                new TopicPartition(place.Topic, new Partition(place.Partition)),
                new Message<byte[], byte[]> { Value = id.ToValue() });
        }
    }

    private void End(bool isCommit)
    {
        if (isCommit)
            _transaction!.Outcome = Outcome.CommitAsked;
        else
            Flush();
        Doing = isCommit ? "CommitTransaction" : "AbortTransaction";
        var end = TransactionCalls.End(_producer!, isCommit, () => IsStopping, out var failure);
        if (end is not { } isCommitted)
        {
            // The next incarnation decides it; what the broker did is to be found.
            Abandon();
            Failed(failure);
            return;
        }

        _isClean = isCommitted == isCommit;
        _history.Ended(_transaction!, isCommitted ? Outcome.Committed : Outcome.Aborted);
        _transaction = null;
        if (isCommitted)
            CountCommit();
    }

    /// <summary>
    /// librdkafka does not wait for its AddPartitionsToTxn before it aborts, nor for batches under way, whose sequence
    /// numbers it gives again: it has INVALID_TXN_STATE or OUT_OF_ORDER_SEQUENCE_NUMBER then, of Kafka, too, and is good
    /// for nothing from then on.
    /// </summary>
    private void Flush()
    {
        Doing = "Flush";
        while (!IsStopping && _producer!.Flush(FlushSlice) > 0)
        {
        }
    }

    /// <summary>
    /// Another producer takes the transactional id while this one has a transaction open; this one may try to commit.
    /// </summary>
    private void Replace()
    {
        var next = Build();
        Doing = "InitTransactions of the next";
        if (!TransactionCalls.Initialise(next, () => IsStopping, out var failure))
        {
            next.Dispose();
            Abandon();
            Failed(failure);
            return;
        }

        if (_random.Next(2) == 0)
        {
            Doing = "CommitTransaction of the fenced";
            if (TransactionCalls.End(_producer!, true, () => IsStopping, out _) == true)
                _problems.Add($"{Name}: {_transaction!.Name} was committed by a producer that another one had fenced");
        }

        // No commit was asked for while it could have had effect.
        Abandon();
        Drop();
        _producer = next;
    }

    private void Abandon()
    {
        if (_transaction is not null)
            _history.Ended(_transaction, _transaction.Outcome == Outcome.CommitAsked ? Outcome.CommitAsked : Outcome.Aborted);
        _transaction = null;
    }

    private void Failed(string? failure)
    {
        if (failure is not null && !IsStopping)
            _problems.AddIfAny(_history.Failed(Name, failure, _deathsBefore));
        Drop();
    }

    private void Drop()
    {
        _producer?.Dispose();
        _producer = null;
        _isClean = true;
    }
}
