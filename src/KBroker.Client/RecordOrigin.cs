using Confluent.Kafka;

namespace KBroker.Client;

/// <summary>Where the delivery of a delayed record comes from: the record as it was produced, in the same
/// partition.</summary>
/// <param name="Offset">The offset that its producer was told.</param>
/// <param name="Timestamp">The timestamp that it had.</param>
public readonly record struct RecordOrigin(Offset Offset, Timestamp Timestamp);
