using Confluent.Kafka;

namespace KBroker.Client.CheckBack;

/// <summary>Writes decisions on half messages, by the connections and the queue of a producer.</summary>
internal sealed class DecisionWriter(Handle handle, string producerGroup) : IDisposable
{
    private readonly IProducer<Null, Null> _producer = new DependentProducerBuilder<Null, Null>(handle).Build();
    private readonly CancellationTokenSource _closed = new();
    private readonly Lock _lock = new();

    /// <summary>Writes one, into the partition of the half message.</summary>
    /// <returns>Where it is stored.</returns>
    /// <exception cref="ProduceException{TKey, TValue}">The broker did not take it.</exception>
    /// <exception cref="ObjectDisposedException">It is not known to be written before the end of the producer.
    /// </exception>
    public async Task<TopicPartitionOffset> WriteAsync(TopicPartitionOffset half, LocalTransactionState decision)
    {
        var message = new Message<Null, Null>
        {
            Headers = new Headers().SetDecision(half.Offset, decision, producerGroup),
        };
        try
        {
            var result = await ProduceAsync(half.TopicPartition, message).ConfigureAwait(false);
            return result.TopicPartitionOffset;
        }
        catch (OperationCanceledException)
        {
            throw new ObjectDisposedException(nameof(CheckBackProducer<,>));
        }
    }

    /// <summary>Ends: a producer that is disposed of answers no more.</summary>
    public void Dispose()
    {
        lock (_lock)
            _closed.Cancel();
        _producer.Dispose();
    }

    private Task<DeliveryResult<Null, Null>> ProduceAsync(TopicPartition partition, Message<Null, Null> message)
    {
        lock (_lock)
        {
            _closed.Token.ThrowIfCancellationRequested();
            return _producer.ProduceAsync(partition, message, _closed.Token);
        }
    }
}
