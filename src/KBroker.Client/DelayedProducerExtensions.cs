using Confluent.Kafka;

namespace KBroker.Client;

/// <summary>Delayed records from an ordinary producer.</summary>
public static class DelayedProducerExtensions
{
    /// <summary>Produces a record that consumers see later.</summary>
    /// <typeparam name="TKey">Type of the key.</typeparam>
    /// <typeparam name="TValue">Type of the value.</typeparam>
    /// <param name="producer">The producer.</param>
    /// <param name="topic">A topic with <c>kbroker.delay.enable=true</c>.</param>
    /// <param name="message">The record; it is left as it is.</param>
    /// <param name="delay">When consumers see it: a <see cref="TimeSpan"/>, a <see cref="DateTimeOffset"/>, or
    /// <see cref="Delay.Level"/>.</param>
    /// <param name="cancellationToken">Ends the waiting, not the request.</param>
    /// <returns>The record as it is stored, which can be cancelled.</returns>
    /// <exception cref="ProduceException{TKey, TValue}">The broker did not take it.</exception>
    public static Task<DelayedRecord> ProduceDelayedAsync<TKey, TValue>(
        this IProducer<TKey, TValue> producer,
        string topic,
        Message<TKey, TValue> message,
        Delay delay,
        CancellationToken cancellationToken = default) =>
        ProduceDelayedAsync(producer, new TopicPartition(topic, Partition.Any), message, delay, cancellationToken);

    /// <summary>Produces a record to one partition that consumers see later.</summary>
    /// <typeparam name="TKey">Type of the key.</typeparam>
    /// <typeparam name="TValue">Type of the value.</typeparam>
    /// <param name="producer">The producer.</param>
    /// <param name="topicPartition">A partition of a topic with <c>kbroker.delay.enable=true</c>.</param>
    /// <param name="message">The record; it is left as it is.</param>
    /// <param name="delay">When consumers see it: a <see cref="TimeSpan"/>, a <see cref="DateTimeOffset"/>, or
    /// <see cref="Delay.Level"/>.</param>
    /// <param name="cancellationToken">Ends the waiting, not the request.</param>
    /// <returns>The record as it is stored, which can be cancelled.</returns>
    /// <exception cref="ProduceException{TKey, TValue}">The broker did not take it.</exception>
    public static async Task<DelayedRecord> ProduceDelayedAsync<TKey, TValue>(
        this IProducer<TKey, TValue> producer,
        TopicPartition topicPartition,
        Message<TKey, TValue> message,
        Delay delay,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(producer);
        ArgumentNullException.ThrowIfNull(message);
        var delayed = new Message<TKey, TValue>
        {
            Key = message.Key,
            Value = message.Value,
            Timestamp = message.Timestamp,
            Headers = Copy(message.Headers).SetDelay(delay),
        };
        var result = await producer.ProduceAsync(topicPartition, delayed, cancellationToken).ConfigureAwait(false);
        return new DelayedRecord(producer.Handle, result.TopicPartitionOffset, result.Timestamp, delay);
    }

    /// <summary>Asks the broker not to deliver a delayed record, whoever produced it.</summary>
    /// <typeparam name="TKey">Type of the key.</typeparam>
    /// <typeparam name="TValue">Type of the value.</typeparam>
    /// <param name="producer">The producer.</param>
    /// <param name="record">Where the record is stored: <see cref="DelayedRecord.TopicPartitionOffset"/>.</param>
    /// <param name="cancellationToken">Ends the waiting, not the request.</param>
    /// <returns>
    /// Where the cancel is stored. The order in the log decides: a delivery with a smaller offset was earlier, and
    /// stands.
    /// </returns>
    /// <exception cref="InvalidOperationException">The offset is none of a record.</exception>
    /// <exception cref="ProduceException{TKey, TValue}">The broker did not take the cancel.</exception>
    public static Task<TopicPartitionOffset> CancelDelayedAsync<TKey, TValue>(
        this IProducer<TKey, TValue> producer,
        TopicPartitionOffset record,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(producer);
        ArgumentNullException.ThrowIfNull(record);
        return Cancelling.ProduceAsync(producer.Handle, record, cancellationToken);
    }

    private static Headers Copy(Headers? headers)
    {
        var copy = new Headers();
        foreach (var header in headers ?? [])
            copy.Add(header.Key, header.GetValueBytes());
        return copy;
    }
}
