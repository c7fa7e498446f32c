using System.Globalization;
using System.Net.Sockets;
using KBroker.Crash.History;
using KBroker.Protocol;

namespace KBroker.Crash.Load;

/// <summary>
/// Creates and deletes topics (the same few names again and again), changes configs, deletes records, moves replicas
/// between the log directories: one operation after the other, each acknowledged, refused, or of unknown end because the broker died.
/// </summary>
internal sealed class AdminLoad : IDisposable
{
    private const int Names = 4;
    private const int ProducerNumberBase = 1_000_000;
    private const string ChangedConfig = "max.message.bytes";
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(12);

    private readonly BrokerUnderTest _broker;
    private readonly LoadTopics _topics;
    private readonly Problems _problems;
    private readonly Random _random;
    private readonly ComingTopic[] _coming;
    private readonly Thread _thread;
    private readonly ManualResetEventSlim _running = new(true);
    private readonly ManualResetEventSlim _paused = new(false);
    private volatile bool _stopping;
    private string? _config;
    private string? _configAsked;
    private int _sequence;
    private int _configs;
    private long _done;

    public AdminLoad(BrokerUnderTest broker, LoadTopics topics, int generation, Problems problems, int seed)
    {
        (_broker, _topics, _problems, _random) = (broker, topics, problems, new Random(seed));
        _coming = [.. Enumerable.Range(0, Names).Select(i => new ComingTopic($"coming-{i}"))];
        Generation = generation;
        _thread = new Thread(Run) { IsBackground = true, Name = "admin" };
        _thread.Start();
    }

    private enum Presence
    {
        Absent,
        Present,
        Unknown,
    }

    /// <summary>Operations acknowledged.</summary>
    public long Done => Interlocked.Read(ref _done);

    private int Generation { get; }

    /// <summary>Begins nothing more; returns when what runs has ended, which it does when the broker is dead.</summary>
    public void Hold()
    {
        _running.Reset();
        _paused.Wait();
    }

    /// <summary>Goes on.</summary>
    public void Resume()
    {
        _paused.Reset();
        _running.Set();
    }

    /// <summary>
    /// Compares the broker with what was acknowledged, and learns what became of the rest. Nothing else runs.
    /// </summary>
    /// <returns>The topics that are there, to be looked at.</returns>
    public IReadOnlyList<LoadTopic> Check()
    {
        using var wire = new Wire(_broker.Port);
        foreach (var coming in _coming)
        {
            var exists = wire.Exists(coming.Name);
            if (exists && coming.Presence == Presence.Absent)
                _problems.Add($"{coming.Name}: deleted and acknowledged ({coming.Last}), and there again");
            if (!exists && coming.Presence == Presence.Present)
                _problems.Add($"{coming.Name}: created and acknowledged ({coming.Last}), and not there");
            coming.Presence = exists ? Presence.Present : Presence.Absent;
        }

        var config = wire.GetConfig(_topics.Safe.Name, ChangedConfig);
        if (_config is not null && config != _config && config != _configAsked)
            _problems.Add($"{_topics.Safe.Name}: {ChangedConfig}={_config} was acknowledged, now it is {config}");
        (_config, _configAsked) = (config, null);
        return [.. _coming.Where(c => c.Presence == Presence.Present).Select(c => c.Topic!)];
    }

    /// <summary>Deletes what is left; the broker runs and nothing else does.</summary>
    public void DeleteAll()
    {
        using var wire = new Wire(_broker.Port);
        foreach (var coming in _coming.Where(c => c.Presence == Presence.Present))
            wire.Delete(coming.Name);
    }

    /// <summary>What each name went through last.</summary>
    public string Describe() => string.Join("; ", _coming.Select(c => $"{c.Name} {c.Presence} ({c.Last})"));

    public void Dispose()
    {
        _stopping = true;
        _running.Set();
        _thread.Join();
    }

