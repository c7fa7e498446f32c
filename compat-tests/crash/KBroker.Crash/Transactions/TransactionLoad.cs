using System.Diagnostics;
using Confluent.Kafka;
using KBroker.Crash.History;
using KBroker.Crash.Load;

namespace KBroker.Crash.Transactions;

/// <summary>
/// Transactional producers of both protocols and pipelines of one generation. After each death of the broker they come
/// to rest behind the end of a transaction, and everything is compared.
/// </summary>
internal sealed class TransactionLoad : ICrashLoad
{
    private const string TransactionState = "__transaction_state";
    private const string ConsumerOffsets = "__consumer_offsets";
    private const int LateMs = 400;
    private const int LongMs = 60_000;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(10);

    private readonly BrokerUnderTest _broker;
    private readonly Problems _problems;
    private readonly TransactionHistory _history = new();
    private readonly List<TransactionClient> _producers = [];
    private readonly List<PipelineWorker> _workers = [];
    private readonly PipelineTopics _pipeline;
    private readonly List<(string Name, int Partitions)> _topics;
    private CommittedReader _reader;
    private List<long> _committedBefore = [];
    private long _readBefore;
    private long _checks;
    private long _compared;

    /// <summary>Creates the topics and starts the clients; the broker runs.</summary>
    public TransactionLoad(
        BrokerUnderTest broker, int generation, Problems problems, Random random, bool classicGroups)
    {
        (_broker, _problems) = (broker, problems);
        (string Name, int Partitions) small = ($"small-{generation}", 3);
        (string Name, int Partitions) wide = ($"wide-{generation}", 12);
        (string Name, int Partitions) input = ($"input-{generation}", 3);
        (string Name, int Partitions) output = ($"output-{generation}", 3);
        _topics = [small, wide, input, output];
        _pipeline = new PipelineTopics($"crash-pipeline-{generation}", input.Name, output.Name, input.Partitions);
        using (var wire = new Wire(broker.Port))
        {
            // With small segments, so that they are compacted all the time.
            if (!wire.Exists(TransactionState))
                wire.Create(TransactionState, 3, new(Config) { ["cleanup.policy"] = "compact" });
            if (!wire.Exists(ConsumerOffsets))
                wire.Create(ConsumerOffsets, 1, new(Config) { ["cleanup.policy"] = "compact" });
            foreach (var topic in _topics)
                wire.Create(topic.Name, topic.Partitions, Config);
        }

        var first = generation * 100;
        ProducerTraits[] confluent =
        [
            new(first, CompressionType.None, [small, wide], 3, 8, 5),
            new(first + 1, CompressionType.Lz4, [wide, small], 15, 60, 5),
            new(first + 2, CompressionType.Zstd, [input, small], 4, 20, 10),
        ];
        WireTraits[] raw =
        [
            new(first + 10, false, [wide, small], 8, LongMs),
            new(first + 11, false, [input, small], 4, LongMs),
            new(first + 12, true, [small, wide], 6, LongMs),
            new(first + 13, false, [wide], 4, LateMs),
            new(first + 14, true, [input, small], 3, LateMs),
        ];
        foreach (var traits in confluent)
            _producers.Add(new ConfluentProducer(broker.Bootstrap, traits, _history, problems, random.Next()));
        foreach (var traits in raw)
            _producers.Add(new WireProducer(broker.Port, traits, _history, problems, random.Next()));
        // Groups of both protocols, in turn.
        var protocol = classicGroups || generation % 2 == 0 ? GroupProtocol.Classic : GroupProtocol.Consumer;
        for (var i = 0; i < 2; i++)
            _workers.Add(new PipelineWorker(broker.Bootstrap, _pipeline, i, protocol, _history, problems, random.Next()));
        _reader = NewReader();
        Remember();
    }

    /// <inheritdoc/>
    public long Acked => _producers.Sum(static p => p.Committed) + _workers.Sum(static w => w.Committed);

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, long> Counts => new Dictionary<string, long>
    {
        ["transactions committed"] = _history.Committed,
        ["aborted"] = _history.Aborted,
        ["of unknown end"] = _history.Unknown,
        ["in pipelines"] = _workers.Sum(static w => w.Committed),
        ["producers failed for good"] = _history.FailedProducers,
        ["checks"] = _checks,
        ["records compared"] = _compared,
    };

    /// <inheritdoc/>
    public string TornTopic => _topics[0].Name;

    private static Dictionary<string, string> Config => new()
    {
        ["internal.segment.bytes"] = "16384",
        ["index.interval.bytes"] = "512",
        ["retention.ms"] = "-1",
    };

    private IEnumerable<TransactionClient> Clients => _producers.Concat(_workers);

    private IEnumerable<Place> Places =>
        _topics.SelectMany(t => Enumerable.Range(0, t.Partitions).Select(p => new Place(t.Name, p)));

    /// <inheritdoc/>
    public void BrokerDied(bool powerCut)
    {
        _history.BrokerDied();
        if (powerCut)
        {
            _reader.Dispose();
            foreach (var client in Clients)
                client.PowerCut();
            _reader = NewReader();
        }

        Remember();
    }

