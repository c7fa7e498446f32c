using Confluent.Kafka;

namespace KBroker.Client.CheckBack;

/// <summary>
/// Sends messages that are seen if, and only if, a local transaction commits: RocketMQ's transactional messages. The
/// broker stores a half message that nobody sees; the local transaction runs; its outcome goes to the broker. Where it
/// does not arrive, the broker asks the instances of the producer group, which this class answers in the background.
/// </summary>
/// <remarks>
/// The topics must have <c>kbroker.txn.enable=true</c>. An instance that is there at all answers for the whole group,
/// also while it sends nothing. Safe for concurrent use; one instance of a process is enough.
/// </remarks>
/// <typeparam name="TKey">Type of the keys.</typeparam>
/// <typeparam name="TValue">Type of the values.</typeparam>
public sealed class CheckBackProducer<TKey, TValue> : IAsyncDisposable, IDisposable
{
    private readonly CheckBackOptions<TKey, TValue> _options;
    private readonly IProducer<TKey, TValue> _producer;
    private readonly DecisionWriter _decisions;
    private readonly TopicSettings _topics;
    private readonly CancellationTokenSource _closing = new();
    private readonly Lock _lock = new();
    private readonly TaskCompletionSource _idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _answering;
    private Task? _disposing;
    private int _sending;

    /// <summary>Starts to answer checks.</summary>
    /// <param name="options">What it is made of.</param>
    /// <exception cref="ArgumentException">The configuration is none for half messages.</exception>
    public CheckBackProducer(CheckBackOptions<TKey, TValue> options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentException.ThrowIfNullOrEmpty(options.ProducerGroup);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.ConcurrentChecks, 1);
        _options = options;
        var builder = new ProducerBuilder<TKey, TValue>(ProducerSettings.Of(options.Config))
            .SetErrorHandler((_, error) => options.OnError?.Invoke(new KafkaException(error)));
        if (options.Log is { } log)
            builder.SetLogHandler((_, line) => log($"{line.Name} {line.Facility}: {line.Message}"));
        if (options.KeySerializer is { } key)
            builder.SetKeySerializer(key);
        if (options.ValueSerializer is { } value)
            builder.SetValueSerializer(value);
        _producer = builder.Build();
        _decisions = new DecisionWriter(_producer.Handle, options.ProducerGroup);
        _topics = new TopicSettings(_producer.Handle);
        var answerer = new CheckAnswerer<TKey, TValue>(options, _decisions, _topics);
        var closing = _closing.Token;
        _answering = Task.Factory.StartNew(
            () => answerer.Run(closing),
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
    }

    /// <summary>Ends when checks are not answered any more: after disposing, or with the exception that ended it.
    /// </summary>
    public Task Answering => _answering;

    /// <summary>Sends a half message, runs the local transaction, and sends the decision.</summary>
    /// <param name="topic">A topic with <c>kbroker.txn.enable=true</c>.</param>
    /// <param name="message">The message; it is left as it is. It may have a delay
    /// (<see cref="KBrokerHeaders.SetDelay"/>), which counts from its timestamp.</param>
    /// <param name="cancellationToken">Ends the sending of the half message, and is given to the local transaction
    /// with the end of this producer; a decision is always sent.</param>
    /// <returns>Where the half message is stored, and what was decided.</returns>
    /// <exception cref="ProduceException{TKey, TValue}">The broker did not take the half message; the local transaction
    /// was not run. Where it is not known whether it took it, it asks about it.</exception>
    /// <exception cref="InvalidOperationException">The topic takes no half messages.</exception>
    /// <exception cref="ObjectDisposedException">The producer is disposed of.</exception>
    public Task<SendResult> SendAsync(
        string topic, Message<TKey, TValue> message, CancellationToken cancellationToken = default) =>
        SendAsync(new TopicPartition(topic, Partition.Any), message, cancellationToken);

