using Confluent.Kafka;
using KBroker.Crash.History;

namespace KBroker.Crash.Load;

/// <summary>A real consumer that reads along, by assignment, while the broker dies and comes back.</summary>
internal sealed class LiveReader : IDisposable
{
    private readonly IConsumer<byte[], byte[]> _consumer;
    private readonly Dictionary<TopicPartition, PartitionHistory> _histories = [];
    private readonly Problems _problems;
    private readonly Thread _thread;
    private readonly int _era;
    private volatile bool _stopping;
    private long _read;

    public LiveReader(string bootstrap, IEnumerable<LoadTopic> topics, Problems problems, bool fromStart)
    {
        _problems = problems;
        foreach (var topic in topics)
        {
            for (var i = 0; i < topic.Partitions.Count; i++)
                _histories[new TopicPartition(topic.Name, new Partition(i))] = topic.Partitions[i];
        }

        _era = _histories.Values.First().Era;
        _consumer = new ConsumerBuilder<byte[], byte[]>(new ConsumerConfig
        {
            BootstrapServers = bootstrap,
            GroupId = "crash",
            EnableAutoCommit = false,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            CheckCrcs = true,
            FetchWaitMaxMs = 50,
            FetchErrorBackoffMs = 20,
            ReconnectBackoffMs = 20,
            ReconnectBackoffMaxMs = 60,
            QueuedMaxMessagesKbytes = 4096,
        }).SetLogHandler(static (_, _) => { }).SetErrorHandler(static (_, _) => { }).Build();
        _consumer.Assign(_histories.Keys.Select(p =>
            new TopicPartitionOffset(p, fromStart ? Offset.Beginning : Offset.End)));
        _thread = new Thread(Run) { IsBackground = true, Name = "live reader" };
        _thread.Start();
    }

    /// <summary>Records read so far.</summary>
    public long Count => Interlocked.Read(ref _read);

    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        _consumer.Dispose();
    }

    private static FoundRecord Found(ConsumeResult<byte[], byte[]> result)
    {
        var isTombstone = result.Message.Value is null;
        var identity = isTombstone ? result.Message.Headers[0].GetValueBytes() : result.Message.Value;
        return new FoundRecord(result.Offset.Value, RecordId.FromValue(identity), IsTombstone: isTombstone);
    }

    private void Run()
    {
        while (!_stopping)
        {
            try
            {
                if (_consumer.Consume(TimeSpan.FromMilliseconds(100)) is not { IsPartitionEOF: false } result)
                    continue;
                Interlocked.Increment(ref _read);
                _problems.AddIfAny(_histories[result.TopicPartition].Read(Found(result), _era));
            }
            catch (ConsumeException e) when (!e.Error.IsFatal)
            {
                if (e.Error.Code == ErrorCode.Local_BadMsg || e.Error.Code == ErrorCode.InvalidMsg)
                    _problems.Add($"a consumer was given a damaged batch: {e.Error.Reason}");
            }
        }
    }
}
