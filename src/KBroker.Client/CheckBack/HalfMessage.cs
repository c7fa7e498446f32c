using Confluent.Kafka;

namespace KBroker.Client.CheckBack;

/// <summary>A half message that the broker has stored, unseen by consumers until somebody decides on it.</summary>
/// <param name="Position">Topic, partition and offset: its identity, which it keeps.</param>
/// <param name="Timestamp">The timestamp that it was produced with.</param>
/// <param name="Checks">The number of the check by which the broker asks about it, from 1 on; 0 where it does not ask.
/// </param>
public sealed record HalfMessage(TopicPartitionOffset Position, Timestamp Timestamp, int Checks);
