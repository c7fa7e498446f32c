using KBroker.Crash.Load;
using KBroker.Crash.Transactions;
using KBroker.Protocol.Records;

namespace KBroker.Crash.Delays;

/// <summary>What a producer of raw requests promises its records.</summary>
internal enum DelayProducerKind
{
    /// <summary>Sends a batch once; without an answer it may be there or not.</summary>
    AtMostOnce,

    /// <summary>Sends it until it is answered.</summary>
    Idempotent,

    /// <summary>In transactions (TV2).</summary>
    Transactional,

    /// <summary>In transactions, with the older protocol (TV1).</summary>
    ClassicTransactional,
}

/// <summary>How a producer works.</summary>
/// <param name="Number">Its number, in the identity of its records.</param>
/// <param name="Kind">What it promises.</param>
/// <param name="Codec">Of its batches.</param>
/// <param name="Topics">Where to.</param>
internal sealed record DelayTraits(
    int Number, DelayProducerKind Kind, CompressionType Codec, IReadOnlyList<DelayTopic> Topics);

/// <summary>A producer of raw requests that delays, and cancels.</summary>
internal sealed class DelayProducer : TransactionClient
{
    private const int LongMs = 60_000;
    private const int GiveUpPercent = 35;
    private const int AbortPercent = 30;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(12);

    private readonly DelayTraits _traits;
    private readonly DelayHistory _history;
    private readonly DelayBatches _batches;
    private readonly Problems _problems;
    private readonly Random _random;
    private readonly List<(DelayTopic Topic, Place Place)> _places;
    private readonly Dictionary<Place, int> _sequences = [];
    private readonly CompressionCodecs _codecs = new();
    private readonly ProducerSession _session;
    private SentTransaction? _transaction;
    private bool _isInitialised;
    private int _number;

    public DelayProducer(
        int port, DelayTraits traits, DelayHistory history, Problems problems, long farMs, int seed)
        : base($"d{traits.Number}")
    {
        (_traits, _history, _problems, _random) = (traits, history, problems, new Random(seed));
        _batches = new DelayBatches(traits.Number, history, farMs, _random);
        _places = [.. traits.Topics.SelectMany(t =>
            Enumerable.Range(0, t.Partitions).Select(p => (t, new Place(t.Name, p))))];
        _session = new ProducerSession(
            port,
            IsTransactional ? $"crash-{Name}" : null,
            traits.Kind != DelayProducerKind.Transactional,
            traits.Kind switch
            {
                DelayProducerKind.AtMostOnce => 100,
                DelayProducerKind.Idempotent => 0,
                _ => GiveUpPercent,
            },
            _random,
            () => IsStopping);
        Start();
    }

    public override string Doing => _session.Doing;

    protected override bool IsDecided =>
        _transaction is null && (_isInitialised || _traits.Kind == DelayProducerKind.AtMostOnce);

    private bool IsTransactional =>
        _traits.Kind is DelayProducerKind.Transactional or DelayProducerKind.ClassicTransactional;

    protected override void Step()
    {
        try
        {
            if (_traits.Kind != DelayProducerKind.AtMostOnce && !_isInitialised)
            {
                _session.Initialise(LongMs);
                _sequences.Clear();
                _isInitialised = true;
            }
            else if (IsTransactional)
            {
                RunTransaction();
            }
            else
            {
                var (topic, place) = _places[_random.Next(_places.Count)];
                Produce(topic, place);
                CountCommit();
            }
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
        _codecs.Dispose();
    }

    /// <summary>The next incarnation ends what this one leaves.</summary>
    private void Leave()
    {
        if (_transaction is { Outcome: not Outcome.CommitAsked })
            _transaction.Outcome = Outcome.Aborted;
        _transaction = null;
        if (IsTransactional)
            _isInitialised = false;
    }

    private void RunTransaction()
    {
        _transaction = _history.Begin(_traits.Number, _number++);
        var places = _places.OrderBy(_ => _random.Next()).Take(_random.Next(1, 4)).ToList();
        if (_traits.Kind == DelayProducerKind.ClassicTransactional)
            _session.AddPartitions(places.Select(static p => p.Place));
        for (var round = _random.Next(1, 4); round > 0; round--)
        {
            foreach (var (topic, place) in places)
                Produce(topic, place);
        }

        var isCommit = _random.Next(100) >= AbortPercent;
        if (isCommit)
            _transaction.Outcome = Outcome.CommitAsked;
        _session.End(isCommit);
        _transaction.Outcome = isCommit ? Outcome.Committed : Outcome.Aborted;
        _transaction = null;
        if (_traits.Kind == DelayProducerKind.Transactional)
            _sequences.Clear();
        if (isCommit)
            CountCommit();
    }

    private void Produce(DelayTopic topic, Place place)
    {
        var records = _batches.Next(topic, place, _session.ProducerId, _transaction);
        var first = _sequences.GetValueOrDefault(place);
        var options = new RecordBatchOptions
        {
            Compression = _traits.Codec,
            IsTransactional = IsTransactional,
            ProducerId = _session.ProducerId,
            ProducerEpoch = _session.Epoch,
            BaseSequence = _session.ProducerId < 0 ? -1 : first,
        };
        var offset = _session.Produce(place, DelayBatches.Build(records, options, _codecs));
        var nowMs = DelayWire.NowMs;
        for (var i = 0; i < records.Count; i++)
            _history.Acked(records[i], offset + i, nowMs);
        _sequences[place] = first + records.Count;
    }
}
