using System.Text;
using Confluent.Kafka;
using KBroker.Storm.Members;

namespace KBroker.Compat.Confluent.Tests.Transactions;

/// <summary>
/// One instance of a consume-transform-produce application, on a thread of its own: what it reads, what it writes and how
/// far it has read are one transaction. When partitions are taken from it, it commits first; what it must abort it reads
/// again.
/// </summary>
internal sealed class PipelineInstance
{
    private static readonly TimeSpan PollTime = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private readonly string _output;
    private readonly int _recordsPerTransaction;
    private readonly IConsumer<byte[]?, byte[]?> _consumer;
    private readonly IProducer<byte[]?, byte[]?> _producer;
    private readonly Task _work;
    private readonly Dictionary<TopicPartition, Offset> _positions = [];
    private bool _open;
    private int _records;
    private int _commits;
    private int _aborts;
    private volatile Ending _ending;

    /// <summary>Starts: fences who had the transactional id before, and joins the group.</summary>
    /// <param name="settings">The group and the input topic.</param>
    /// <param name="output">The topic that is written, with as many partitions as the input has.</param>
    /// <param name="transactionalId">Of this instance, and of who takes its place.</param>
    /// <param name="recordsPerTransaction">A commit after so many, or when nothing comes.</param>
    public PipelineInstance(MemberSettings settings, string output, string transactionalId, int recordsPerTransaction)
    {
        (_output, _recordsPerTransaction) = (output, recordsPerTransaction);
        var config = settings.Config();
        config.IsolationLevel = IsolationLevel.ReadCommitted;
        _producer = new ProducerBuilder<byte[]?, byte[]?>(new ProducerConfig
        {
            BootstrapServers = settings.Bootstrap,
            TransactionalId = transactionalId,
            TransactionTimeoutMs = 60_000,
            LingerMs = 1,
            ReconnectBackoffMaxMs = 500,
        }).SetLogHandler(static (_, _) => { }).SetErrorHandler(static (_, _) => { }).Build();
        _consumer = new ConsumerBuilder<byte[]?, byte[]?>(config)
            .SetLogHandler(static (_, _) => { })
            .SetErrorHandler(static (_, _) => { })
            .SetPartitionsRevokedHandler((_, _) => End())
            .SetPartitionsLostHandler((_, _) => Abort())
            .Build();
        _work = Task.Factory.StartNew(
            () => Run(settings.Topic), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    private enum Ending
    {
        None,
        Leave,
        Crash,
    }

    /// <summary>How many transactions it has committed.</summary>
    public int Commits => Volatile.Read(ref _commits);

    /// <summary>How often it had to abort and begin anew.</summary>
    public int Aborts => Volatile.Read(ref _aborts);

    /// <summary>What made it fail; null when nothing did.</summary>
    public Exception? Failure => _work.Exception?.InnerException;

    /// <summary>Commits what it has and leaves the group.</summary>
    public Task LeaveAsync() => EndAsync(Ending.Leave);

    /// <summary>
    /// Goes in the midst of a transaction whose records the broker has already, and does not leave the group.
    /// </summary>
    public Task CrashAsync() => EndAsync(Ending.Crash);

    private Task EndAsync(Ending ending)
    {
        _ending = ending;
        return _work;
    }

    private void Run(string input)
    {
        try
        {
            _producer.InitTransactions(Limit);
            _consumer.Subscribe(input);
            while (_ending is Ending.None)
                Step();
            if (_ending is Ending.Leave)
            {
                End();
                _consumer.Close();
                _consumer.Dispose();
                _producer.Dispose();
            }
            else
            {
                CrashInTheMidst();
            }
        }
        finally
        {
            if (_ending is not Ending.Leave)
                Abandon();
        }
    }

    /// <summary>Nobody waits: librdkafka sometimes does not come back when a consumer is destroyed that did not close.</summary>
    private void Abandon() => new Thread(() =>
    {
        _consumer.Dispose();
        _producer.Dispose();
    })
    { IsBackground = true }.Start();

    private void Step()
    {
        ConsumeResult<byte[]?, byte[]?>? record = null;
        try
        {
            record = _consumer.Consume(PollTime);
        }
        catch (ConsumeException problem) when (!problem.Error.IsFatal)
        {
            // The coordinator moves, the group rebalances: the client goes on by itself.
        }

        if (record is not null)
            Work(record);
        if (record is null || _records >= _recordsPerTransaction)
            End();
    }

    private void Work(ConsumeResult<byte[]?, byte[]?> record)
    {
        try
        {
            Begin();
            _producer.Produce(new TopicPartition(_output, record.Partition), Transformed(record));
            _positions[record.TopicPartition] = record.Offset + 1;
            _records++;
        }
        catch (KafkaException problem) when (!problem.Error.IsFatal)
        {
            Abort();
        }
    }

    private void Begin()
    {
        if (_open)
            return;
        _producer.BeginTransaction();
        _open = true;
    }

    private static Message<byte[]?, byte[]?> Transformed(ConsumeResult<byte[]?, byte[]?> record) => new()
    {
        Key = Encoding.UTF8.GetBytes(record.Offset.Value.ToString(System.Globalization.CultureInfo.InvariantCulture)),
        Value = record.Message.Value,
    };

    /// <summary>Commits what was written together with how far it was read.</summary>
    private void End()
    {
        if (!_open)
            return;
        try
        {
            Retried(() => _producer.SendOffsetsToTransaction(
                _positions.Select(static p => new TopicPartitionOffset(p.Key, p.Value)),
                _consumer.ConsumerGroupMetadata,
                Limit));
            Retried(() => _producer.CommitTransaction(Limit));
            Forget();
            Interlocked.Increment(ref _commits);
        }
        catch (KafkaException problem) when (!problem.Error.IsFatal)
        {
            Abort();
        }
    }

    private static void Retried(Action action)
    {
        while (true)
        {
            try
            {
                action();
                return;
            }
            catch (KafkaRetriableException)
            {
                // Goes on where it was.
            }
        }
    }

    /// <summary>Forgets the transaction, and goes back to where the group stands.</summary>
    private void Abort()
    {
        if (!_open)
            return;
        Retried(() => _producer.AbortTransaction(Limit));
        Forget();
        Interlocked.Increment(ref _aborts);
        var committed = _consumer.Assignment.Count == 0 ? [] : _consumer.Committed(_consumer.Assignment, Limit);
        foreach (var place in committed)
        {
            var offset = place.Offset.Value < 0 ? Offset.Beginning : place.Offset;
            _consumer.Seek(new TopicPartitionOffset(place.TopicPartition, offset));
        }
    }

    private void Forget()
    {
        _open = false;
        _records = 0;
        _positions.Clear();
    }

    /// <summary>
    /// Leaves a transaction open whose records, and whose offsets, the broker has; then the process might as well be dead.
    /// </summary>
    private void CrashInTheMidst()
    {
        Begin();
        for (var partition = 0; partition < 2; partition++)
            _producer.Produce(new TopicPartition(_output, partition), new() { Value = "crashed"u8.ToArray() });
        _producer.Flush(Limit);
    }
}