    private void Run()
    {
        Wire? wire = null;
        while (!_stopping)
        {
            if (!_running.IsSet)
            {
                _paused.Set();
                _running.Wait();
                continue;
            }

            try
            {
                wire ??= new Wire(_broker.Port);
                One(wire);
            }
            catch (Exception e) when (e is IOException or SocketException)
            {
                wire?.Dispose();
                wire = null;
            }
            catch (WireException e)
            {
                _problems.Add($"admin: {e.Message} (of {Describe()})");
            }

            Thread.Sleep(Pause);
        }

        wire?.Dispose();
    }

    private void One(Wire wire)
    {
        switch (_random.Next(9))
        {
            case < 4:
                CreateOrDelete(wire, _coming[_random.Next(Names)]);
                break;
            case < 6:
                ChangeConfig(wire);
                break;
            case 6:
                Move(wire);
                break;
            default:
                Trim(wire);
                break;
        }
    }

    private void CreateOrDelete(Wire wire, ComingTopic coming)
    {
        switch (coming.Presence)
        {
            case Presence.Absent:
                var topic = LoadTopic.Create(coming.Name, ++coming.Incarnation, 2, Losses.None);
                coming.Topic = topic;
                Begin(coming, $"create {coming.Incarnation}");
                wire.Create(coming.Name, 2, LoadTopics.ConfigOf(topic));
                End(coming, Presence.Present);
                Fill(wire, topic);
                break;
            case Presence.Present when _random.Next(2) == 0:
                Fill(wire, coming.Topic!);
                break;
            case Presence.Present:
                Begin(coming, $"delete {coming.Incarnation}");
                wire.Delete(coming.Name);
                End(coming, Presence.Absent);
                break;
        }
    }

    /// <summary>Some records for a topic that may not live long.</summary>
    private void Fill(Wire wire, LoadTopic topic)
    {
        for (var batches = _random.Next(1, 12); batches > 0; batches--)
        {
            var partition = _random.Next(topic.Partitions.Count);
            var history = topic.Partitions[partition];
            // One number a generation: two of them must not send the same record.
            var ids = Enumerable.Range(0, _random.Next(1, 40))
                .Select(_ => new RecordId(ProducerNumberBase + Generation, _sequence++)).ToList();
            var sent = ids.ConvertAll(id => history.Sent(id, acksAll: true));
            var offset = wire.Produce(topic.Name, partition, ids);
            foreach (var record in sent)
                _problems.AddIfAny(history.Acked(record, offset++));
        }

        Interlocked.Increment(ref _done);
    }

    private void ChangeConfig(Wire wire)
    {
        var value = (1_000_000 + ++_configs).ToString(CultureInfo.InvariantCulture);
        _configAsked = value;
        wire.SetConfig(_topics.Safe.Name, ChangedConfig, value);
        (_config, _configAsked) = (value, null);
        Interlocked.Increment(ref _done);
    }

    /// <summary>Where a replica is changes nothing of what clients see.</summary>
    private void Move(Wire wire)
    {
        LoadTopic[] topics = [_topics.Safe, _topics.Compacted, _topics.Retained];
        var topic = topics[_random.Next(topics.Length)];
        var directories = _broker.LogDirectories;
        wire.Move(
            topic.Name, _random.Next(topic.Partitions.Count), directories[_random.Next(directories.Length)]);
        Interlocked.Increment(ref _done);
    }

    private void Trim(Wire wire)
    {
        var history = _topics.Trimmed.Partitions[0];
        var offset = _random.NextInt64(history.SafeEnd + 1);
        history.TrimAsked(offset);
        try
        {
            history.StartSeen(wire.DeleteRecords(_topics.Trimmed.Name, 0, offset));
        }
        catch (WireException e) when (e.Error == ErrorCode.OffsetOutOfRange)
        {
            // Older than the start already.
        }

        Interlocked.Increment(ref _done);
    }

    private static void Begin(ComingTopic coming, string what) =>
        (coming.Presence, coming.Last) = (Presence.Unknown, what);

    private void End(ComingTopic coming, Presence presence)
    {
        coming.Presence = presence;
        Interlocked.Increment(ref _done);
    }

    private sealed class ComingTopic(string name)
    {
        public string Name => name;

        public Presence Presence { get; set; }

        public LoadTopic? Topic { get; set; }

        public int Incarnation { get; set; }

        public string Last { get; set; } = "never";
    }
}