    /// <inheritdoc/>
    public List<PartitionHistory> Check()
    {
        foreach (var producer in _producers)
            producer.Hold();
        if (!WaitFor(() => [.. _producers.Where(static p => !p.IsResting).Select(static p => $"{p.Name} ({p.Doing})")]))
            return [];
        using var wire = new TransactionWire(_broker.Port);
        if (!WaitFor(() => PipelineLag(wire)))
            return [];
        foreach (var worker in _workers)
            worker.Hold();
        if (!WaitFor(() => [.. _workers.Where(static p => !p.IsResting).Select(static p => $"{p.Name} ({p.Doing})")])
            || !WaitFor(() => StillOpen(wire)))
            return [];
        var views = Places.Select(wire.Read).ToList();
        var coordinator = new CoordinatorView(wire.States(), Offsets(wire));
        var problems = new TransactionCheck(_history, views, coordinator, [_pipeline]).Run();
        foreach (var problem in problems)
            _problems.Add(problem);
        _checks++;
        _compared += views.Sum(static v => v.All.Count);
        _history.Note($"checked {_history.All.Count} transactions, {views.Sum(static v => v.All.Count)} records, "
            + $"{problems.Count} problems");
        return [];
    }

    /// <inheritdoc/>
    public void Resume()
    {
        foreach (var client in Clients)
            client.Resume();
    }

    /// <inheritdoc/>
    public string? WaitForProgress()
    {
        var stuck = new List<string>();
        for (var started = Stopwatch.GetTimestamp(); _broker.IsRunning; Thread.Sleep(Poll))
        {
            stuck = [.. Clients.Where((c, i) => c.Committed == _committedBefore[i] && !IsLate(c))
                .Select(static c => $"{c.Name} ({c.Doing})")];
            if (_reader.Count == _readBefore)
                stuck.Add("the reader");
            if (stuck.Count == 0)
                return null;
            if (Stopwatch.GetElapsedTime(started) > Patience)
                return $"stuck: {string.Join(", ", stuck)} did not go on within {Patience.TotalSeconds:0} s";
        }

        return null;
    }

    /// <inheritdoc/>
    public List<PartitionHistory> Finish()
    {
        Check();
        using var wire = new Wire(_broker.Port);
        if (_problems.Count == 0)
            _topics.ForEach(t => wire.Delete(t.Name));
        return [];
    }

    /// <inheritdoc/>
    public string Describe() =>
        $"{string.Join(", ", Counts.Select(static c => $"{c.Value} {c.Key}"))}; clients: {string.Join(", ", Clients.Select(static c => $"{c.Name} {c.Doing}"))}\n"
        + string.Join('\n', _history.Events.TakeLast(10))
        + string.Concat(Clients.Where(c => _problems.All.Any(p => p.Contains(c.Name, StringComparison.Ordinal))).Take(3)
            .Select(static c => $"\n-- log of {c.Name}\n{string.Join('\n', c.Log)}"));

    public void Dispose()
    {
        // Together: each may wait for the broker for a while.
        Parallel.ForEach(Clients.ToList(), static c => c.Dispose());
        _reader.Dispose();
    }

    private static bool IsLate(TransactionClient client) => client is WireProducer { IsLate: true };

    private CommittedReader NewReader() => new(
        _broker.Bootstrap, Places.Where(p => p.Topic != _pipeline.Output), _history, _problems);

    /// <summary>Waits while something is left to wait for; too long is a problem.</summary>
    /// <returns>False when the broker died, or it took too long.</returns>
    private bool WaitFor(Func<List<string>> left)
    {
        for (var started = Stopwatch.GetTimestamp(); _broker.IsRunning; Thread.Sleep(Poll))
        {
            var what = left();
            if (what.Count == 0)
                return true;
            if (Stopwatch.GetElapsedTime(started) > Patience)
            {
                _problems.Add($"stuck: after {Patience.TotalSeconds:0} s: {string.Join(", ", what)}");
                return false;
            }
        }

        return false;
    }

    /// <summary>The partitions that the pipeline has not worked through.</summary>
    private List<string> PipelineLag(TransactionWire wire)
    {
        var lag = new List<string>();
        for (var i = 0; i < _pipeline.Partitions; i++)
        {
            var place = new Place(_pipeline.Input, i);
            var next = wire.Read(place).Committed is [.., var last] ? last.Offset + 1 : -1;
            if (wire.Offset(_pipeline.Group, place) is var offset && offset != next)
                lag.Add($"the pipeline is at {offset} of {next} in {place}");
        }

        return lag;
    }

    private List<string> StillOpen(TransactionWire wire)
    {
        var open = wire.States().Where(static s => s.Value is "Ongoing" or "PrepareCommit" or "PrepareAbort")
            .Select(static s => $"{s.Key} is {s.Value}")
            .ToList();
        if (open.Count > 0)
            return open;
        foreach (var place in Places.Append(new Place(ConsumerOffsets, 0)))
        {
            if (wire.Ends(place) is var (stable, end) && stable != end)
                open.Add($"the last stable offset of {place} is {stable}, its end {end}");
        }

        return open;
    }

    private Dictionary<(string Group, Place Place), long?> Offsets(TransactionWire wire)
    {
        var offsets = new Dictionary<(string Group, Place Place), long?>();
        for (var i = 0; i < _pipeline.Partitions; i++)
        {
            var place = new Place(_pipeline.Input, i);
            offsets[(_pipeline.Group, place)] = wire.Offset(_pipeline.Group, place);
        }

        foreach (var producer in _producers.OfType<WireProducer>())
            offsets[(producer.Group, producer.OffsetPlace)] = wire.Offset(producer.Group, producer.OffsetPlace);
        return offsets;
    }

    private void Remember()
    {
        _committedBefore = [.. Clients.Select(static c => c.Committed)];
        _readBefore = _reader.Count;
    }
}
