using Confluent.Kafka;

namespace KBroker.Client.CheckBack;

/// <summary>
/// Answers the checks of a producer group, on a thread of its own: a member of the consumer group that is named like
/// the topic of the checks, so that the instances of the producer group share them.
/// </summary>
/// <remarks>
/// A position is committed when the checks before it are answered, so each is answered once or more. A check without an
/// answer is not kept: the broker asks again.
/// </remarks>
internal sealed class CheckAnswerer<TKey, TValue>(
    CheckBackOptions<TKey, TValue> options, DecisionWriter decisions, TopicSettings topics)
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);
    private readonly string _topic = CheckBackHeaders.CheckTopic(options.ProducerGroup);
    private readonly List<ConsumeResult<TKey, TValue>> _taken = [];

    /// <summary>Answers checks until it is to end.</summary>
    public void Run(CancellationToken closing)
    {
        var isCreated = false;
        while (!closing.IsCancellationRequested)
        {
            try
            {
                if (!isCreated)
                    topics.CreateAsync(_topic).WaitAsync(closing).GetAwaiter().GetResult();
                isCreated = true;
                using var consumer = Build();
                try
                {
                    consumer.Subscribe(_topic);
                    while (true)
                        Answer(consumer, closing);
                }
                finally
                {
                    // Its partitions go to the others at once.
                    consumer.Close();
                }
            }
            catch (OperationCanceledException) when (closing.IsCancellationRequested)
            {
                return;
            }
            catch (Exception problem) when (problem is KafkaException or OperationCanceledException)
            {
                options.OnError?.Invoke(problem);
                // The consumer works without the topic, too; who may not create it waits for the broker to do so.
                isCreated = true;
                closing.WaitHandle.WaitOne(Pause);
            }
        }
    }

    private IConsumer<TKey, TValue> Build()
    {
        var config = new ConsumerConfig
        {
            GroupId = _topic,
            EnableAutoCommit = false,
            EnableAutoOffsetStore = false,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            TopicMetadataRefreshIntervalMs = 5_000,
            SessionTimeoutMs = 10_000,
        };
        foreach (var (key, value) in options.Config)
        {
            if (!ProducerSettings.IsProducerOnly(key))
                config.Set(key, value);
        }

        options.ConfigureChecks?.Invoke(config);
        var builder = new ConsumerBuilder<TKey, TValue>(config)
            .SetErrorHandler((_, error) => options.OnError?.Invoke(new KafkaException(error)));
        if (options.Log is { } log)
            builder.SetLogHandler((_, line) => log($"{line.Name} {line.Facility}: {line.Message}"));
        if (options.KeyDeserializer is { } key2)
            builder.SetKeyDeserializer(key2);
        if (options.ValueDeserializer is { } value2)
            builder.SetValueDeserializer(value2);
        return builder.Build();
    }

    private void Answer(IConsumer<TKey, TValue> consumer, CancellationToken closing)
    {
        _taken.Clear();
        try
        {
            _taken.Add(consumer.Consume(closing));
            while (_taken.Count < options.ConcurrentChecks && consumer.Consume(TimeSpan.Zero) is { } more)
                _taken.Add(more);
        }
        catch (ConsumeException problem) when (!problem.Error.IsFatal)
        {
            if (problem.Error.Code != ErrorCode.UnknownTopicOrPart)
                options.OnError?.Invoke(problem);
        }

        if (_taken.Count == 0)
            return;
        Task.WhenAll(_taken.Select(check => Task.Run(() => AnswerAsync(check, closing), CancellationToken.None)))
            .GetAwaiter().GetResult();
        // What is left when it ends is answered by the next one.
        closing.ThrowIfCancellationRequested();
        try
        {
            consumer.Commit(_taken
                .GroupBy(static c => c.TopicPartition, static c => c.Offset.Value)
                .Select(static p => new TopicPartitionOffset(p.Key, p.Max() + 1)));
        }
        catch (KafkaException problem) when (!problem.Error.IsFatal)
        {
            // They may come again, which does no harm.
            options.OnError?.Invoke(problem);
        }
    }

    private async Task AnswerAsync(ConsumeResult<TKey, TValue> check, CancellationToken closing)
    {
        if (!check.Message.Headers.TryGetHalf(out var half))
        {
            options.Log?.Invoke($"The record at {check.TopicPartitionOffset} is no check.");
            return;
        }

        var message = new Message<TKey, TValue>
        {
            Key = check.Message.Key,
            Value = check.Message.Value,
            Headers = CheckBackHeaders.Copy(check.Message.Headers, userOnly: true),
            Timestamp = half.Timestamp,
        };
        try
        {
            await topics.CheckAsync(half.Position.Topic, closing).ConfigureAwait(false);
            var decision = await options.CheckLocalTransaction(message, half, closing).ConfigureAwait(false);
            options.Log?.Invoke($"Check {half.Checks} of {half.Position}: {decision}.");
            if (decision != LocalTransactionState.Unknown)
                await decisions.WriteAsync(half.Position, decision).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The callback is the user's: whatever it throws, the broker asks again.
        catch (Exception problem)
#pragma warning restore CA1031
        {
            // While closing that is the cancellation; another instance is asked.
            if (!closing.IsCancellationRequested)
                options.OnError?.Invoke(problem);
        }
    }
}
