using Confluent.Kafka;

namespace KBroker.Client;

/// <summary>Writes cancels.</summary>
internal static class Cancelling
{
    /// <summary>Produces a cancel by a producer that exists, whatever its keys and values are.</summary>
    public static async Task<TopicPartitionOffset> ProduceAsync(
        Handle producer, TopicPartitionOffset target, CancellationToken cancellationToken)
    {
        if (target.Offset.IsSpecial)
        {
            throw new InvalidOperationException(
                $"The record's offset is {target.Offset}, so it cannot be cancelled: acks=0 gives no offsets.");
        }

        // It shares connections, queue, and a transaction, with the producer that the handle is of.
        using var commands = new DependentProducerBuilder<Null, Null>(producer).Build();
        var message = new Message<Null, Null> { Headers = new Headers().SetCancel(target.Offset) };
        var result = await commands.ProduceAsync(target.TopicPartition, message, cancellationToken)
            .ConfigureAwait(false);
        return result.TopicPartitionOffset;
    }
}
