using Confluent.Kafka;

namespace KBroker.Client;

/// <summary>
/// A delayed record that the broker has stored: what identifies it, and the way to cancel it. To cancel it later, or
/// from another process, keep <see cref="TopicPartitionOffset"/> and use
/// <see cref="DelayedProducerExtensions.CancelDelayedAsync"/>.
/// </summary>
public sealed class DelayedRecord
{
    private readonly Handle _producer;

    internal DelayedRecord(Handle producer, TopicPartitionOffset position, Timestamp timestamp, Delay delay)
    {
        _producer = producer;
        TopicPartitionOffset = position;
        Timestamp = timestamp;
        Due = delay.DueFrom(timestamp);
    }

    /// <summary>The topic.</summary>
    public string Topic => TopicPartitionOffset.Topic;

    /// <summary>The partition.</summary>
    public Partition Partition => TopicPartitionOffset.Partition;

    /// <summary>The offset at which the record is stored, hidden; <see cref="RecordOrigin.Offset"/> of its delivery.
    /// Unset with acks=0.</summary>
    public Offset Offset => TopicPartitionOffset.Offset;

    /// <summary>Topic, partition and offset.</summary>
    public TopicPartitionOffset TopicPartitionOffset { get; }

    /// <summary>The record's timestamp, from which delays count.</summary>
    public Timestamp Timestamp { get; }

    /// <summary>When the record is due; null when the broker alone knows, because it was given a level.</summary>
    public DateTimeOffset? Due { get; }

    /// <summary>Asks the broker not to deliver the record, by a record of its own in the same partition.</summary>
    /// <param name="cancellationToken">Ends the waiting, not the request.</param>
    /// <returns>
    /// Where the cancel is stored. The order in the log decides: a delivery with a smaller offset was earlier, and
    /// stands.
    /// </returns>
    /// <exception cref="InvalidOperationException">The record was produced with acks=0, so its offset is not
    /// known.</exception>
    /// <exception cref="ProduceException{TKey, TValue}">The broker did not take the cancel.</exception>
    /// <exception cref="ObjectDisposedException">The producer of the record is disposed of.</exception>
    public Task<TopicPartitionOffset> CancelAsync(CancellationToken cancellationToken = default) =>
        Cancelling.ProduceAsync(_producer, TopicPartitionOffset, cancellationToken);

    /// <inheritdoc/>
    public override string ToString() =>
        Due is { } due ? $"{TopicPartitionOffset}, due {due:O}" : $"{TopicPartitionOffset}";
}
