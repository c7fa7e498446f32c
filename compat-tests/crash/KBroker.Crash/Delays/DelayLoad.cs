using System.Diagnostics;
using KBroker.Crash.History;
using KBroker.Crash.Load;
using KBroker.Crash.Transactions;
using KBroker.Protocol.Records;

namespace KBroker.Crash.Delays;

/// <summary>
/// Producers of one generation that delay and cancel, a consumer, and somebody who deletes records. After each death of
/// the broker the producers come to rest, what is due by then must come, and everything is compared.
/// </summary>
internal sealed class DelayLoad : ICrashLoad
{
    private const string TransactionState = "__transaction_state";
    private const long FarMs = 12_000;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(10);

    private readonly BrokerUnderTest _broker;
    private readonly Problems _problems;
    private readonly DelayHistory _history = new();
    private readonly List<DelayTopic> _topics;
    private readonly Dictionary<Place, DelayView> _views;
    private readonly List<TransactionClient> _producers = [];
    private readonly DelayTrimmer _trimmer;
    private readonly DelayReader _reader;
    private List<long> _ackedBefore = [];
    private long _readBefore;
    private long _checks;

    /// <summary>Creates the topics and starts the clients; the broker runs.</summary>
    /// <param name="broker">The broker.</param>
    /// <param name="generation">Number of this load.</param>
    /// <param name="problems">Receives what is found.</param>
    /// <param name="random">Chooses.</param>
    /// <param name="withPowerCuts">Whether the power fails: then nothing may be deleted that nobody has read.</param>
    public DelayLoad(BrokerUnderTest broker, int generation, Problems problems, Random random, bool withPowerCuts)
    {
        (_broker, _problems) = (broker, problems);
        var mixed = new DelayTopic($"mixed-{generation}", 2);
        var stamped = new DelayTopic($"stamped-{generation}", 1, IsStamped: true);
        var trimmed = new DelayTopic($"trimmed-{generation}", 2);
        var retained = new DelayTopic($"retained-{generation}", 1);
        _topics = [mixed, stamped, trimmed, retained];
        _views = _topics.SelectMany(t => Enumerable.Range(0, t.Partitions).Select(p => new Place(t.Name, p)))
            .ToDictionary(static p => p, static p => new DelayView(p));
        using (var wire = new Wire(broker.Port))
        {
            // With small segments, so that it is compacted all the time.
            if (!wire.Exists(TransactionState))
                wire.Create(
                    TransactionState,
                    3,
                    new() { ["cleanup.policy"] = "compact", ["internal.segment.bytes"] = "16384" });
            wire.Create(mixed.Name, mixed.Partitions, ConfigOf("16384", []));
            wire.Create(
                stamped.Name,
                stamped.Partitions,
                ConfigOf("16384", [("message.timestamp.type", "LogAppendTime")]));
            wire.Create(trimmed.Name, trimmed.Partitions, ConfigOf("4096", []));
            wire.Create(retained.Name, retained.Partitions,
                ConfigOf("4096", withPowerCuts ? [] : [("retention.bytes", "30000")]));
        }

        var first = generation * 100;
        var farMs = DelayWire.NowMs + FarMs;
        DelayTraits[] raw =
        [
            new(first, DelayProducerKind.Idempotent, CompressionType.None, [mixed, stamped]),
            new(first + 1, DelayProducerKind.Idempotent, CompressionType.Zstd, [trimmed]),
            new(first + 2, DelayProducerKind.Idempotent, CompressionType.Lz4, [retained, mixed]),
            new(first + 3, DelayProducerKind.AtMostOnce, CompressionType.Gzip, [mixed, trimmed, stamped]),
            new(first + 4, DelayProducerKind.Transactional, CompressionType.None, [mixed, trimmed]),
            new(first + 5, DelayProducerKind.ClassicTransactional, CompressionType.Snappy, [mixed, retained, trimmed]),
        ];
        foreach (var traits in raw)
            _producers.Add(new DelayProducer(broker.Port, traits, _history, problems, farMs, random.Next()));
        _producers.Add(new DelayConfluentProducer(
            broker.Bootstrap, first + 10, Confluent.Kafka.CompressionType.Zstd, [mixed, trimmed, stamped], _history,
            problems, farMs, random.Next()));
        _trimmer = new DelayTrimmer(
            broker.Port, [.. _views.Values.Where(v => v.Place.Topic == trimmed.Name)], problems, random.Next());
        _reader = new DelayReader(broker.Port, _views, problems);
        Remember();
    }

    /// <inheritdoc/>
    public long Acked => _producers.Sum(static p => p.Committed);

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, long> Counts
    {
        get
        {
            var all = _history.All;
            return new Dictionary<string, long>
            {
                ["delayed"] = all.Count(static r => r.Kind == DelayKind.Delayed && r.IsAcked),
                ["cancels"] = all.Count(static r => r.Kind == DelayKind.Cancel && r.IsAcked),
                ["plain"] = all.Count(static r => r.Kind == DelayKind.Plain && r.IsAcked),
                ["without an answer"] = all.Count(static r => !r.IsAcked),
                ["delivered"] = _views.Values.Sum(static v => v.Records.LongCount(static r => r.IsCopy)),
                ["deletions"] = _trimmer.Committed,
                ["deletions refused"] = _trimmer.Refused,
                ["partitions with gaps"] = _views.Values.Count(static v => v.HasGap),
                ["checks"] = _checks,
            };
        }
    }

