using System.Text;
using Confluent.Kafka;
using KBroker.Crash.History;

namespace KBroker.Crash.Load;

/// <summary>How a producer works.</summary>
/// <param name="Number">Its number, in the identity of its records.</param>
/// <param name="Acks">All, or leader alone.</param>
/// <param name="IsIdempotent">It sends again until it has its acknowledgement; otherwise it never sends again.</param>
/// <param name="Codec">Of its batches.</param>
/// <param name="Topics">Where to.</param>
internal sealed record ProducerKind(
    int Number, Acks Acks, bool IsIdempotent, CompressionType Codec, IReadOnlyList<LoadTopic> Topics);

/// <summary>A real producer, which lives on while the broker dies and comes back.</summary>
internal sealed class ProducerLoad : IDisposable
{
    private const int MostOutstanding = 400;
    private const int MostPerBurst = 6;
    private const int Keys = 60;
    private const int TombstoneEvery = 8;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(8);

    private readonly ProducerKind _kind;
    private readonly Problems _problems;
    private readonly Random _random;
    private readonly IProducer<byte[], byte[]> _producer;
    private readonly Thread _thread;
    private readonly List<(string Topic, int Partition, PartitionHistory History)> _targets;
    private volatile bool _stopping;
    private volatile bool _held;
    private int _outstanding;
    private int _sequence;
    private long _acked;

    public ProducerLoad(string bootstrap, ProducerKind kind, Problems problems, int seed)
    {
        (_kind, _problems, _random) = (kind, problems, new Random(seed));
        _targets = [.. kind.Topics.SelectMany(t => t.Partitions.Select((h, i) => (t.Name, i, h)))];
        var config = new ProducerConfig
        {
            BootstrapServers = bootstrap,
            Acks = kind.Acks,
            EnableIdempotence = kind.IsIdempotent,
            CompressionType = kind.Codec,
            LingerMs = 3,
            BatchNumMessages = 40,
            RequestTimeoutMs = 20_000,
            ReconnectBackoffMs = 20,
            ReconnectBackoffMaxMs = 60,
            RetryBackoffMs = 20,
            SocketTimeoutMs = 20_000,
            // An idempotent producer never gives up; the others never try again.
            MessageTimeoutMs = kind.IsIdempotent ? 0 : 20_000,
            QueueBufferingMaxMessages = 100_000,
        };
        if (!kind.IsIdempotent)
            config.MessageSendMaxRetries = 0;
        _producer = new ProducerBuilder<byte[], byte[]>(config)
            .SetLogHandler(static (_, _) => { })
            .SetErrorHandler((_, error) =>
            {
                if (error.IsFatal)
                    problems.Add($"{Name} failed for good: {error.Code} {error.Reason}");
            })
            .Build();
        _thread = new Thread(Run) { IsBackground = true, Name = $"p{kind.Number}" };
        _thread.Start();
    }

    /// <summary>Records acknowledged so far.</summary>
    public long Acked => Interlocked.Read(ref _acked);

    public string Name => $"p{_kind.Number} ({(_kind.IsIdempotent ? "idempotent" : $"acks={_kind.Acks}")})";

    /// <summary>Whether it writes to a compacted topic.</summary>
    public bool IsKeyed => _targets.Exists(static t => (t.History.Losses & Losses.Compaction) != 0);

    /// <summary>Whether every record that was sent is acknowledged or has failed.</summary>
    public bool IsSettled => Volatile.Read(ref _outstanding) == 0;

    /// <summary>Sends nothing new until <see cref="Resume"/>.</summary>
    public void Hold() => _held = true;

    /// <summary>Goes on.</summary>
    public void Resume() => _held = false;

    /// <summary>Sends no more, and waits for the acknowledgements; the broker runs.</summary>
    public void Finish(TimeSpan limit)
    {
        _stopping = true;
        _thread.Join();
        if (_producer.Flush(limit) > 0)
            _problems.Add($"{Name}: {Volatile.Read(ref _outstanding)} records are neither acknowledged nor failed");
    }

    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        _producer.Dispose();
    }

    private void Run()
    {
        while (!_stopping)
        {
            var room = _held ? 0 : MostOutstanding - Volatile.Read(ref _outstanding);
            for (var n = Math.Min(_random.Next(1, MostPerBurst), room); n > 0; n--)
                Send();
            Thread.Sleep(Pause);
        }
    }

    private void Send()
    {
        var (topic, partition, history) = _targets[_random.Next(_targets.Count)];
        var id = new RecordId(_kind.Number, _sequence++);
        var isKeyed = (history.Losses & Losses.Compaction) != 0;
        var key = isKeyed ? $"k{_random.Next(Keys)}" : null;
        var isTombstone = isKeyed && _random.Next(TombstoneEvery) == 0;
        var record = history.Sent(id, _kind.Acks == Acks.All, key, isTombstone);
        Interlocked.Increment(ref _outstanding);
        try
        {
            _producer.Produce(
                new TopicPartition(topic, new Partition(partition)),
                ToMessage(record),
                report => Delivered(history, record, report));
        }
        catch (ProduceException<byte[], byte[]>)
        {
            // The queue is full: not sent, and never will be.
            Interlocked.Decrement(ref _outstanding);
        }
    }

    /// <summary>A tombstone has no value, so it tells its identity in a header.</summary>
    private static Message<byte[], byte[]> ToMessage(SentRecord record) => new()
    {
        Key = record.Key is null ? null! : Encoding.UTF8.GetBytes(record.Key),
        Value = record.IsTombstone ? null! : record.Id.ToValue(),
        Headers = record.IsTombstone ? [new Header("id", record.Id.ToValue())] : null,
    };

    private void Delivered(PartitionHistory history, SentRecord record, DeliveryReport<byte[], byte[]> report)
    {
        record.IsGivenUp = report.Error.IsError;
        Interlocked.Decrement(ref _outstanding);
        if (!report.Error.IsError)
        {
            Interlocked.Increment(ref _acked);
            _problems.AddIfAny(history.Acked(record, report.Offset.Value));
        }
        else if (_kind.IsIdempotent && !_stopping)
        {
            _problems.Add($"{history.Name}: {record.Id} of an idempotent producer failed: {report.Error.Reason}");
        }
    }
}
