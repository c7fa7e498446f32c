using System.Diagnostics;
using Confluent.Kafka;
using KBroker.Crash.History;
using KBroker.Crash.Load;

namespace KBroker.Crash.Transactions;

/// <summary>
/// One member of a group that consumes, transforms and produces: it reads with read_committed, writes one record for
/// each, and commits its offsets within the transaction (SendOffsetsToTransaction). It aborts now and then, and goes
/// away and comes back, so that the group rebalances.
/// </summary>
internal sealed class PipelineWorker : TransactionClient
{
    private const int MostRecords = 60;
    private const int AbortPercent = 12;
    private const int ReplacePercent = 3;
    private static readonly TimeSpan Gather = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LeaveLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan FlushSlice = TimeSpan.FromMilliseconds(200);

    private readonly string _bootstrap;
    private readonly PipelineTopics _pipeline;
    private readonly GroupProtocol _protocol;
    private readonly TransactionHistory _history;
    private readonly Problems _problems;
    private readonly Random _random;
    private readonly List<ConsumeResult<byte[], byte[]>> _batch = [];
    private IProducer<byte[], byte[]>? _producer;
    private IConsumer<byte[], byte[]>? _consumer;
    private volatile bool _mustReplace;

    public PipelineWorker(
        string bootstrap,
        PipelineTopics pipeline,
        int number,
        GroupProtocol protocol,
        TransactionHistory history,
        Problems problems,
        int seed)
        : base($"pipeline-{pipeline.Input}-{number}")
    {
        (_bootstrap, _pipeline, _protocol) = (bootstrap, pipeline, protocol);
        (_history, _problems) = (history, problems);
        _random = new Random(seed);
        Start();
    }

    protected override bool IsDecided => _consumer is not null && !_mustReplace;

    /// <inheritdoc/>
    public override void PowerCut() => _mustReplace = true;

    protected override void Step()
    {
        if (_mustReplace)
            Replace();
        if (_consumer is null)
        {
            Open();
            return;
        }

        Collect();
        if (_batch.Count == 0 || _mustReplace)
            return;
        if (!Process())
            Rewind();
        _batch.Clear();
        if (_random.Next(100) < ReplacePercent)
            Replace();
    }

    protected override void Close() => Replace();

    private void Open()
    {
        _mustReplace = false;
        Doing = "InitTransactions";
        var deaths = _history.Deaths;
        var producer = new ProducerBuilder<byte[], byte[]>(new ProducerConfig
        {
            BootstrapServers = _bootstrap,
            TransactionalId = $"crash-{Name}",
            TransactionTimeoutMs = 60_000,
            LingerMs = 1,
            ReconnectBackoffMs = 20,
            ReconnectBackoffMaxMs = 60,
            RetryBackoffMs = 20,
            SocketTimeoutMs = 20_000,
            Debug = "eos",
        }).SetLogHandler((_, line) => Note($"{line.Facility} {line.Message}")).SetErrorHandler(static (_, _) => { }).Build();
        if (!TransactionCalls.Initialise(producer, () => IsStopping, out var failure))
        {
            producer.Dispose();
            if (failure is not null)
                _problems.AddIfAny(_history.Failed(Name, failure, deaths));
            return;
        }

        _producer = producer;
        var config = new ConsumerConfig
        {
            BootstrapServers = _bootstrap,
            GroupId = _pipeline.Group,
            EnableAutoCommit = false,
            EnableAutoOffsetStore = false,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            IsolationLevel = IsolationLevel.ReadCommitted,
            FetchWaitMaxMs = 50,
            FetchErrorBackoffMs = 20,
            ReconnectBackoffMs = 20,
            ReconnectBackoffMaxMs = 60,
            GroupProtocol = _protocol,
        };
        if (_protocol == GroupProtocol.Classic)
        {
            config.SessionTimeoutMs = 3000;
            config.HeartbeatIntervalMs = 200;
        }

        _consumer = new ConsumerBuilder<byte[], byte[]>(config)
            .SetLogHandler(static (_, _) => { })
            .SetErrorHandler(static (_, _) => { })
            // What is no longer this member's must not be worked on; the rest will not come again.
            .SetPartitionsRevokedHandler((_, gone) => Forget(gone))
            .SetPartitionsLostHandler((_, gone) => Forget(gone))
            .Build();
        _consumer.Subscribe(_pipeline.Input);
    }