    /// <inheritdoc/>
    public string TornTopic => _topics[0].Name;

    private IEnumerable<TransactionClient> Clients => _producers.Append(_trimmer);

    private List<DelayPartition> Partitions =>
        [.. _views.Values.Select(static v => new DelayPartition(v.Place, v.Records, v.Markers, v.HasGap))];

    /// <inheritdoc/>
    public void BrokerDied(bool powerCut)
    {
        // It deletes what a reader has had, which may not be there any more.
        _trimmer.Hold();
        for (var started = Stopwatch.GetTimestamp(); !_trimmer.IsResting; Thread.Sleep(Poll))
        {
            if (Stopwatch.GetElapsedTime(started) > Patience)
                throw new TimeoutException("the client that deletes records does not come to rest");
        }

        if (powerCut)
        {
            _reader.Hold();
            foreach (var view in _views.Values)
                view.PowerCut();
            _reader.Resume();
        }

        Remember();
    }

    /// <inheritdoc/>
    public List<PartitionHistory> Check()
    {
        foreach (var client in Clients)
            client.Hold();
        if (!WaitFor(() => [.. Clients.Where(static p => !p.IsResting).Select(static p => $"{p.Name} ({p.Doing})")]))
            return [];
        var sent = _history.All;
        // Read before what is found, so that what is due by then has had all the time there was.
        var nowMs = DelayWire.NowMs;
        if (!WaitFor(() => new DelayCheck(sent, Partitions, nowMs).Missing()))
            return [];
        using var wire = new DelayWire(_broker.Port);
        foreach (var (place, view) in _views)
        {
            foreach (var problem in view.Take(wire.ReadAll(place)))
                _problems.Add(problem);
        }

        foreach (var problem in new DelayCheck(sent, Partitions, nowMs).Run())
            _problems.Add(problem);
        _checks++;
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
        for (var started = Stopwatch.GetTimestamp(); _broker.IsRunning; Thread.Sleep(Poll))
        {
            List<string> stuck = [.. _producers.Where((c, i) => c.Committed == _ackedBefore[i])
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
        foreach (var client in Clients)
            client.Hold();
        // All but those that are due in an hour.
        var last = _history.All.Where(static r => r.DueLeastMs < DelayWire.NowMs + (2 * FarMs))
            .Max(static r => (long?)r.DueLeastMs) ?? 0;
        while (DelayWire.NowMs <= last && _broker.IsRunning)
            Thread.Sleep(Poll);
        Check();
        _reader.Hold();
        using var wire = new Wire(_broker.Port);
        if (_problems.Count == 0)
            _topics.ForEach(t => wire.Delete(t.Name));
        return [];
    }

    /// <inheritdoc/>
    public string Describe()
    {
        var text = new StringWriter();
        text.WriteLine(string.Join(", ", Counts.Select(static c => $"{c.Value} {c.Key}")));
        text.WriteLine($"clients: {string.Join(", ", Clients.Select(static c => $"{c.Name} {c.Doing}"))}");
        // What is known around the records that the problems name.
        var named = _history.All.Where(r => _problems.All.Take(3)
            .Any(p => p.Contains($" {r.Id} ", StringComparison.Ordinal))).Take(6).ToList();
        foreach (var record in named)
        {
            text.WriteLine($"-- {record.Place}: {record}, sent {record.TimestampMs}, due {record.DueLeastMs}, answered "
                + $"{record.AckedMs}");
            foreach (var cancel in _history.All.Where(c => c.Target == record))
                text.WriteLine($"  {cancel}, answered {cancel.AckedMs}");
            foreach (var found in _views[record.Place].Records.Where(f => f.Id == record.Id))
                text.WriteLine($"  {found}");
            foreach (var marker in _views[record.Place].Markers.Where(m => m.ProducerId == record.ProducerId))
                text.WriteLine($"  {marker}");
        }

        return text.ToString();
    }

    public void Dispose()
    {
        // Together: each may wait for the broker for a while.
        Parallel.ForEach(Clients.ToList(), static c => c.Dispose());
        _reader.Dispose();
    }

    private static Dictionary<string, string> ConfigOf(string segmentBytes, List<(string Name, string Value)> more)
    {
        var config = new Dictionary<string, string>
        {
            ["kbroker.delay.enable"] = "true",
            ["kbroker.delay.levels"] = string.Join(' ', DelayTopic.LevelsMs.Select(static ms => $"{ms / 1000}s")),
            ["internal.segment.bytes"] = segmentBytes,
            ["index.interval.bytes"] = "512",
            ["file.delete.delay.ms"] = "60",
            ["retention.ms"] = "-1",
        };
        foreach (var (name, value) in more)
            config[name] = value;
        return config;
    }

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
                what.Take(10).ToList().ForEach(w => _problems.Add($"stuck after {Patience.TotalSeconds:0} s: {w}"));
                return false;
            }
        }

        return false;
    }

    private void Remember()
    {
        _ackedBefore = [.. _producers.Select(static c => c.Committed)];
        _readBefore = _reader.Count;
    }
}
