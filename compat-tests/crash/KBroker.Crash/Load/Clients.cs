using System.Diagnostics;
using Confluent.Kafka;
using KBroker.Crash.History;

namespace KBroker.Crash.Load;

/// <summary>
/// The clients of one generation: they live through many deaths of the broker, then make place for new ones with new
/// topics, so that what must be compared does not grow for ever.
/// </summary>
internal sealed class Clients : ICrashLoad
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly BrokerUnderTest _broker;
    private readonly Problems _problems;
    private readonly List<ProducerLoad> _producers = [];
    private readonly AdminLoad _admin;
    private LiveReader _reader;
    private List<long> _ackedBefore = [];
    private long _readBefore;

    /// <summary>Creates the topics and starts the clients; the broker runs.</summary>
    public Clients(BrokerUnderTest broker, int generation, Problems problems, Random random)
    {
        (_broker, _problems) = (broker, problems);
        Topics = new LoadTopics(generation);
        using (var wire = new Wire(broker.Port))
        {
            foreach (var topic in Topics.All)
                wire.Create(topic.Name, topic.Partitions.Count, LoadTopics.ConfigOf(topic));
        }

        foreach (var kind in Kinds(generation * 100))
            _producers.Add(new ProducerLoad(broker.Bootstrap, kind, problems, random.Next()));
        _reader = new LiveReader(broker.Bootstrap, Topics.All, problems, fromStart: true);
        _admin = new AdminLoad(broker, Topics, generation, problems, random.Next());
        Remember();
    }

    public LoadTopics Topics { get; }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, long> Counts => new Dictionary<string, long> { ["records acknowledged"] = Acked };

    /// <inheritdoc/>
    public string TornTopic => Topics.Safe.Name;

    /// <summary>Records acknowledged so far.</summary>
    public long Acked => _producers.Sum(p => p.Acked);

    /// <summary>Every partition that is under load all the time.</summary>
    public IEnumerable<PartitionHistory> Partitions => Topics.All.SelectMany(t => t.Partitions);

    /// <summary>The broker has died.</summary>
    public void BrokerDied(bool powerCut)
    {
        _admin.Hold();
        HoldKeyed();
        if (powerCut)
            _reader.Dispose();
        foreach (var partition in Partitions)
        {
            if (powerCut)
                partition.PowerCut();
            partition.BrokerDied();
        }

        if (powerCut)
            _reader = new LiveReader(_broker.Bootstrap, Topics.All, _problems, fromStart: true);
        Remember();
    }

    /// <summary>Compares everything in the broker, which runs, with what is known.</summary>
    /// <returns>The partitions that have problems.</returns>
    public List<PartitionHistory> Check()
    {
        WaitForKeyed();
        var bad = new List<PartitionHistory>();
        using var wire = new Wire(_broker.Port);
        foreach (var topic in Topics.All.Concat(_admin.Check()))
        {
            for (var i = 0; i < topic.Partitions.Count; i++)
            {
                var history = topic.Partitions[i];
                var problems = history.Check(wire.ReadAll(topic.Name, i));
                foreach (var problem in problems)
                    _problems.Add($"{history.Name}: {problem}");
                if (problems.Count > 0)
                    bad.Add(history);
            }
        }

        return bad;
    }

    /// <summary>Lets topics come and go again, and keys get new records.</summary>
    public void Resume()
    {
        foreach (var producer in _producers)
            producer.Resume();
        _admin.Resume();
    }

    /// <summary>Waits until each producer has an acknowledgement of this life of the broker, and the reader a record.</summary>
    /// <returns>What does not go on, when the broker lives and it takes too long.</returns>
    public string? WaitForProgress()
    {
        for (var started = Stopwatch.GetTimestamp(); _broker.IsRunning;)
        {
            var stuck = _producers.Where((p, i) => p.Acked == _ackedBefore[i]).Select(static p => p.Name).ToList();
            if (_reader.Count == _readBefore)
                stuck.Add("the consumer");
            if (stuck.Count == 0)
                return null;
            if (Stopwatch.GetElapsedTime(started) > Patience)
                return $"stuck: {string.Join(", ", stuck)} did not go on within {Patience.TotalSeconds:0} s";
            Thread.Sleep(5);
        }

        return null;
    }

    /// <summary>Ends the clients: all that was sent is acknowledged, compared, and deleted. The broker runs.</summary>
    public List<PartitionHistory> Finish()
    {
        _admin.Hold();
        foreach (var producer in _producers)
            producer.Finish(Patience);
        foreach (var partition in Partitions)
            partition.BrokerDied();
        var bad = Check();
        _admin.DeleteAll();
        using var wire = new Wire(_broker.Port);
        foreach (var topic in Topics.All)
            wire.Delete(topic.Name);
        return bad;
    }

    /// <inheritdoc/>
    public string Describe() => $"topics that come and go: {_admin.Describe()}";

    public void Dispose()
    {
        _admin.Dispose();
        foreach (var producer in _producers)
            producer.Dispose();
        _reader.Dispose();
    }

    /// <summary>
    /// Nothing new comes to compacted topics while they are looked at: what takes the place of a record must be known
    /// before the record is missed.
    /// </summary>
    private void HoldKeyed()
    {
        foreach (var producer in _producers.Where(static p => p.IsKeyed))
            producer.Hold();
    }

    private void WaitForKeyed()
    {
        for (var started = Stopwatch.GetTimestamp(); _broker.IsRunning; Thread.Sleep(5))
        {
            if (_producers.TrueForAll(static p => !p.IsKeyed || p.IsSettled))
                return;
            if (Stopwatch.GetElapsedTime(started) > Patience)
                throw new TimeoutException("producers have no answer to what they sent before the broker died");
        }
    }

    private void Remember()
    {
        _ackedBefore = [.. _producers.Select(static p => p.Acked)];
        _readBefore = _reader.Count;
    }

    private IEnumerable<ProducerKind> Kinds(int first) =>
    [
        new(first, Acks.All, true, CompressionType.None, [Topics.Safe]),
        new(first + 1, Acks.All, true, CompressionType.Zstd, [Topics.Retained, Topics.Safe]),
        new(first + 2, Acks.All, false, CompressionType.Lz4, [Topics.Safe, Topics.Retained]),
        new(first + 3, Acks.Leader, false, CompressionType.Gzip, [Topics.Loose, Topics.Safe]),
        new(first + 4, Acks.All, true, CompressionType.Snappy, [Topics.Trimmed]),
        new(first + 5, Acks.All, true, CompressionType.None, [Topics.Compacted]),
        new(first + 6, Acks.All, false, CompressionType.Zstd, [Topics.Compacted]),
    ];
}