    /// <summary>Sends a half message to one partition, runs the local transaction, and sends the decision.</summary>
    /// <inheritdoc cref="SendAsync(string, Message{TKey, TValue}, CancellationToken)"/>
    /// <param name="topicPartition">A partition of a topic with <c>kbroker.txn.enable=true</c>.</param>
    /// <param name="message">The message.</param>
    /// <param name="cancellationToken">Ends the sending.</param>
    public async Task<SendResult> SendAsync(
        TopicPartition topicPartition,
        Message<TKey, TValue> message,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topicPartition);
        ArgumentNullException.ThrowIfNull(message);
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposing is not null, this);
            _sending++;
        }

        try
        {
            using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _closing.Token);
            return await SendHalfAsync(topicPartition, message, ending.Token).ConfigureAwait(false);
        }
        finally
        {
            lock (_lock)
            {
                if (--_sending == 0 && _disposing is not null)
                    _idle.TrySetResult();
            }
        }
    }

    /// <summary>
    /// Leaves the group, so that other instances are asked, and waits for messages that are being sent, no longer than
    /// <see cref="CheckBackOptions{TKey, TValue}.CloseTimeout"/>. What is undecided then is asked about.
    /// </summary>
    /// <returns>When all is done.</returns>
    public ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            if (_disposing is null)
            {
                if (_sending == 0)
                    _idle.TrySetResult();
                _disposing = Task.Run(CloseAsync);
            }

            return new ValueTask(_disposing);
        }
    }

    /// <summary>See <see cref="DisposeAsync"/>.</summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    private async Task<SendResult> SendHalfAsync(
        TopicPartition topicPartition, Message<TKey, TValue> message, CancellationToken ending)
    {
        await _topics.CheckAsync(topicPartition.Topic, ending).ConfigureAwait(false);
        ending.ThrowIfCancellationRequested();
        var sent = await _producer.ProduceAsync(
            topicPartition,
            new Message<TKey, TValue>
            {
                Key = message.Key,
                Value = message.Value,
                Timestamp = message.Timestamp,
                Headers = CheckBackHeaders.Copy(message.Headers)
                    .SetHalf(_options.ProducerGroup, _options.CheckAfter),
            },
            ending).ConfigureAwait(false);
        var half = new HalfMessage(sent.TopicPartitionOffset, sent.Timestamp, 0);
        var decision = await ExecuteAsync(message, half, ending).ConfigureAwait(false);
        var result = new SendResult(half.Position, decision);
        if (decision == LocalTransactionState.Unknown)
            return result;
        try
        {
            return result with
            {
                DecisionPosition = await _decisions.WriteAsync(half.Position, decision).ConfigureAwait(false),
            };
        }
        catch (Exception problem) when (problem is KafkaException or ObjectDisposedException)
        {
            _options.Log?.Invoke($"{half.Position}: {decision} could not be written; the broker will ask. {problem}");
            return result with { DecisionError = problem };
        }
    }

    private async Task<LocalTransactionState> ExecuteAsync(
        Message<TKey, TValue> message, HalfMessage half, CancellationToken ending)
    {
        try
        {
            return await _options.ExecuteLocalTransaction(message, half, ending).ConfigureAwait(false);
        }
        catch (Exception problem)
        {
            _options.Log?.Invoke($"{half.Position}: unknown; the broker will ask. {problem.Message}");
            throw;
        }
    }

    private async Task CloseAsync()
    {
        await _closing.CancelAsync().ConfigureAwait(false);
        await Task.WhenAny(_answering, Task.Delay(_options.CloseTimeout)).ConfigureAwait(false);
        await Task.WhenAny(_idle.Task, Task.Delay(_options.CloseTimeout)).ConfigureAwait(false);
        using (var limit = new CancellationTokenSource(_options.CloseTimeout))
        {
            try
            {
                _producer.Flush(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _options.Log?.Invoke("Some messages could not be sent before the end.");
            }
        }

        _topics.Dispose();
        _decisions.Dispose();
        _producer.Dispose();
        _closing.Dispose();
    }
}
