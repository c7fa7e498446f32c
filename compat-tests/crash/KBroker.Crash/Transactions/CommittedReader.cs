using Confluent.Kafka;
using KBroker.Crash.History;
using KBroker.Crash.Load;

namespace KBroker.Crash.Transactions;

/// <summary>A real consumer with read_committed that reads along, by assignment.</summary>
internal sealed class CommittedReader : IDisposable
{
    private readonly IConsumer<byte[], byte[]> _consumer;
    private readonly TransactionHistory _history;
    private readonly Problems _problems;
    private readonly Thread _thread;
    private readonly Dictionary<TopicPartition, long> _last = [];
    private volatile bool _stopping;
    private long _read;

    public CommittedReader(
        string bootstrap, IEnumerable<Place> places, TransactionHistory history, Problems problems)
    {
        (_history, _problems) = (history, problems);
        _consumer = new ConsumerBuilder<byte[], byte[]>(new ConsumerConfig
        {
            BootstrapServers = bootstrap,
            GroupId = "crash-reader",
            EnableAutoCommit = false,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            IsolationLevel = IsolationLevel.ReadCommitted,
            CheckCrcs = true,
            FetchWaitMaxMs = 50,
            FetchErrorBackoffMs = 20,
            ReconnectBackoffMs = 20,
            ReconnectBackoffMaxMs = 60,
        }).SetLogHandler(static (_, _) => { }).SetErrorHandler(static (_, _) => { }).Build();
        _consumer.Assign(places.Select(p =>
            new TopicPartitionOffset(p.Topic, new Partition(p.Partition), Offset.Beginning)));
        _thread = new Thread(Run) { IsBackground = true, Name = "read_committed" };
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

    private void Run()
    {
        while (!_stopping)
        {
            try
            {
                if (_consumer.Consume(TimeSpan.FromMilliseconds(100)) is { IsPartitionEOF: false } result)
                    Take(result);
            }
            catch (ConsumeException e) when (!e.Error.IsFatal)
            {
                if (e.Error.Code is ErrorCode.Local_BadMsg or ErrorCode.InvalidMsg)
                    _problems.Add($"a consumer was given a damaged batch: {e.Error.Reason}");
            }
        }
    }

    private void Take(ConsumeResult<byte[], byte[]> result)
    {
        Interlocked.Increment(ref _read);
        var place = new Place(result.Topic, result.Partition.Value);
        if (_last.TryGetValue(result.TopicPartition, out var last) && result.Offset.Value <= last)
            _problems.Add($"duplicated: {place}: a reader got offset {result.Offset.Value} behind {last}");
        _last[result.TopicPartition] = result.Offset.Value;
        _problems.AddIfAny(_history.Read(place, result.Offset.Value, RecordId.FromValue(result.Message.Value)));
    }
}