    private void Forget(List<TopicPartitionOffset> gone)
    {
        var partitions = gone.Select(static p => p.TopicPartition).ToHashSet();
        _batch.RemoveAll(r => partitions.Contains(r.TopicPartition));
    }

    private void Collect()
    {
        Doing = "consuming";
        for (var started = Stopwatch.GetTimestamp(); _batch.Count < MostRecords;)
        {
            var left = Gather - Stopwatch.GetElapsedTime(started);
            if (left <= TimeSpan.Zero)
                return;
            try
            {
                if (_consumer!.Consume(left) is { IsPartitionEOF: false } result)
                    _batch.Add(result);
            }
            catch (ConsumeException e)
            {
                if (e.Error.IsFatal)
                {
                    _problems.Add($"{Name}: the consumer failed for good: {e.Error.Code} {e.Error.Reason}");
                    _mustReplace = true;
                    return;
                }
            }
        }
    }

    /// <returns>False when the batch has to be worked on again.</returns>
    private bool Process()
    {
        var deaths = _history.Deaths;
        _producer!.BeginTransaction();
        foreach (var result in _batch)
        {
            // A record that is not what anybody sent is found by the check.
            if (RecordId.FromValue(result.Message.Value) is not { } id)
                continue;
            _producer.Produce(
                new TopicPartition(_pipeline.Output, result.Partition),
                new Message<byte[], byte[]> { Value = PipelineTopics.OutputOf(id).ToValue() });
        }

        var isCommit = _random.Next(100) >= AbortPercent;
        var offsets = _batch.GroupBy(static r => r.TopicPartition)
            .Select(static p => new TopicPartitionOffset(p.Key, p.Last().Offset + 1))
            .ToList();
        Doing = "SendOffsetsToTransaction";
        var wasSent = TransactionCalls.SendOffsets(
            _producer, offsets, _consumer!.ConsumerGroupMetadata, () => IsStopping);
        isCommit &= wasSent;
        // An abort gives the sequence numbers of batches under way again; see ConfluentProducer.
        Doing = "Flush";
        while (!isCommit && !IsStopping && _producer.Flush(FlushSlice) > 0)
        {
        }

        Doing = isCommit ? "CommitTransaction" : "AbortTransaction";
        var end = TransactionCalls.End(_producer, isCommit, () => IsStopping, out var failure);
        if (end == true)
        {
            CountCommit();
            return true;
        }

        if (failure is not null && !IsStopping)
            _problems.AddIfAny(_history.Failed(Name, failure, deaths));
        // An abort that took the place of a commit had no flush: the next producer has an epoch of its own.
        _mustReplace |= end is null || isCommit;
        return false;
    }

    /// <summary>Back to what was not committed.</summary>
    private void Rewind()
    {
        try
        {
            var mine = _consumer!.Assignment.ToHashSet();
            foreach (var partition in _batch.GroupBy(static r => r.TopicPartition).Where(p => mine.Contains(p.Key)))
                _consumer.Seek(new TopicPartitionOffset(partition.Key, partition.First().Offset));
        }
        catch (KafkaException)
        {
            // A new consumer begins where the group stands.
            _mustReplace = true;
        }
    }

    private void Replace()
    {
        Doing = "leaving";
        _batch.Clear();
        if (_consumer is { } consumer)
        {
            // Half of them leave without a word: their session ends. With no broker ever, leaving would take for ever.
            var saysGoodbye = !IsStopping && _random.Next(2) == 0;
            // librdkafka's Close sometimes never comes back (FINDINGS.md); its session ends all the same.
            var leaving = new Thread(() => Leave(consumer, saysGoodbye)) { IsBackground = true, Name = "leaving" };
            leaving.Start();
            leaving.Join(LeaveLimit);
        }

        _consumer = null;
        _producer?.Dispose();
        _producer = null;
    }

    private static void Leave(IConsumer<byte[], byte[]> consumer, bool saysGoodbye)
    {
        try
        {
            if (saysGoodbye)
                consumer.Close();
        }
        catch (KafkaException)
        {
            // Nobody listens; the session ends.
        }

        consumer.Dispose();
    }
}
