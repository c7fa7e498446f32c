using Confluent.Kafka;

namespace KBroker.Client.CheckBack;

/// <summary>What became of a message that was sent by <see cref="CheckBackProducer{TKey, TValue}.SendAsync(string,
/// Message{TKey, TValue}, CancellationToken)"/>.</summary>
/// <param name="Half">Where the half message is stored.</param>
/// <param name="Decision">What the local transaction answered.</param>
public sealed record SendResult(TopicPartitionOffset Half, LocalTransactionState Decision)
{
    /// <summary>Where the decision is stored; null when there is none, or it could not be written.</summary>
    public TopicPartitionOffset? DecisionPosition { get; init; }

    /// <summary>
    /// Why the decision could not be written; null when it was, or there is none. The local transaction stands as it
    /// is, and the message follows it when the broker asks.
    /// </summary>
    public Exception? DecisionError { get; init; }
}
