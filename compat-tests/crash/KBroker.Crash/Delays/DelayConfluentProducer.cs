using System.Text;
using Confluent.Kafka;
using KBroker.Crash.Load;
using KBroker.Crash.Transactions;

namespace KBroker.Crash.Delays;

/// <summary>An idempotent producer of Confluent.Kafka that delays some of its messages.</summary>
internal sealed class DelayConfluentProducer : TransactionClient
{
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(12);
    private readonly IProducer<byte[], byte[]> _producer;
    private readonly DelayHistory _history;
    private readonly Problems _problems;
    private readonly DelayBatches _batches;
    private readonly Random _random;
    private readonly List<(DelayTopic Topic, Place Place)> _places;
    private int _outstanding;

    public DelayConfluentProducer(
        string bootstrap,
        int number,
        CompressionType codec,
        IReadOnlyList<DelayTopic> topics,
        DelayHistory history,
        Problems problems,
        long farMs,
        int seed)
        : base($"c{number}")
    {
        (_history, _problems, _random) = (history, problems, new Random(seed));
        _batches = new DelayBatches(number, history, farMs, _random);
        _places = [.. topics.SelectMany(t => Enumerable.Range(0, t.Partitions).Select(p => (t, new Place(t.Name, p))))];
        _producer = new ProducerBuilder<byte[], byte[]>(new ProducerConfig
        {
            BootstrapServers = bootstrap,
            EnableIdempotence = true,
            CompressionType = codec,
            LingerMs = 2,
            BatchNumMessages = 30,
            ReconnectBackoffMs = 20,
            ReconnectBackoffMaxMs = 60,
            RetryBackoffMs = 20,
            SocketTimeoutMs = 20_000,
            // It never gives up.
            MessageTimeoutMs = 0,
        }).SetLogHandler(static (_, _) => { }).SetErrorHandler(static (_, _) => { }).Build();
        Doing = "sending";
        Start();
    }

    protected override bool IsDecided => Volatile.Read(ref _outstanding) == 0;

    protected override void Step()
    {
        // A step ends when everything is answered.
        if (IsDecided)
        {
            for (var bursts = _random.Next(1, 4); bursts > 0; bursts--)
                Send();
        }

        _producer.Flush(Slice);
        Thread.Sleep(Pause);
    }

    protected override void Close() => _producer.Dispose();

    private void Send()
    {
        var (topic, place) = _places[_random.Next(_places.Count)];
        foreach (var record in _batches.Next(topic, place))
        {
            var headers = new Headers();
            foreach (var (name, value) in DelayBatches.Headers(record))
                headers.Add(name, Encoding.UTF8.GetBytes(value));
            Interlocked.Increment(ref _outstanding);
            _producer.Produce(
                new TopicPartition(place.Topic, new Partition(place.Partition)),
                new Message<byte[], byte[]>
                {
                    Key = Encoding.UTF8.GetBytes(DelayBatches.KeyOf(record.Id)),
                    Value = record.Id.ToValue(),
                    Headers = headers,
                    Timestamp = new Timestamp(record.TimestampMs ?? DelayWire.NowMs, TimestampType.CreateTime),
                },
                report => Delivered(record, report));
        }
    }

    private void Delivered(DelaySent record, DeliveryReport<byte[], byte[]> report)
    {
        if (!report.Error.IsError)
        {
            _history.Acked(record, report.Offset.Value, DelayWire.NowMs);
            CountCommit();
        }
        else if (!IsStopping)
        {
            _problems.Add($"{record.Place}: {record} of an idempotent producer failed: {report.Error.Reason}");
        }

        Interlocked.Decrement(ref _outstanding);
    }
}
